/// Rotary position embedding: within each head, elements i and i + d/2 turn by position *
/// base^(-2i/d). Su et al. 2021, paired as in Hugging Face's Llama.
///
///     qlora::Rope<> rope(64, 10000.0, 2048);
///     rope.forward(q, positions);     // q: [tokens, heads * 64], in place
///     rope.backward(dq, positions);   // the rotation back
#pragma once

#include <cmath>
#include <span>

#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"

namespace qlora {

template <Scalar T = float>
class Rope {
 public:
  Rope() = default;
  /// Tables for positions [0, length). Angles are taken in double.
  Rope(Index head_width, double base, Index length)
      : cosine_(length, head_width / 2), sine_(length, head_width / 2) {
    require<ShapeError>(head_width > 0 && head_width % 2 == 0,
                        "Rope: expected an even head width, found ", head_width);
    for (Index i = 0; i < head_width / 2; ++i) {
      const double frequency =
          std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(head_width));
      for (Index position = 0; position < length; ++position) {
        const double angle = static_cast<double>(position) * frequency;
        cosine_(position, i) = static_cast<T>(std::cos(angle));
        sine_(position, i) = static_cast<T>(std::sin(angle));
      }
    }
  }

  Index length() const { return cosine_.rows(); }
  const RowMatrix<T>& cosine() const { return cosine_; }  ///< [length, head_width / 2]
  const RowMatrix<T>& sine() const { return sine_; }

  void forward(MatrixRef<T> x, std::span<const Index> positions) const {
    rotate(x, positions, T(1));
  }
  void backward(MatrixRef<T> dx, std::span<const Index> positions) const {
    rotate(dx, positions, T(-1));
  }

 private:
  void rotate(MatrixRef<T>& x, std::span<const Index> positions, T direction) const {
    const Index half = cosine_.cols();
    require<ShapeError>(
        x.cols() % (2 * half) == 0 && static_cast<Index>(positions.size()) == x.rows(),
        "Rope: expected one position a row and heads of width ", 2 * half, ", found ",
        positions.size(), " positions for [", x.rows(), ", ", x.cols(), "]");
    parallel_ranges(x.rows(), grain_for(x.rows(), 16), [&](Index first, Index last) {
      for (Index row = first; row < last; ++row) {
        const Index position = positions[static_cast<std::size_t>(row)];
        require<ShapeError>(position >= 0 && position < length(),
                            "Rope: expected a position below ", length(), ", found ", position);
        const auto c = cosine_.row(position).array();
        const auto s = sine_.row(position).array();
        for (Index head = 0; head < x.cols(); head += 2 * half) {
          auto low = x.row(row).segment(head, half).array();
          auto high = x.row(row).segment(head + half, half).array();
          const Eigen::Array<T, 1, Eigen::Dynamic> kept = low;
          low = kept * c - direction * high * s;
          high = high * c + direction * kept * s;
        }
      }
    });
  }

  RowMatrix<T> cosine_, sine_;
};

}  // namespace qlora
