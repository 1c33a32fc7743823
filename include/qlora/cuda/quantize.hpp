/// Dense weights to codes and scales, on the device: the codes of qlora::quantize, and its scales.
///
/// Three kernels' bodies, in the order of a double-quantized format: `quantize_blocks` gives codes
/// and each block's absmax; `mean_of_scales` and `quantize_scales` code those again.
///
/// Weights must be finite: a block with another number gets NaN as its absmax, by which the host
/// finds it.
#pragma once

#include <cstdint>
#include <type_traits>

#include "qlora/codebook/codebook.hpp"
#include "qlora/cuda/kernel.hpp"
#include "qlora/cuda/reduce.hpp"
#include "qlora/cuda/weights.hpp"

namespace qlora::cuda {

namespace detail {

/// What a block's weights are coded by, and what is stored of it: the rounding steps of
/// qlora::detail::encode_by_reference.
struct BlockReference {
  float factor = 0;  // a full block's weights are multiplied by it, a short one's divided
  float stored = 0;

  template <class F>
  static QLORA_DEVICE BlockReference of(float reference, bool full) {
    const float scale = reference / F::reference_value;
    const bool tiny = magnitude(scale) < 1e-38f;
    const float divisor = magnitude(scale) >= 1e-38f ? scale : 1e-38f;  // also for NaN
    return {full ? 1.f / divisor : divisor,
            tiny && !full ? divisor * F::reference_value : reference};
  }
};

template <class Code>
QLORA_DEVICE std::uint8_t encode_by(float weight, float factor, bool full) {
  constexpr float largest = largest_value<Code>;
  float value = full ? weight * factor : weight / factor;
  value = value > largest ? largest : value < -largest ? -largest : value;
  return encode<Code>(value);
}

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

/// weights: `count` numbers of float, float16 or bfloat16 in row-major order; codes:
/// packed_bytes(bits, count) bytes, the rest of the last one filled with the code of 0; references:
/// one a block, the absmax, of a short last block at least 1e-38 of the code's value. Whole warps
/// in any number.
template <class F, class T, class Context>
QLORA_DEVICE void quantize_blocks(Context& thread, const T* weights, Index count,
                                  std::uint8_t* codes, float* references,
                                  Index block_size = F::block_size) {
  static_assert(ExecutionContext<Context>,
                "quantize_blocks: the first argument must be an ExecutionContext, such as "
                "DeviceContext");
  using Code = typename F::CodebookType;
  static_assert(!RuntimeCodebook<Code>,
                "quantize_blocks: learned codebooks are made on the host; use qlora::quantize");
  static_assert(std::is_same_v<typename F::NormalizationType, AbsoluteMaximum>,
                "quantize_blocks: formats with a sign or a minimum are quantized on the host; use "
                "qlora::quantize");
  static_assert(
      !requires { F::ScaleType::codes_follow_stored; },
      "quantize_blocks: formats whose codes follow the scale as it is stored are "
      "quantized on the host; use qlora::quantize");
  constexpr int bits = F::code_bits, group = group_size;
  const detail::BlockRun<F> shape{block_size, count};
  const Index blocks = shape.blocks(), run = shape.length();
  for (Index first = thread.first_warp() * run; first < blocks;
       first += thread.warp_stride() * run) {
    // Lane b of 32 keeps the reference of block first + b.
    detail::BlockReference reference;
    for (Index b = 0; b < run && first + b < blocks; ++b) {
      const Index begin = (first + b) * block_size;
      const Index end = begin + block_size < count ? begin + block_size : count;
      float largest = 0;
      for (Index i = begin + thread.lane(); i < end; i += warp_size)
        largest = detail::larger(
            largest, detail::finite_magnitude(static_cast<float>(thread.load(weights + i))));
      largest = detail::warp_maximum(thread, largest);
      if (thread.lane() == b)
        reference = detail::BlockReference::of<F>(largest, begin + block_size <= count);
    }
    const Index begin = first * block_size;
    const Index end = begin + run * block_size < count ? begin + run * block_size : count;
    // All lanes go round together, so that each may ask another for its block's reference.
    for (Index from = begin; from < end; from += group * warp_size) {
      const Index own = from + group * thread.lane();
      const Index left = end - own < group ? (end > own ? end - own : 0) : group;
      const int bytes = static_cast<int>((left * bits + 7) / 8);
      std::uint64_t word = 0;
      for (int i = 0; i < group; ++i) {
        const Index at = own + i;
        const Index block = at < end ? at / block_size : first;
        const float factor = thread.shuffle(reference.factor, static_cast<int>(block - first));
        std::uint8_t code = 0;
        if (at < end) {
          code = detail::encode_by<Code>(static_cast<float>(thread.load(weights + at)), factor,
                                         (block + 1) * block_size <= count);
        } else if ((i + 1) * bits <= 8 * bytes) {
          code = encode<Code>(0.f);
        }
        word |= static_cast<std::uint64_t>(code) << (bits * (group - 1 - i));
      }
      if (bytes > 0) detail::store_codes<bits>(thread, codes + own * bits / 8, word, bytes);
    }
    const Index block = first + thread.lane();
    if (thread.lane() < run && block < blocks) thread.store(references + block, reference.stored);
  }
}

/// References over the code value that they map to, as numbers of the scale's type: a FloatScale's.
template <class S, class Context>
QLORA_DEVICE void store_scales(Context& thread, const float* references, Index count, float value,
                               S* scales) {
  for (Index i = thread.first(); i < count; i += thread.stride())
    thread.store(scales + i, static_cast<S>(thread.load(references + i) / value));
}

/// The mean of `count` scales (a reference over F::reference_value) into *mean, summed in double:
/// by one block of `Threads` threads, in an order that depends on nothing else.
template <class F, int Threads, class Context>
QLORA_DEVICE void mean_of_scales(Context& thread, const float* references, Index count,
                                 float* mean) {
  auto sums = thread.template shared<double, Threads, 0>();
  double sum = 0;
  for (Index i = thread.thread(); i < count; i += Threads)
    sum += static_cast<double>(thread.load(references + i) / F::reference_value);
  sums[thread.thread()] = sum;
  for (int half = Threads / 2; half > 0; half /= 2) {
    thread.barrier();
    if (thread.thread() < half)
      sums[thread.thread()] = sums[thread.thread()] + sums[thread.thread() + half];
  }
  if (thread.thread() == 0)
    thread.store(mean, count > 0 ? static_cast<float>(sums[0] / static_cast<double>(count)) : 0.f);
}

/// Scales less their mean as codes of F's DoubleQuant, a warp a nested block; inner: what each of
/// those was divided by, the references of the Inner scale.
template <class F, class Context>
QLORA_DEVICE void quantize_scales(Context& thread, const float* references, Index count,
                                  const float* mean, std::uint8_t* codes, float* inner) {
  using View = typename F::ScaleType::View;
  using Map = typename View::MapType;
  constexpr Index size = View::block_size;
  const float offset = thread.load(mean);
  for (Index block = thread.first_warp(); block * size < count; block += thread.warp_stride()) {
    const Index begin = block * size, end = begin + size < count ? begin + size : count;
    const auto shifted = [&](Index i) {
      return thread.load(references + i) / F::reference_value - offset;
    };
    float largest = 0;
    for (Index i = begin + thread.lane(); i < end; i += warp_size)
      largest = detail::larger(largest, magnitude(shifted(i)));
    largest = detail::warp_maximum(thread, largest);
    for (Index i = begin + thread.lane(); i < end; i += warp_size)
      thread.store(codes + i, largest > 0 ? encode<Map>(shifted(i) / largest * largest_value<Map>)
                                          : std::uint8_t{0});
    if (thread.lane() == 0) thread.store(inner + block, largest);
  }
}

/// quantize_blocks as a Kernel.
template <class F, class T>
struct QuantizeBlocks {
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
    quantize_blocks<F>(thread, weights, count, codes, references, block_size);
  }
};

/// store_scales as a Kernel.
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
    store_scales(thread, references, count, value, scales);
  }
};

/// mean_of_scales as a Kernel.
template <class F>
struct MeanOfScales {
  static constexpr int threads = 256;
  static constexpr const char* name = "mean_of_scales";
  const float* references;
  Index count;
  float* mean;

  Index blocks() const { return 1; }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    mean_of_scales<F, threads>(thread, references, count, mean);
  }
};

/// quantize_scales as a Kernel.
template <class F>
struct QuantizeScales {
  static constexpr int threads = 128;
  static constexpr const char* name = "quantize_scales";
  const float* references;
  Index count;
  const float* mean;
  std::uint8_t* codes;
  float* inner;

  Index blocks() const {
    return blocks_for(count, threads / warp_size, F::ScaleType::View::block_size);
  }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    quantize_scales<F>(thread, references, count, mean, codes, inner);
  }
};

}  // namespace qlora::cuda
