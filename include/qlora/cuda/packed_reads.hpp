/// Packed weights in registers and shared memory: what dequantize and the products read them by, for
/// use in one's own kernels as well.
///
///     const qlora::cuda::ValueTable<Format, Context> values(thread, w);
///     const auto run = qlora::cuda::load_run<Format::code_bits>(thread, w.codes() + place);
///     const auto word = qlora::cuda::group_word(run, 0);             // of 8 codes
///     const float v = values(word, 3);        // of its fourth code; times the block's scale
///
/// Eight codes are a group, of as many bytes as a code has bits; four groups are a run.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/cuda/context.hpp"
#include "qlora/quant/quantized_view.hpp"

namespace qlora::inline QLORA_ABI::cuda {

/// Weights of a group and of a run.
inline constexpr int group_size = 8, run_size = 32;

/// A group's codes: in memory's order where codes do not straddle bytes, else the first highest.
template <int Bits>
using GroupWord = std::conditional_t<(Bits > 4), std::uint64_t, std::uint32_t>;

/// Code i of 8.
template <int Bits>
QLORA_DEVICE std::uint8_t code_of(GroupWord<Bits> word, int i) {
  constexpr GroupWord<Bits> mask = (1u << Bits) - 1u;
  if constexpr (8 % Bits == 0) {
    const int bit = i * Bits;
    return static_cast<std::uint8_t>((word >> (bit / 8 * 8 + 8 - Bits - bit % 8)) & mask);
  } else {
    return static_cast<std::uint8_t>((word >> (Bits * (group_size - 1 - i))) & mask);
  }
}

/// The codes of 32 weights.
template <int Bits>
struct CodeRun {
  std::uint32_t word[Bits];
};

/// Whether an address is a multiple of `bytes`: asked on the device, and by a host that chooses a
/// kernel.
QLORA_HD inline bool is_aligned(const void* at, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(at) % bytes == 0;
}

namespace detail {

/// Bytes that may be moved at once of `bytes` consecutive ones.
constexpr int piece_of(int bytes) { return bytes % 16 == 0 ? 16 : bytes % 8 == 0 ? 8 : 4; }

template <int Bits>
QLORA_DEVICE GroupWord<Bits> word_of_bytes(const std::uint8_t (&bytes)[Bits]) {
  GroupWord<Bits> word = 0;
  QLORA_UNROLL
  for (int i = 0; i < Bits; ++i)
    word |= static_cast<GroupWord<Bits>>(bytes[i]) << (8 * (8 % Bits == 0 ? i : Bits - 1 - i));
  return word;
}

}  // namespace detail

/// The 4 Bits bytes of a run, 128 bits at a time where they are so many; `from` must be aligned to
/// that.
template <int Bits, class Context>
QLORA_DEVICE CodeRun<Bits> load_run(Context& thread, const std::uint8_t* from) {
  constexpr int piece = detail::piece_of(4 * Bits);
  CodeRun<Bits> run;
  QLORA_UNROLL
  for (int i = 0; i < 4 * Bits / piece; ++i) {
    using Words = Pack<std::uint32_t, piece / 4>;
    const Words words = thread.load(reinterpret_cast<const Words*>(from) + i);
    QLORA_UNROLL
    for (int k = 0; k < piece / 4; ++k) run.word[piece / 4 * i + k] = words.at[k];
  }
  return run;
}

/// Group i of 4.
template <int Bits>
QLORA_DEVICE GroupWord<Bits> group_word(const CodeRun<Bits>& run, int i) {
  if constexpr (Bits == 4) {
    return run.word[i];
  } else if constexpr (Bits == 8) {
    return run.word[2 * i] | static_cast<std::uint64_t>(run.word[2 * i + 1]) << 32;
  } else {
    std::uint8_t bytes[Bits];
    QLORA_UNROLL
    for (int k = 0; k < Bits; ++k) {
      const int at = i * Bits + k;
      bytes[k] = static_cast<std::uint8_t>(run.word[at / 4] >> (at % 4 * 8));
    }
    return detail::word_of_bytes<Bits>(bytes);
  }
}

/// Group `group` of a stream of codes that lies anywhere; `aligned`: where it may be loaded at
/// once, at a multiple of its size.
template <int Bits, class Context>
QLORA_DEVICE GroupWord<Bits> load_group(Context& thread, const std::uint8_t* codes, Index group,
                                        bool aligned) {
  const std::uint8_t* at = codes + group * Bits;
  if constexpr (Bits == 4 || Bits == 8) {
    if (aligned) return thread.load(reinterpret_cast<const GroupWord<Bits>*>(at));
  }
  std::uint8_t bytes[Bits];
  QLORA_UNROLL
  for (int i = 0; i < Bits; ++i) bytes[i] = thread.load(at + i);
  return detail::word_of_bytes<Bits>(bytes);
}

/// Whether a format's codes can be looked up in one table for all rows.
template <class F>
inline constexpr bool has_one_table = [] {
  if constexpr (is_block_format<F>) {
    return !qlora::codebook_traits<typename F::CodebookType>::by_row;
  } else {
    return false;
  }
}();

/// Weights that certainly share a scale from a multiple of it on: at most 32, 0 where that is less
/// than a group. Of any block size, as `reads_by_words` sees to.
template <class F>
inline constexpr int scale_step = [] {
  if constexpr (!is_block_format<F>) {
    return 0;
  } else {
    constexpr int size = F::block_size == any_size ? run_size : F::block_size;
    return size % 32 == 0 ? 32 : size % 16 == 0 ? 16 : size % 8 == 0 ? 8 : 0;
  }
}();

/// Whether a format's matrices can be read by words, where their shape allows.
template <class F>
inline constexpr bool has_words = has_one_table<F>&& scale_step<F> != 0;

/// How a product reads a packed matrix.
enum class Reads {
  words,   ///< 8 codes at a time; only where reads_by_words(w)
  weights  ///< one at a time, which every matrix allows
};

/// Whether a matrix can be read by words: rows of whole runs, codes in 16-byte places, blocks of
/// whole groups that end with every 32nd row at the latest. Kernels take others weight by weight.
template <class F>
bool reads_by_words(const QuantizedView<F>& w) {
  if constexpr (has_words<F>) {
    return w.cols() % 64 == 0 && w.block_size() % scale_step<F> == 0 &&
           w.cols() * 32 % w.block_size() == 0 && is_aligned(w.codes(), 16);
  } else {
    return false;
  }
}

/// What a scale of F is in registers.
template <class F>
using ScaleValue = decltype(std::declval<const typename QuantizedView<F>::ScaleView&>()(Index{0}));

namespace detail {

/// An element of a ValueTable. Its type names the format, so that tables of two formats are two
/// arrays in shared memory.
template <class F>
struct TableValue {
  float value;
};

}  // namespace detail

/// A format's values in shared memory. Formats of up to 4 bits have one copy per lane, so that no
/// two lanes of a warp meet in a bank. All threads of the block construct it together: it waits for
/// them before it writes and after. Two matrices of one format share their table, which is right
/// unless the values are known at run time only (learned codebooks): then each needs a Tag of its
/// own.
template <class F, class Context, int Tag = 0>
class ValueTable {
  static_assert(Format<F>, "ValueTable: the first argument must be a BlockFormat");
  static_assert(ExecutionContext<Context>,
                "ValueTable: the second argument must be an ExecutionContext, such as "
                "DeviceContext");
  static constexpr int codes = 1 << F::code_bits, copies = F::code_bits <= 4 ? warp_size : 1;
  using Value = detail::TableValue<F>;
  using Array = decltype(std::declval<Context&>().template shared<Value, codes * copies, Tag>());

 public:
  QLORA_DEVICE ValueTable(Context& thread, const QuantizedView<F>& w)
      : array_(thread.template shared<Value, codes * copies, Tag>()),
        lane_(copies > 1 ? thread.lane() : 0) {
    thread.barrier();  // others may still read an earlier table that lies here
    for (int i = thread.thread(); i < codes * copies; i += thread.threads())
      array_[i] = Value{w.codebook()(static_cast<std::uint8_t>(i / copies), 0)};
    thread.barrier();
  }
  /// The value of code i of a group.
  QLORA_DEVICE float operator()(GroupWord<F::code_bits> word, int i) const {
    constexpr int bits = F::code_bits;
#if defined(__CUDA_ARCH__)
    if constexpr (bits <= 4 && 8 % bits == 0) {
      // One shift, and one instruction for the mask and the lane.
      const int bit = i * bits, shift = bit / 8 * 8 + 8 - bits - bit % 8 - 5;
      const std::uint32_t moved = shift < 0 ? word << -shift : word >> shift;
      std::uint32_t at;
      asm("lop3.b32 %0, %1, %2, %3, 0xEA;"
          : "=r"(at)
          : "r"(moved), "n"((codes - 1) << 5), "r"(lane_));
      return at_place(static_cast<int>(at));
    }
#endif
    return (*this)(code_of<bits>(word, i));
  }
  QLORA_DEVICE float operator()(std::uint8_t code) const { return at_place(code * copies + lane_); }

 private:
  QLORA_DEVICE float at_place(int i) const {
    const Value value = array_[i];
    return value.value;
  }
  Array array_;
  int lane_;
};

/// Two numbers of T, float16 or bfloat16, in a word, the first lower, each rounded to nearest; a
/// NaN is T's canonical one.
template <class T>
QLORA_DEVICE std::uint32_t pair_of(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  std::uint32_t pair;
  if constexpr (std::is_same_v<T, bfloat16>) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  }
  return pair;
#else
  return static_cast<std::uint32_t>(T(low).bits) | static_cast<std::uint32_t>(T(high).bits) << 16;
#endif
}

namespace detail {

/// Eight numbers as floats; `from` is aligned to 16 bytes.
template <class X, class Context>
QLORA_DEVICE void load_eight(Context& thread, const X* from, float (&to)[8]) {
  constexpr int piece = 16 / sizeof(X);
  QLORA_UNROLL
  for (int i = 0; i < 8; i += piece) {
    const auto pack = thread.load(reinterpret_cast<const Pack<X, piece>*>(from + i));
    QLORA_UNROLL
    for (int k = 0; k < piece; ++k) to[i + k] = static_cast<float>(pack.at[k]);
  }
}

}  // namespace detail

}  // namespace qlora::inline QLORA_ABI::cuda
