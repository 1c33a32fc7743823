/// Dense weights to codes and scales, on the device: the codes of qlora::quantize, and its scales.
///
/// Kernels, in the order of a double-quantized format: QuantizeBlocks gives codes and each block's
/// absmax, and QuantizeScales codes those again. Between the two the host adds up the scales
/// (qlora::mean_of_scales), in the one order that gives the host's bits.
///
///     QuantizeBlocks<formats::nf4_dq, float> blocks{weights, count, codes, references};
///     QuantizeScales<formats::nf4_dq> scales{references, blocks_of_weights, mean, scale_codes, inner};
///
/// Each is a Kernel, and its call operator the body for one's own kernels. It takes any number of
/// whole warps.
///
/// Weights must be finite: a block with another number gets NaN as its absmax, by which the host
/// finds it.
#pragma once

#include <cstdint>
#include <type_traits>

#include "qlora/codebook/codebook.hpp"
#include "qlora/core/config.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/packed_reads.hpp"
#include "qlora/cuda/reduce.hpp"
#include "qlora/quant/block_encoder.hpp"

namespace qlora::inline QLORA_ABI::cuda {

namespace detail {

/// NaN where a number is not finite, so that it is seen after a maximum of bits.
QLORA_DEVICE inline float finite_magnitude(float x) {
  return is_finite(x) ? magnitude(x) : __builtin_nanf("");
}

QLORA_DEVICE inline std::uint32_t swapped_bytes(std::uint32_t word) {
  return (word >> 24) | ((word >> 8) & 0xff00u) | ((word << 8) & 0xff0000u) | (word << 24);
}

template <int Bits, class Context>
QLORA_DEVICE void store_codes(Context& thread, std::uint8_t* to, std::uint64_t word, int bytes) {
  if (Bits == 4 && bytes == 4 && is_aligned(to, 4)) {
    thread.store(reinterpret_cast<std::uint32_t*>(to),
                 swapped_bytes(static_cast<std::uint32_t>(word)));
    return;
  }
  for (int byte = 0; byte < bytes; ++byte)
    thread.store(to + byte, static_cast<std::uint8_t>(word >> (8 * (Bits - 1 - byte))));
}

/// A warp's walk over the blocks of a matrix: a run of them has whole bytes of codes.
template <class F>
struct BlockRun {
  Index block_size, count;  // weights

  QLORA_DEVICE Index blocks() const { return (count + block_size - 1) / block_size; }
  /// Blocks whose codes end on a byte, and enough for every lane to have eight weights.
  QLORA_DEVICE Index length() const {
    Index run = 1;
    while (run * block_size * F::code_bits % 8 != 0 || (run * block_size < 256 && run < 32))
      run *= 2;
    return run;
  }
};

}  // namespace detail

/// Codes, and what each block is divided by, of AbsoluteMaximum formats whose codes do not follow
/// the stored scale. weights: `count` numbers of float, float16 or bfloat16 in row-major order;
/// codes: packed_bytes(bits, count) bytes, the rest of the last one filled with the code of 0;
/// references: one per block, the absmax, of a short last block at least 1e-38 of the code's value.
template <class F, class T>
struct QuantizeBlocks {
  using Code = typename F::CodebookType;
  static_assert(!RuntimeCodebook<Code>,
                "QuantizeBlocks: learned codebooks are made on the host; use qlora::quantize");
  static_assert(std::is_same_v<typename F::NormalizationType, AbsoluteMaximum>,
                "QuantizeBlocks: formats with a sign or a minimum are quantized on the host; use "
                "qlora::quantize");
  static_assert(
      !requires { F::ScaleType::codes_follow_stored; },
      "QuantizeBlocks: formats whose codes follow the scale as it is stored are quantized on the "
      "host; use qlora::quantize");
  static constexpr int threads = 256;
  static constexpr const char* name = "quantize_blocks";
  const T* weights;
  Index count;
  std::uint8_t* codes;
  float* references;
  Index block_size = F::block_size;

  Index blocks() const { return blocks_for(count, threads, group_size); }

  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    static_assert(ExecutionContext<Context>,
                  "QuantizeBlocks: the argument must be an ExecutionContext, such as "
                  "DeviceContext");
    const detail::BlockRun<F> shape{block_size, count};
    const Index all = shape.blocks(), run = shape.length();
    for (Index first = thread.first_warp() * run; first < all;
         first += thread.warp_stride() * run) {
      // Lane b of 32 keeps the divisor of block first + b.
      const Divisor divisor = divisor_of_lane(thread, first, all, run);
      encode(thread, first, run, divisor);
      const Index block = first + thread.lane();
      if (thread.lane() < run && block < all) thread.store(references + block, divisor.stored);
    }
  }

 private:
  using Divisor = BlockDivisor<float>;

  template <class Context>
  QLORA_DEVICE Divisor divisor_of_lane(Context& thread, Index first, Index all, Index run) const {
    Divisor divisor;
    for (Index b = 0; b < run && first + b < all; ++b) {
      const Index begin = (first + b) * block_size;
      const Index end = begin + block_size < count ? begin + block_size : count;
      float largest = 0;
      for (Index i = begin + thread.lane(); i < end; i += warp_size)
        largest = detail::larger(
            largest, detail::finite_magnitude(static_cast<float>(thread.load(weights + i))));
      largest = detail::warp_maximum(thread, largest);
      if (thread.lane() == b)
        divisor = Divisor::of(largest, F::reference_value, begin + block_size <= count);
    }
    return divisor;
  }

  template <class Context>
  QLORA_DEVICE void encode(Context& thread, Index first, Index run, const Divisor& divisor) const {
    constexpr int bits = F::code_bits, group = group_size;
    const Index begin = first * block_size;
    const Index end = begin + run * block_size < count ? begin + run * block_size : count;
    // All lanes go round together, so that each may ask another for its block's divisor.
    for (Index from = begin; from < end; from += group * warp_size) {
      const Index own = from + group * thread.lane();
      const Index left = end - own < group ? (end > own ? end - own : 0) : group;
      const int bytes = static_cast<int>((left * bits + 7) / 8);
      std::uint64_t word = 0;
      for (int i = 0; i < group; ++i) {
        const Index at = own + i;
        const Index block = at < end ? at / block_size : first;
        const Divisor shared{thread.shuffle(divisor.factor, static_cast<int>(block - first))};
        std::uint8_t code = 0;
        if (at < end) {
          const auto weight = static_cast<float>(thread.load(weights + at));
          code = encode_clamped<Code>(shared.in_units(weight, (block + 1) * block_size <= count));
        } else if ((i + 1) * bits <= 8 * bytes) {
          code = qlora::encode<Code>(0.f);
        }
        word |= static_cast<std::uint64_t>(code) << (bits * (group - 1 - i));
      }
      if (bytes > 0) detail::store_codes<bits>(thread, codes + own * bits / 8, word, bytes);
    }
  }
};

/// References over the code value that they map to, as numbers of the scale's type: a FloatScale's.
template <class S>
struct StoreScales {
  static constexpr int threads = 256;
  static constexpr const char* name = "store_scales";
  const float* references;
  Index count;
  float value;
  S* scales;

  Index blocks() const { return blocks_for(count, threads); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (Index i = thread.first(); i < count; i += thread.stride())
      thread.store(scales + i, static_cast<S>(thread.load(references + i) / value));
  }
};

/// Scales less their mean as codes of F's DoubleQuant, a warp per nested block; inner: what each of
/// those was divided by, the references of the Inner scale.
template <class F>
struct QuantizeScales {
  using View = typename F::ScaleType::View;
  using Map = typename View::MapType;
  static constexpr int threads = 128;
  static constexpr const char* name = "quantize_scales";
  const float* references;
  Index count;
  float mean;  ///< qlora::mean_of_scales: of the references over F::reference_value
  std::uint8_t* codes;
  float* inner;

  Index blocks() const { return blocks_for(count, threads / warp_size, View::block_size); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    constexpr Index size = View::block_size;
    const auto scale = [&](Index i) { return thread.load(references + i) / F::reference_value; };
    for (Index block = thread.first_warp(); block * size < count; block += thread.warp_stride()) {
      const Index begin = block * size, end = begin + size < count ? begin + size : count;
      NestedBlock<Map> nested{mean};
      for (Index i = begin + thread.lane(); i < end; i += warp_size)
        nested.largest = detail::larger(nested.largest, magnitude(nested.less_mean(scale(i))));
      nested.largest = detail::warp_maximum(thread, nested.largest);
      for (Index i = begin + thread.lane(); i < end; i += warp_size)
        thread.store(codes + i, nested.encode(scale(i)));
      if (thread.lane() == 0) thread.store(inner + block, nested.largest);
    }
  }
};

}  // namespace qlora::inline QLORA_ABI::cuda
