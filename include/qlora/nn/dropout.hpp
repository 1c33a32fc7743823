/// Dropout whose choices are made again where they are needed, instead of being stored.
///
///     qlora::RowMatrixXf dropped;
///     qlora::apply_dropout<float>(x, 0.05f, key, dropped);
#pragma once

#include <algorithm>
#include <cstdint>

#include "qlora/core/dropout_key.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/core/random.hpp"

namespace qlora {

/// x with each element dropped with probability p and the others divided by 1 - p; the choice at
/// (row, column) depends on `key` only, so the backward pass makes it again instead of storing it.
template <Scalar T>
void apply_dropout(const ConstMatrixRef<T>& x, float p, std::uint64_t key, RowMatrix<T>& out) {
  out.resize(x.rows(), x.cols());
  const T keep_scale = T(1) / (T(1) - static_cast<T>(p));
  const auto threshold = static_cast<std::uint32_t>(static_cast<double>(p) * 4294967296.0);
  parallel_ranges(x.rows(), grain_for(x.rows(), 8), [&](Index first, Index last) {
    for (Index row = first; row < last; ++row) {
      const std::uint64_t stream = derive_key(key, static_cast<std::uint64_t>(row));
      for (Index col = 0; col < x.cols(); col += 4) {
        const PhiloxBlock block = philox(stream, static_cast<std::uint64_t>(col / 4));
        const Index end = std::min<Index>(4, x.cols() - col);
        for (Index i = 0; i < end; ++i)
          out(row, col + i) = block.word[i] < threshold ? T(0) : x(row, col + i) * keep_scale;
      }
    }
  });
}

}  // namespace qlora
