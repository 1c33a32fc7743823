/// Dropout of a matrix of activations, by a mask that is made again where it is needed
/// (core/dropout.hpp).
///
///     qlora::RowMatrixXf dropped;
///     qlora::apply_dropout<float>(x, 0.05f, key, dropped);
#pragma once

#include <algorithm>
#include <cstdint>

#include "qlora/core/config.hpp"
#include "qlora/core/dropout.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"

namespace qlora::inline QLORA_ABI {

/// x with each element dropped with probability p and the others divided by 1 - p; the choice at
/// (row, column) depends on `key` only, so the backward pass makes it again instead of storing it.
/// x: [rows, cols]; out is resized to that. Uses all threads by itself.
template <Scalar T>
void apply_dropout(const ConstMatrixRef<T>& x, float p, std::uint64_t key, RowMatrix<T>& out) {
  out.resize(x.rows(), x.cols());
  const DropoutMask<T> mask(p, key);
  parallel_ranges(x.rows(), grain_for(x.rows(), 8), [&](Index first, Index last) {
    for (Index row = first; row < last; ++row) {
      const std::uint64_t stream = mask.stream(row);
      for (Index col = 0; col < x.cols(); col += mask.together) {
        const PhiloxBlock random = mask.words(stream, col / mask.together);
        const Index end = std::min<Index>(mask.together, x.cols() - col);
        for (Index i = 0; i < end; ++i)
          out(row, col + i) = mask.apply(x(row, col + i), random.word[i]);
      }
    }
  });
}

}  // namespace qlora::inline QLORA_ABI
