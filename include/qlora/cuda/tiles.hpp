/// Tiles of a product in shared memory and registers: activations and decoded weights as fragments,
/// and where the sums go.
///
/// Weights are the left factor of the tensor cores' product, 16 outputs a fragment, and activations
/// the right one, 8 tokens a fragment. Which 16 outputs, and in which order 32 places of the
/// reduction are summed, is free: lane 4 g + t has four neighbouring outputs and takes places 8 t
/// to 8 t + 7, four in each of two steps. So both kinds of fragments come by loads of 16 bytes into
/// the registers where they are needed, and sums go to memory four at a time.
#pragma once

#include <type_traits>

#include "qlora/core/config.hpp"
#include "qlora/core/side.hpp"
#include "qlora/cuda/packed_reads.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// The 16-bit type that tensor cores multiply X in.
template <class X>
using Factor = std::conditional_t<std::is_same_v<X, float>, bfloat16, X>;

inline constexpr int reduction = 32;  ///< places of a product that lie in shared memory at a time

namespace detail {

/// The tags of a product's tiles in shared memory.
enum ProductArray { activation_array, weight_array };

/// Four pairs of T as the eight numbers that they are.
template <class T>
QLORA_DEVICE Pack<T, 8> eight_of(const Fragment<4>& pairs) {
  using Eight = Pack<T, 8>;
  return __builtin_bit_cast(Eight, pairs);
}

/// What a thread has of a tile before it decodes: codes and scales, and where the next ones lie; or
/// only where it stands.
template <class F, class Context>
struct FetchedWords {
  QLORA_DEVICE FetchedWords(Context& thread, const QuantizedView<F>& w) : values(thread, w) {}
  ValueTable<F, Context> values;
  GroupWord<F::code_bits> word[2] = {};
  ScaleValue<F> scale[2] = {};
  const std::uint8_t* codes[2] = {};
  Index block[2] = {};    // of the first place
  unsigned rest[2] = {};  // and what of that block lies before it
  Index left[2] = {};     // places that there are
};
struct FetchedPlace {
  template <class Context, class View>
  QLORA_DEVICE FetchedPlace(Context&, const View&) {}
  Index k = 0;
};

}  // namespace detail

/// `Rows` rows of x, 32 columns at a time, in a ring of `Slots`. Steps come one after the
/// other. All threads of a block make it and use it together.
template <DeviceNumber X, int Rows, int Slots, int Threads, Reads How, ExecutionContext Context>
class ActivationTile {
  static_assert(Rows >= 1 && Slots >= 1, "ActivationTile: a ring has a row and a slot at least");
  static_assert(Threads % 4 == 0,
                "ActivationTile: the threads must be a multiple of 4, so that all pieces of a "
                "thread have the same columns");
  using T = Factor<X>;
  using Array =
      decltype(std::declval<Context&>()
                   .template shared<T, Slots * Rows * reduction, detail::activation_array>());
  static constexpr int pieces = Rows * reduction / 8, rounds = (pieces + Threads - 1) / Threads;

 public:
  /// x: [rows, cols]. By words: cols is a multiple of 8 and x aligned to 16 bytes.
  QLORA_DEVICE ActivationTile(Context& thread, const X* x, Index rows, Index cols, Index first)
      : array_(thread.template shared<T, Slots * Rows * reduction, detail::activation_array>()),
        x_(x),
        left_(cols - 8 * (thread.thread() % 4)) {
    QLORA_UNROLL
    for (int i = 0; i < rounds; ++i) {
      const int piece = i * Threads + thread.thread();
      const Index row = first + piece / 4;
      there_[i] = piece < pieces && row < rows;
      from_[i] = x + (there_[i] ? row * cols + 8 * (piece % 4) : 0);
    }
  }

  /// Begins to bring the next 32 columns into the next slot, zeros beyond the end.
  QLORA_DEVICE void stage(Context& thread) {
    QLORA_UNROLL
    for (int i = 0; i < rounds; ++i) {
      const int piece = i * Threads + thread.thread();
      if (pieces % Threads != 0 && piece >= pieces) break;
      const int at = next_ * Rows * reduction + 8 * piece;
      if constexpr (How == Reads::words && std::is_same_v<X, T>) {
        const bool there = there_[i] && left_ > 0;
        thread.template copy_async<8>(array_, at, there ? from_[i] : x_, there);
      } else {
        float number[8] = {};
        if constexpr (How == Reads::words) {
          if (there_[i] && left_ > 0) detail::load_eight(thread, from_[i], number);
        } else {
          QLORA_UNROLL
          for (int k = 0; k < 8; ++k)
            if (there_[i] && k < left_) number[k] = static_cast<float>(thread.load(from_[i] + k));
        }
        Fragment<4> pairs;
        QLORA_UNROLL
        for (int k = 0; k < 4; ++k) pairs.at[k] = pair_of<T>(number[2 * k], number[2 * k + 1]);
        thread.template store_shared<8>(array_, at, detail::eight_of<T>(pairs));
      }
      from_[i] += reduction;
    }
    left_ -= reduction;
    next_ = next_ + 1 < Slots ? next_ + 1 : 0;
  }

  /// The fragments of 8 rows from `row` of the tile, for both steps of a slot.
  QLORA_DEVICE void fragments(Context& thread, int slot, int row, Fragment<2> (&to)[2]) const {
    const int own = thread.lane() / 4 * reduction + thread.lane() % 4 * 8;
    const auto words = __builtin_bit_cast(
        Fragment<4>,
        thread.template load_shared<8>(array_, slot * Rows * reduction + row * reduction + own));
    to[0] = {{words.at[0], words.at[1]}};
    to[1] = {{words.at[2], words.at[3]}};
  }

 private:
  Array array_;
  const X* x_;
  const X* from_[rounds];
  bool there_[rounds];
  Index left_;  // columns that have not come yet
  int next_ = 0;
};

/// `Outputs` outputs of a product (rows of w for the forward product, columns for the backward
/// one), 32 places of the reduction at a time, decoded and rounded once a block of threads into a
/// ring of two slots. Codes and scales come straight into registers a step ahead: fetch, then
/// decode. T is the type that tensor cores multiply.
template <Format F, DeviceNumber T, int Outputs, int Threads, Side Which, Reads How,
          ExecutionContext Context>
class WeightTile {
  static_assert(Outputs * reduction == 16 * Threads,
                "WeightTile: each thread must decode 16 weights of a tile");
  static_assert(Outputs % 64 == 0, "WeightTile: the outputs must be a multiple of 64");
  static constexpr int size = Outputs * reduction;
  static constexpr bool backward = Which == Side::backward, by_words = How == Reads::words;
  using Array =
      decltype(std::declval<Context&>().template shared<T, 2 * size, detail::weight_array>());

 public:
  QLORA_DEVICE WeightTile(Context& thread, const QuantizedView<F>& w, Index first)
      : array_(thread.template shared<T, 2 * size, detail::weight_array>()),
        w_(w),
        first_(first),
        own_(thread, w) {
    if constexpr (by_words) {
      // Backward: two rows, eight columns. Forward: two neighbouring rows, eight places.
      const int g = thread.lane() / 4, t = thread.lane() % 4;
      const Index row = backward ? 8 * t + thread.warp() % 4 * 2
                                 : first + output(thread.warp() / 2, g, thread.warp() % 2 * 2);
      const Index col = backward ? first + thread.warp() / 4 * 64 + 8 * g : 8 * t;
      QLORA_UNROLL
      for (int i = 0; i < 2; ++i) {
        const bool there = backward ? col < w.cols() : row + i < w.rows();
        const Index begin = there ? (row + i) * w.cols() + col : 0;
        own_.codes[i] = w.codes() + begin / 8 * F::code_bits;
        own_.block[i] = begin / w.block_size();
        own_.rest[i] = static_cast<unsigned>(begin % w.block_size());
        own_.left[i] = !there ? 0 : backward ? w.rows() - row - i : w.cols();
      }
    }
  }

  /// Which output, of the tile's, lane 4 g + t of the warp with 32 outputs number `part` has as its
  /// number q of 4.
  static QLORA_DEVICE int output(int part, int g, int q) {
    return backward ? part / 2 * 64 + 8 * g + part % 2 * 4 + q : part * 32 + 4 * g + q;
  }
  /// Both steps' fragments of 16 outputs, numbers 2 i and 2 i + 1 of each lane of `part`.
  QLORA_DEVICE void fragments(Context& thread, int slot, int part, int i,
                              Fragment<4> (&to)[2]) const {
    QLORA_UNROLL
    for (int step = 0; step < 2; ++step)
      to[step] = __builtin_bit_cast(
          Fragment<4>, thread.template load_shared<8>(
                           array_, place(slot, 2 * part + i, step) + 8 * thread.lane()));
  }

  /// Reads what `decode` needs for the places [k, k + 32) of the reduction, which come one step
  /// after the other.
  QLORA_DEVICE void fetch(Context& thread, int k) {
    if constexpr (by_words) {
      QLORA_UNROLL
      for (int i = 0; i < 2; ++i) {
        const bool there = k < own_.left[i];
        own_.word[i] = 0;
        own_.scale[i] = {};
        if (there) {
          own_.word[i] = load_group<F::code_bits>(thread, own_.codes[i], 0, true);
          const auto each = static_cast<unsigned>(w_.block_size());
          const Index block =
              backward ? own_.block[i]
                       : own_.block[i] + (own_.rest[i] + static_cast<unsigned>(k)) / each;
          own_.scale[i] = w_.scale()(block);
        }
        own_.codes[i] += (backward ? w_.cols() : 1) * (reduction / 8 * F::code_bits);
        if (backward) own_.block[i] += w_.cols() * reduction / w_.block_size();
      }
    } else {
      own_.k = k;
    }
  }

  /// Writes what was fetched to a slot, decoded and rounded.
  QLORA_DEVICE void decode(Context& thread, int slot) const {
    float v[2][8];
    const int g = thread.lane() / 4, t = thread.lane() % 4;
    QLORA_UNROLL
    for (int i = 0; i < 2; ++i) {
      QLORA_UNROLL
      for (int k = 0; k < 8; ++k) {
        if constexpr (by_words) {
          v[i][k] = scaled(own_.values(own_.word[i], k), own_.scale[i]);
        } else {
          const Index row = backward
                                ? own_.k + 8 * t + thread.warp() % 4 * 2 + i
                                : first_ + output(thread.warp() / 2, g, thread.warp() % 2 * 2 + i);
          const Index col =
              backward ? first_ + thread.warp() / 4 * 64 + 8 * g + k : own_.k + 8 * t + k;
          v[i][k] = row < w_.rows() && col < w_.cols() ? w_(row, col) : 0.f;
        }
      }
    }
    if constexpr (backward) {
      // A pair of places for eight outputs: half of a lane's sixteen bytes in four fragments.
      const int pair = thread.warp() % 4;
      QLORA_UNROLL
      for (int i = 0; i < 4; ++i) {
        const Fragment<2> both{
            {pair_of<T>(v[0][2 * i], v[1][2 * i]), pair_of<T>(v[0][2 * i + 1], v[1][2 * i + 1])}};
        using Four = Pack<T, 4>;
        thread.template store_shared<4>(
            array_,
            place(slot, thread.warp() / 4 * 4 + i, pair / 2) + 8 * thread.lane() + pair % 2 * 4,
            __builtin_bit_cast(Four, both));
      }
    } else {
      QLORA_UNROLL
      for (int step = 0; step < 2; ++step) {
        const float* a = v[0] + 4 * step;
        const float* b = v[1] + 4 * step;
        const Fragment<4> pairs{{pair_of<T>(a[0], a[1]), pair_of<T>(b[0], b[1]),
                                 pair_of<T>(a[2], a[3]), pair_of<T>(b[2], b[3])}};
        thread.template store_shared<8>(array_,
                                        place(slot, thread.warp(), step) + 8 * thread.lane(),
                                        detail::eight_of<T>(pairs));
      }
    }
  }

 private:
  /// Where fragment `tile` of 16 outputs begins.
  static QLORA_DEVICE int place(int slot, int tile, int step) {
    return slot * size + (2 * tile + step) * 8 * warp_size;
  }

  Array array_;
  const QuantizedView<F>& w_;
  Index first_;
  std::conditional_t<by_words, detail::FetchedWords<F, Context>, detail::FetchedPlace> own_;
};

/// Where sums go: y = sum, or with `accumulate` y += sum. y: [rows, cols].
template <DeviceNumber Y>
struct Output {
  Y* y;
  Index rows, cols;
  bool accumulate = false;

  /// Stores four sums at (row, col + i); what lies outside is left out. `whole`: four consecutive
  /// ones start at a multiple of their size, and all are inside or none.
  template <class Context>
  QLORA_DEVICE void store(Context& thread, Index row, Index col, float (&sum)[4],
                          bool whole) const {
    if (row >= rows || col >= cols) return;
    Y* to = y + row * cols + col;
    if (whole) {
      auto* place = reinterpret_cast<Pack<Y, 4>*>(to);
      Pack<Y, 4> pack;
      if (accumulate) {
        pack = thread.load(place);
        QLORA_UNROLL
        for (int k = 0; k < 4; ++k) sum[k] += static_cast<float>(pack.at[k]);
      }
      if constexpr (std::is_same_v<Y, float>) {
        pack = {sum[0], sum[1], sum[2], sum[3]};
      } else {
        const Fragment<2> pairs{{pair_of<Y>(sum[0], sum[1]), pair_of<Y>(sum[2], sum[3])}};
        using Four = Pack<Y, 4>;
        pack = __builtin_bit_cast(Four, pairs);
      }
      thread.store(place, pack);
    } else {
      QLORA_UNROLL
      for (int i = 0; i < 4; ++i)
        if (col + i < cols) {
          if (accumulate) sum[i] += static_cast<float>(thread.load(to + i));
          thread.store(to + i, static_cast<Y>(sum[i]));
        }
    }
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
