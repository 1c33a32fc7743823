/// Rotary position embedding: within each head, elements i and i + d/2 turn by position *
/// base^(-2i/d), where d elements turn and the rest, if any, stays. Su et al. 2021, paired as in
/// Hugging Face's Llama. rotary.hpp has the scalings.
///
///     qlora::Rope<> rope(64, 10000.0, 2048);
///     rope.forward(q, positions);     // q: [tokens, heads * 64], in place
///     rope.backward(dq, positions);   // the rotation back
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/core/parallel.hpp"
#include "qlora/nn/rope_table.hpp"

namespace qlora::inline QLORA_ABI {

/// The rotation for positions [0, length). Its tables grow with the largest position that was asked
/// for, so that a model's long context costs nothing before it is used. Copies share the tables.
/// Any number of threads may rotate by one Rope at a time.
template <Scalar T = float>
class Rope {
 public:
  Rope() = default;
  /// Angles are taken in double. Throws as rotary_frequencies does, and ShapeError for a negative
  /// length.
  Rope(Index head_width, const Rotary& rotary, Index length)
      : half_(0),
        length_(length),
        head_width_(head_width),
        magnitude_(rotary.magnitude),
        frequencies_(rotary_frequencies(rotary, head_width)),
        shared_(std::make_shared<Shared>()) {
    half_ = static_cast<Index>(frequencies_.size());
    require<ShapeError>(length >= 0, "Rope: expected a length of 0 or more, found ", length);
  }
  /// The same without scaling.
  Rope(Index head_width, double base, Index length)
      : Rope(head_width, Rotary{.base = base}, length) {}

  /// The number of positions that it knows.
  Index length() const { return length_; }
  /// The whole tables, [length, pairs], with half as many pairs as elements turn. They live as long as this Rope or a copy.
  const RowMatrix<T>& cosine() const { return tables(length_)->cosine; }
  const RowMatrix<T>& sine() const { return tables(length_)->sine; }

  /// Rotates the rows of x, [tokens, heads * head_width], in place. Throws ShapeError for another
  /// width, another number of positions than rows, or a position outside [0, length).
  void forward(MatrixRef<T> x, std::span<const Index> positions) const {
    rotate(x, positions, T(1));
  }
  /// The rotation back, which is the gradient's.
  void backward(MatrixRef<T> dx, std::span<const Index> positions) const {
    rotate(dx, positions, T(-1));
  }

 private:
  struct Tables {
    RowMatrix<T> cosine, sine;
  };
  struct Shared {
    std::mutex mutex;
    std::shared_ptr<const Tables> tables;  // of the positions asked for so far, or more
  };

  /// Tables of at least `positions` rows.
  std::shared_ptr<const Tables> tables(Index positions) const {
    require<ShapeError>(shared_ != nullptr, "Rope: it has no head width yet");
    const std::scoped_lock lock(shared_->mutex);
    const Index have = shared_->tables ? shared_->tables->cosine.rows() : 0;
    if (shared_->tables && have >= positions) return shared_->tables;
    const Index rows = std::min(length_, std::max({positions, 2 * have, Index{512}}));
    auto grown = std::make_shared<Tables>();
    grown->cosine.resize(rows, half_);
    grown->sine.resize(rows, half_);
    if (have > 0) {
      grown->cosine.topRows(have) = shared_->tables->cosine;
      grown->sine.topRows(have) = shared_->tables->sine;
    }
    fill_rotations<T>(frequencies_, magnitude_, have, rows, grown->cosine.data() + have * half_,
                      grown->sine.data() + have * half_);
    return shared_->tables = std::move(grown);
  }

  void rotate(MatrixRef<T>& x, std::span<const Index> positions, T direction) const {
    const Index width = std::max<Index>(1, head_width_);
    require<ShapeError>(x.cols() % width == 0 && static_cast<Index>(positions.size()) == x.rows(),
                        "Rope: expected one position a row and heads of width ", width, ", found ",
                        positions.size(), " positions for [", x.rows(), ", ", x.cols(), "]");
    Index used = 0;
    for (const Index position : positions) {
      require<ShapeError>(position >= 0 && position < length_, "Rope: expected a position below ",
                          length_, ", found ", position);
      used = std::max(used, position + 1);
    }
    const std::shared_ptr<const Tables> table = tables(used);
    const Index half = half_;
    parallel_ranges(x.rows(), grain_for(x.rows(), 16), [&](Index first, Index last) {
      for (Index row = first; row < last; ++row) {
        const Index position = positions[static_cast<std::size_t>(row)];
        const auto c = table->cosine.row(position).array();
        const auto s = table->sine.row(position).array();
        for (Index head = 0; head < x.cols(); head += width) {
          auto low = x.row(row).segment(head, half).array();
          auto high = x.row(row).segment(head + half, half).array();
          const Eigen::Array<T, 1, Eigen::Dynamic> kept = low;
          low = kept * c - direction * high * s;
          high = high * c + direction * kept * s;
        }
      }
    });
  }

  Index half_ = 0, length_ = 0, head_width_ = 0;
  double magnitude_ = 1;
  std::vector<double> frequencies_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace qlora::inline QLORA_ABI
