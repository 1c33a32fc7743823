/// Lists of formats: those that a program knows at run time.
///
///     using Own = qlora::FormatList<qlora::formats::nf4_dq, qlora::AnyBlockSize<qlora::formats::int4>>;
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include "qlora/core/config.hpp"
#include "qlora/quant/block_format.hpp"

namespace qlora::inline QLORA_ABI {

/// The name of a format on a command line and in files; empty where it has none. Specialize it for
/// a format of your own before that is put into a list; names in one list must differ.
template <class F>
inline constexpr std::string_view format_name{};

namespace quant_detail {
template <class F>
struct with_dynamic_size;
template <class C, int B, class S, class N>
struct with_dynamic_size<BlockFormat<C, B, S, N>> {
  using type = BlockFormat<C, any_size, S, N>;
};
}  // namespace quant_detail

/// The format F with the block size left to each matrix.
template <class F>
using WithAnySize = typename quant_detail::with_dynamic_size<F>::type;

/// In a FormatList: F, and F with every other block size from 32 to 4096 that is a power of two.
template <class F>
struct AnyBlockSize {};

/// What an element of a FormatList stands for: a format, and whether it stands for it with any block
/// size too.
template <class Entry>
struct FormatEntry {
  using type = Entry;
  static constexpr bool takes_any_size = false;
};
/// The same for an element in AnyBlockSize.
template <class F>
struct FormatEntry<AnyBlockSize<F>> {
  using type = F;
  static constexpr bool takes_any_size = true;
};

namespace quant_detail {

template <class F, class Entry>
constexpr bool is_listed_as() {
  using E = FormatEntry<Entry>;
  if constexpr (E::takes_any_size) {
    return std::is_same_v<F, typename E::type> || std::is_same_v<F, WithAnySize<typename E::type>>;
  } else {
    return std::is_same_v<F, typename E::type>;
  }
}

}  // namespace quant_detail

/// The formats that a program knows at run time. Each element is a BlockFormat or one that wraps
/// it, or such a format in AnyBlockSize. Those without a `format_name` are found by type only.
template <class... Entries>
struct FormatList {
  static_assert((Format<typename FormatEntry<Entries>::type> && ...),
                "FormatList: every element must be a format, such as a BlockFormat");
  static constexpr std::size_t count = sizeof...(Entries);

  /// Calls `visit.template operator()<Entry>()` for each element until one returns true. Returns
  /// whether one did.
  template <class Visit>
  static bool any(Visit&& visit) {
    return (visit.template operator()<Entries>() || ...);
  }
};

namespace quant_detail {
template <class F, class Formats>
inline constexpr bool is_in = false;
template <class F, class... Entries>
inline constexpr bool is_in<F, FormatList<Entries...>> = (is_listed_as<F, Entries>() || ...);

template <class Entry>
inline constexpr std::string_view entry_name = format_name<typename FormatEntry<Entry>::type>;

template <class... Entries>
constexpr auto names_in(FormatList<Entries...>) {
  std::array<std::string_view, ((entry_name<Entries>.empty() ? 0 : 1) + ... + 0)> names;
  [[maybe_unused]] std::size_t count = 0;
  [[maybe_unused]] const auto add = [&](std::string_view each) {
    if (!each.empty()) names[count++] = each;
  };
  (add(entry_name<Entries>), ...);
  return names;
}

template <class List>
inline constexpr bool is_format_list = false;
template <class... Entries>
inline constexpr bool is_format_list<FormatList<Entries...>> = true;
}  // namespace quant_detail

/// Whether a format is in a list, with this block size.
template <class F, class Formats>
concept ListedFormat = quant_detail::is_in<F, Formats>;

/// The names in a list, in its order.
template <class Formats>
inline constexpr auto format_names_of = quant_detail::names_in(Formats{});

/// The same names with commas between, for messages.
template <class Formats>
std::string joined_format_names() {
  std::string all;
  for (const auto name : format_names_of<Formats>)
    all += (all.empty() ? "" : ", ") + std::string(name);
  return all;
}

}  // namespace qlora::inline QLORA_ABI
