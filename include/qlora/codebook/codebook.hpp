/// A codebook: the values that a code can stand for, known at compile time; code k stands for
/// values[k].
///
///     struct Ternary { static constexpr std::array values{-1.f, 0.f, 1.f}; };
///     static_assert(qlora::Codebook<Ternary> && qlora::code_bits<Ternary> == 2);
///     qlora::encode<Ternary>(0.7f);   // 2: the code of the nearest value; a tie takes the lower
///     one
///
/// A codebook can't be a local struct (C++ gives those no static members).
#pragma once

#include <array>
#include <concepts>
#include <cstdint>

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"

namespace qlora {

namespace detail {

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

}  // namespace detail

/// A struct with `static constexpr std::array values` of 2 to 256 finite numbers that are not all
/// zero, in code order.
template <class C>
concept Codebook = requires {
  { C::values.size() } -> std::convertible_to<std::size_t>;
  { C::values[0] } -> std::convertible_to<float>;
}
&&(C::values.size() >= 2) && (C::values.size() <= 256) && detail::usable_codebook_values(C::values);

/// A plain array that host and device code can index.
template <class T, int N>
struct Table {
  T at[N];
};

/// The number of values of a codebook.
template <Codebook C>
inline constexpr int code_count = static_cast<int>(C::values.size());

/// The width of a code in bits: the least that holds every code.
template <Codebook C>
inline constexpr int code_bits = [] {
  int bits = 1;
  while ((1 << bits) < code_count<C>) ++bits;
  return bits;
}();

/// The largest magnitude of a codebook: what a block's absmax maps to.
template <Codebook C>
inline constexpr float largest_value = [] {
  float largest = 0;
  for (std::size_t i = 0; i < C::values.size(); ++i) {
    const float m = magnitude(static_cast<float>(C::values[i]));
    if (m > largest) largest = m;
  }
  return largest;
}();

namespace detail {

template <Codebook C>
constexpr auto make_decode_table() {
  Table<float, (1 << code_bits<C>)> table{};
  for (int i = 0; i < code_count<C>; ++i)
    table.at[i] = static_cast<float>(C::values[static_cast<std::size_t>(i)]);
  return table;
}

/// Codes by ascending value; equal values keep the order of their codes.
template <Codebook C>
constexpr auto make_sorted_codes() {
  Table<std::uint8_t, code_count<C>> codes{};
  for (int i = 0; i < code_count<C>; ++i) {
    int place = i;
    const auto value = static_cast<float>(C::values[static_cast<std::size_t>(i)]);
    while (place > 0 && static_cast<float>(C::values[codes.at[place - 1]]) > value) {
      codes.at[place] = codes.at[place - 1];
      --place;
    }
    codes.at[place] = static_cast<std::uint8_t>(i);
  }
  return codes;
}

template <Codebook C>
constexpr auto make_thresholds() {
  constexpr auto codes = make_sorted_codes<C>();
  Table<float, code_count<C> - 1> thresholds{};
  for (int i = 0; i + 1 < code_count<C>; ++i) {
    const auto low = static_cast<float>(C::values[codes.at[i]]);
    const auto high = static_cast<float>(C::values[codes.at[i + 1]]);
    thresholds.at[i] =
        static_cast<float>((static_cast<double>(low) + static_cast<double>(high)) / 2);
  }
  return thresholds;
}

}  // namespace detail

/// Code to value, padded with zeros to a power of two, so that no code reads outside.
template <class C>
QLORA_TABLE auto decode_table = detail::make_decode_table<C>();

/// The codes by ascending value.
template <class C>
QLORA_TABLE auto sorted_codes = detail::make_sorted_codes<C>();

/// The float32 mid-points of neighbouring values, ascending.
template <class C>
QLORA_TABLE auto thresholds = detail::make_thresholds<C>();

/// The code of the value nearest to `x` (already scaled): the number of thresholds strictly below
/// it, so a tie takes the lower value and NaN the lowest.
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

}  // namespace qlora
