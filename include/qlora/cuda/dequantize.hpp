/// Packed weights to numbers, on the device: the bits of qlora::dequantize.
///
///     template <class Format, class T>
///     __global__ void kernel(qlora::QuantizedView<Format> w, T* out) {
///       qlora::cuda::DeviceContext thread;
///       qlora::cuda::dequantize(thread, w, out);
///     }
#pragma once

#include <cstdint>

#include "qlora/cuda/context.hpp"
#include "qlora/quant/quantized_view.hpp"

namespace qlora::cuda {

namespace detail {

/// Weights that a thread decodes at once: whole bytes whatever a code's width.
inline constexpr int decode_group = 8;

QLORA_DEVICE inline std::uint32_t swapped_bytes(std::uint32_t word) {
  return (word >> 24) | ((word >> 8) & 0xff00u) | ((word << 8) & 0xff0000u) | (word << 24);
}

/// The Bits bytes of group `group` as one number, the first code highest; `aligned` where they may
/// be loaded together.
template <int Bits, class Context>
QLORA_DEVICE std::uint64_t load_codes(Context& thread, const std::uint8_t* codes, Index group,
                                      bool aligned) {
  const std::uint8_t* at = codes + group * Bits;
  if constexpr (Bits == 4) {
    if (aligned) return swapped_bytes(thread.load(reinterpret_cast<const std::uint32_t*>(at)));
  }
  std::uint64_t word = 0;
  for (int byte = 0; byte < Bits; ++byte)
    word |= static_cast<std::uint64_t>(thread.load(at + byte)) << (8 * (Bits - 1 - byte));
  return word;
}

template <int Bits>
QLORA_DEVICE std::uint8_t code_of(std::uint64_t word, int i) {
  return static_cast<std::uint8_t>((word >> (Bits * (decode_group - 1 - i))) & ((1u << Bits) - 1u));
}

/// Eight numbers to consecutive places, 16 bytes at once where `aligned`.
template <class T, class Context>
QLORA_DEVICE void store_group(Context& thread, T* to, const T (&values)[decode_group],
                              bool aligned) {
  constexpr int a_pack = 16 / sizeof(T) < decode_group ? 16 / sizeof(T) : decode_group;
  if (aligned) {
    for (int i = 0; i < decode_group; i += a_pack) {
      Pack<T, a_pack> pack;
      for (int k = 0; k < a_pack; ++k) pack.at[k] = values[i + k];
      thread.store(reinterpret_cast<Pack<T, a_pack>*>(to + i), pack);
    }
  } else {
    for (int i = 0; i < decode_group; ++i) thread.store(to + i, values[i]);
  }
}

QLORA_DEVICE inline bool is_aligned(const void* at, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(at) % bytes == 0;
}

}  // namespace detail

/// out: [rows, cols] of float, float16 or bfloat16, row-major; every weight is rounded to T from
/// the float that the CPU decodes. Any number of blocks and threads. Values of all rows alike are
/// looked up in shared memory, 16 of them without conflicts.
template <class F, class T, class Context>
QLORA_DEVICE void dequantize(Context& thread, const QuantizedView<F>& w, T* out) {
  static_assert(ExecutionContext<Context>,
                "dequantize: the first argument must be an ExecutionContext, such as "
                "DeviceContext");
  using Code = typename F::CodebookType;
  constexpr int bits = F::code_bits, group = detail::decode_group;
  if constexpr (qlora::detail::codebook_parts<Code>::by_row) {
    for (Index i = thread.first(); i < w.size(); i += thread.stride())
      thread.store(out + i, static_cast<T>(w(i / w.cols(), i % w.cols())));
  } else {
    auto table = thread.template shared<float, (1 << bits), 0>();
    for (int code = thread.thread(); code < (1 << bits); code += thread.threads())
      table[code] = w.codebook()(static_cast<std::uint8_t>(code), 0);
    thread.barrier();
    const Index groups = w.size() / group, block_size = w.block_size();
    const bool one_scale = block_size % group == 0;
    const bool codes_aligned = detail::is_aligned(w.codes(), 4);
    const bool out_aligned = detail::is_aligned(out, 16);
    for (Index g = thread.first(); g < groups; g += thread.stride()) {
      const std::uint64_t word = detail::load_codes<bits>(thread, w.codes(), g, codes_aligned);
      T values[group];
      if (one_scale) {
        const auto scale = w.scale()(g * group / block_size);
        for (int i = 0; i < group; ++i)
          values[i] = static_cast<T>(scaled(table[detail::code_of<bits>(word, i)], scale));
      } else {
        for (int i = 0; i < group; ++i)
          values[i] = static_cast<T>(scaled(table[detail::code_of<bits>(word, i)],
                                            w.scale()((g * group + i) / block_size)));
      }
      detail::store_group(thread, out + g * group, values, out_aligned);
    }
    for (Index i = groups * group + thread.first(); i < w.size(); i += thread.stride())
      thread.store(out + i, static_cast<T>(w(0, i)));
  }
}

}  // namespace qlora::cuda
