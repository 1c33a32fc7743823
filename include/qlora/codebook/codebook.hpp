/// A codebook: the values that a code can stand for, known at compile time; code k stands for
/// values[k].
///
///     struct Ternary { static constexpr std::array values{-1.f, 0.f, 1.f}; };
///     static_assert(qlora::Codebook<Ternary> && qlora::code_bits<Ternary> == 2);
///     qlora::encode<Ternary>(0.7f);   // 2, the code of the nearest value; a tie takes the lower one
///
/// A codebook can't be a local struct (C++ gives those no static members). It may also have
///
/// - `largest`: the magnitude that a block's absmax maps to, if not the largest one (GGUF's Q8_0
///   has a code for -128 and maps absmax to 127);
/// - `tie_goes_up(lower, upper)`: whether a number half-way between two neighbouring codes takes
///   the upper one;
/// - `thresholds`: an array of its own instead of the mid-points.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"

namespace qlora::inline QLORA_ABI {

namespace codebook_detail {

/// Finite values of which at least one is not zero.
template <class Values>
constexpr bool usable_codebook_values(const Values& values) {
  bool any = false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<float>(values[i]);
    if (!is_finite(value)) return false;
    any = any || value != 0;
  }
  return any;
}

}  // namespace codebook_detail

/// A type with a public array `values` of numbers that the compiler knows.
template <class C>
concept HasConstantValues = requires {
  { C::values[0] } -> std::convertible_to<float>;
  typename std::integral_constant<std::size_t, C::values.size()>;
  typename std::bool_constant<(static_cast<float>(C::values[0]) == 0)>;
};

/// The same with as many values as codes of 1 to 8 bits can name.
template <class C>
concept HasCodeCount = HasConstantValues<C> &&(C::values.size() >= 2) && (C::values.size() <= 256);

/// A struct with `static constexpr std::array values` of 2 to 256 finite numbers that are not all
/// zero, in code order.
template <class C>
concept Codebook = HasCodeCount<C> && codebook_detail::usable_codebook_values(C::values);

/// A plain array that host and device code can index.
template <class T, int N>
struct Table {
  T at[N];
};

/// The number of values of a codebook.
template <Codebook C>
inline constexpr int code_count = static_cast<int>(C::values.size());

/// Values that are known at run time only: learned ones (Learned), a table of the user's
/// (RuntimeTable), or a type of the user's own. It has
///
/// - `bits`, the width of a code from 1 to 8, and `by_row`, whether each row has values of its own;
/// - a `Storage` that owns the values, with `view()`, `bytes()` and `fits(rows)`: whether it
///   holds the values of a matrix of so many rows. With `extreme()` it names the value, not 0,
///   that a block's largest weight maps to; without, that is 1. With `describe(archive, rows)` it
///   can be written to files (io/packed_parts.hpp);
/// - a trivially copyable `View`: `view(code, row)` is a code's value and `view.encode(x, row)` the
///   code of a number in the same units, on host and device. With `relocated(rows, move)` it can lie in
///   a device's memory, as a Scale's. Arithmetic in it goes through rounded_product and
///   rounded_sum: compilers may fuse plain products and sums in one place and not in another.
template <class C>
concept RuntimeCodebook = requires(const typename C::Storage& storage,
                                   const typename C::View& view) {
  typename std::integral_constant<int, static_cast<int>(C::bits)>;
  typename std::bool_constant<static_cast<bool>(C::by_row)>;
  { storage.view() } -> std::same_as<typename C::View>;
  { storage.bytes() } -> std::convertible_to<Index>;
  { storage.fits(Index{0}) } -> std::convertible_to<bool>;
  { view(std::uint8_t{0}, Index{0}) } -> std::same_as<float>;
  { view.encode(0.f, Index{0}) } -> std::same_as<std::uint8_t>;
}
&&(C::bits >= 1) && (C::bits <= 8) &&
    std::is_trivially_copyable_v<typename C::View>&& std::default_initializable<
        typename C::View>&& std::copyable<typename C::Storage>&& std::
        default_initializable<typename C::Storage>;

/// A RuntimeCodebook whose values `quantize` finds by itself: `count` ascending numbers per table
/// in its Storage's `values`, in units of a block's largest weight.
template <class C>
concept LearnedCodebook = RuntimeCodebook<C> && requires {
  requires C::is_learned;
};

/// The width of a code in bits: the least that holds every code.
template <class C>
requires(Codebook<C> || RuntimeCodebook<C>) inline constexpr int code_bits = [] {
  if constexpr (RuntimeCodebook<C>) {
    return static_cast<int>(C::bits);
  } else {
    int bits = 1;
    while ((1 << bits) < code_count<C>) ++bits;
    return bits;
  }
}();

/// The value of largest magnitude with its sign; of two equal magnitudes the positive one. A
/// block's signed extreme maps to it.
template <Codebook C>
inline constexpr float extreme_value = [] {
  float extreme = 0;
  for (std::size_t i = 0; i < C::values.size(); ++i) {
    const auto value = static_cast<float>(C::values[i]);
    const bool larger = magnitude(value) > magnitude(extreme);
    if (larger || (magnitude(value) == magnitude(extreme) && value > 0)) extreme = value;
  }
  return extreme;
}();

/// The magnitude that a block's absmax maps to.
template <Codebook C>
inline constexpr float largest_value = [] {
  if constexpr (requires { C::largest; }) {
    return static_cast<float>(C::largest);
  } else {
    return magnitude(extreme_value<C>);
  }
}();

namespace codebook_detail {
/// Whether each number is larger than the one before.
template <class Values>
constexpr bool ascending(const Values& values) {
  for (std::size_t i = 1; i < values.size(); ++i)
    if (!(static_cast<float>(values[i - 1]) < static_cast<float>(values[i]))) return false;
  return true;
}
}  // namespace codebook_detail

/// A codebook whose values ascend with their codes: neighbours in code are neighbours in value.
template <class C>
concept SortedCodebook = Codebook<C> && codebook_detail::ascending(C::values);

namespace codebook_detail {

template <Codebook C>
constexpr auto make_decode_table() {
  Table<float, (1 << code_bits<C>)> table{};
  for (int i = 0; i < code_count<C>; ++i)
    table.at[i] = static_cast<float>(C::values[static_cast<std::size_t>(i)]);
  return table;
}

/// Whether a value stands before another: a smaller one, and of zeros, where the codebook has a
/// rule for ties, -0 before +0.
template <Codebook C>
constexpr bool stands_before(float a, float b) {
  if constexpr (requires { C::tie_goes_up(0, 0); })
    if (a == 0 && b == 0)
      return __builtin_bit_cast(std::uint32_t, a) > __builtin_bit_cast(std::uint32_t, b);
  return a < b;
}

/// Codes by ascending value; equal values keep the order of their codes.
template <Codebook C>
constexpr auto make_sorted_codes() {
  Table<std::uint8_t, code_count<C>> codes{};
  for (int i = 0; i < code_count<C>; ++i) {
    int place = i;
    const auto value = static_cast<float>(C::values[static_cast<std::size_t>(i)]);
    while (place > 0 &&
           stands_before<C>(value, static_cast<float>(C::values[codes.at[place - 1]]))) {
      codes.at[place] = codes.at[place - 1];
      --place;
    }
    codes.at[place] = static_cast<std::uint8_t>(i);
  }
  return codes;
}

}  // namespace codebook_detail

/// The next float towards minus infinity of a finite number; below zero the first that is no
/// subnormal, so that it counts in any mode of the processor.
constexpr float next_below(float x) {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  if (x == 0) return -1.17549435e-38f;
  return __builtin_bit_cast(float, x > 0 ? bits - 1 : bits + 1);
}

/// What `thresholds` holds, for constant expressions in host and device code.
template <Codebook C>
constexpr auto make_thresholds() {
  constexpr auto codes = codebook_detail::make_sorted_codes<C>();
  Table<float, code_count<C> - 1> thresholds{};
  for (int i = 0; i + 1 < code_count<C>; ++i) {
    if constexpr (requires { C::thresholds; }) {
      static_assert(C::thresholds.size() + 1 == C::values.size(),
                    "codebook: there must be one threshold less than values");
      thresholds.at[i] = C::thresholds[static_cast<std::size_t>(i)];
    } else {
      const auto low = static_cast<float>(C::values[codes.at[i]]);
      const auto high = static_cast<float>(C::values[codes.at[i + 1]]);
      thresholds.at[i] =
          static_cast<float>((static_cast<double>(low) + static_cast<double>(high)) / 2);
      if constexpr (requires { C::tie_goes_up(0, 0); })
        if (C::tie_goes_up(codes.at[i], codes.at[i + 1]))
          thresholds.at[i] = next_below(thresholds.at[i]);
    }
  }
  return thresholds;
}

/// Code to value, padded with zeros to a power of two, so that no code reads outside.
template <class C>
QLORA_TABLE auto decode_table = codebook_detail::make_decode_table<C>();

/// The codes by ascending value.
template <class C>
QLORA_TABLE auto sorted_codes = codebook_detail::make_sorted_codes<C>();

/// The thresholds between neighbouring values, ascending: their float32 mid-points, unless the
/// codebook has `thresholds` of its own.
template <class C>
QLORA_TABLE auto thresholds = make_thresholds<C>();

/// The code of the value nearest to `x` (already scaled): the number of thresholds strictly below
/// it, so a tie at a mid-point takes the lower value and NaN the lowest.
template <Codebook C>
QLORA_HD constexpr std::uint8_t encode(float x) {
  if constexpr (code_count<C> <= 16) {
    int below = 0;
    for (int i = 0; i + 1 < code_count<C>; ++i) below += thresholds<C>.at[i] < x ? 1 : 0;
    return sorted_codes<C>.at[below];
  } else {
    int low = 0, high = code_count<C> - 1;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (thresholds<C>.at[middle] < x) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return sorted_codes<C>.at[low];
  }
}

/// The value of a code, unscaled.
template <Codebook C>
QLORA_HD constexpr float decode(std::uint8_t code) {
  return decode_table<C>.at[code];
}

/// What a matrix stores to find the values of its codes. A Codebook's values are in its type, so
/// nothing is stored.
template <class C>
struct codebook_traits {
  struct View {
    QLORA_HD float operator()(std::uint8_t code, Index) const { return decode<C>(code); }
    QLORA_HD std::uint8_t encode(float x, Index) const { return qlora::encode<C>(x); }
    template <class Move>
    View relocated(Index, Move&&) const {
      return {};
    }
  };
  struct Storage {
    View view() const { return {}; }
    Index bytes() const { return 0; }
  };
  static constexpr bool by_row = false;
};
/// The same for a RuntimeCodebook, which brings its own.
template <RuntimeCodebook C>
struct codebook_traits<C> {
  using View = typename C::View;
  using Storage = typename C::Storage;
  static constexpr bool by_row = C::by_row;
};

}  // namespace qlora::inline QLORA_ABI
