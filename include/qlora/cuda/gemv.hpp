/// y = x Wᵀ for 1 to 8 rows of x: memory-bound, so packed weights are read 128 bits a lane and
/// looked up in a table without bank conflicts; a run's sum is scaled once.
///
///     qlora::cuda::Gemv<formats::nf4_dq, bfloat16, bfloat16, 1, Reads::words> kernel{
///         .w = w, .x = x, .y = y};
///     qlora::cuda::run<<<kernel.blocks(), kernel.threads>>>(kernel);
#pragma once

#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/low_rank.hpp"
#include "qlora/cuda/packed_reads.hpp"
#include "qlora/cuda/reduce.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// The forward product of few rows. x: [Batch, in], y: [Batch, out], float, float16 or bfloat16. By
/// words: only where reads_by_words(w) and x is aligned to 16 bytes. A warp takes two rows of w at
/// once.
template <class F, class X, class Y, int Batch, Reads How>
struct Gemv {
  static_assert(Format<F>, "Gemv: the first argument must be a BlockFormat");
  static_assert(DeviceNumber<X> && DeviceNumber<Y>,
                "Gemv: what it reads and writes must be float, float16 or bfloat16");
  static_assert(Batch >= 1 && Batch <= 8, "Gemv: 1 to 8 rows; ForwardProduct takes more");
  static_assert(How == Reads::weights || has_words<F>,
                "Gemv: this format cannot be read by words; use Reads::weights");
  static constexpr int threads = 128;
  static constexpr const char* name = "gemv";
  static constexpr int rows = 2;
  QuantizedView<F> w;
  const X* x;
  Y* y;
  LowRank low_rank = {};

  /// Blocks of threads in a launch.
  Index blocks() const { return blocks_for(w.rows(), threads / warp_size, rows); }

  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    const Index first = thread.first_warp() * rows, last = w.rows() - 1;
    float sum[rows][Batch] = {};
    if constexpr (How == Reads::words) {
      const ValueTable<F, Context> values(thread, w);
      if (first <= last) {
        for (Index k = run_size * thread.lane(); k < w.cols(); k += run_size * warp_size)
          add_run(thread, values, first, k, sum);
      }
    } else if (first <= last) {
      for (Index k = thread.lane(); k < w.cols(); k += warp_size) {
        QLORA_UNROLL
        for (int r = 0; r < rows; ++r) {
          const float weight = w(row_of(first, r), k);
          QLORA_UNROLL
          for (int b = 0; b < Batch; ++b)
            sum[r][b] += weight * static_cast<float>(thread.load(x + b * w.cols() + k));
        }
      }
    }
    if (first > last) return;
    for (int k = thread.lane(); k < low_rank.rank; k += warp_size) {
      QLORA_UNROLL
      for (int r = 0; r < rows; ++r) {
        const float right = low_rank.scale * thread.load(low_rank.right + k * low_rank.rank_stride +
                                                         row_of(first, r) * low_rank.col_stride);
        QLORA_UNROLL
        for (int b = 0; b < Batch; ++b)
          sum[r][b] += right * thread.load(low_rank.left + b * low_rank.rank + k);
      }
    }
    QLORA_UNROLL
    for (int r = 0; r < rows; ++r) {
      QLORA_UNROLL
      for (int b = 0; b < Batch; ++b) {
        const float total = detail::warp_sum(thread, sum[r][b]);
        if (thread.lane() == 0 && first + r <= last)
          thread.store(y + b * w.rows() + first + r, static_cast<Y>(total));
      }
    }
  }

 private:
  /// The last row stands in for those behind it.
  QLORA_DEVICE Index row_of(Index first, int r) const {
    return first + r < w.rows() ? first + r : w.rows() - 1;
  }

  template <class Context, class Values>
  QLORA_DEVICE void add_run(Context& thread, const Values& values, Index first, Index k,
                            float (&sum)[rows][Batch]) const {
    constexpr int bits = F::code_bits, step = scale_step<F>;
    CodeRun<bits> run[rows];
    ScaleValue<F> scale[rows][run_size / step];
    QLORA_UNROLL
    for (int r = 0; r < rows; ++r) {
      const Index begin = row_of(first, r) * w.cols() + k;
      run[r] = load_run<bits>(thread, w.codes() + begin / 8 * bits);
      QLORA_UNROLL
      for (int s = 0; s < run_size / step; ++s)
        scale[r][s] = w.scale()((begin + s * step) / w.block_size());
    }
    QLORA_UNROLL
    for (int s = 0; s < run_size / step; ++s) {
      float part[rows][Batch] = {};
      QLORA_UNROLL
      for (int g = s * step / group_size; g < (s + 1) * step / group_size; ++g) {
        float weight[rows][group_size];
        QLORA_UNROLL
        for (int r = 0; r < rows; ++r) {
          const auto word = group_word(run[r], g);
          QLORA_UNROLL
          for (int i = 0; i < group_size; ++i) {
            weight[r][i] = values(word, i);
            if constexpr (!std::is_same_v<ScaleValue<F>, float>)
              weight[r][i] = scaled(weight[r][i], scale[r][s]);
          }
        }
        QLORA_UNROLL
        for (int b = 0; b < Batch; ++b) {
          float number[group_size];
          detail::load_eight(thread, x + b * w.cols() + k + g * group_size, number);
          QLORA_UNROLL
          for (int r = 0; r < rows; ++r) {
            QLORA_UNROLL
            for (int i = 0; i < group_size; ++i) part[r][b] += weight[r][i] * number[i];
          }
        }
      }
      QLORA_UNROLL
      for (int r = 0; r < rows; ++r) {
        QLORA_UNROLL
        for (int b = 0; b < Batch; ++b) {
          if constexpr (std::is_same_v<ScaleValue<F>, float>) {
            sum[r][b] += scale[r][s] * part[r][b];
          } else {
            sum[r][b] += part[r][b];
          }
        }
      }
    }
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
