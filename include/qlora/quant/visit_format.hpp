/// From a format's name, as a command line or a file has it, to its type.
///
///     qlora::visit_format("nf4-dq", 64, [&]<class Format>() {
///       use(qlora::quantize<Format>(dense, {.block_size = 64}));
///     });
///
/// Each format that can be named is compiled. A program that needs few of them, or formats of its
/// own, gives its own list:
///
///     using Own = qlora::FormatList<qlora::Nf4Dq, qlora::AnyBlockSize<qlora::Int4Block>>;
///     qlora::visit_format<Own>("int4", 128, visit);
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "qlora/core/error.hpp"
#include "qlora/quant/named_formats.hpp"

namespace qlora {

/// The name of a format on a command line and in files. Specialize it for a format of your own
/// before it is put into a FormatList; names in one list must differ.
template <class F>
inline constexpr std::string_view format_name{};

template <>
inline constexpr std::string_view format_name<Nf4> = "nf4";
template <>
inline constexpr std::string_view format_name<Nf4Dq> = "nf4-dq";
template <>
inline constexpr std::string_view format_name<Nf4Dq2> = "nf4-dq2";
template <>
inline constexpr std::string_view format_name<Fp4> = "fp4";
template <>
inline constexpr std::string_view format_name<Fp4Dq> = "fp4-dq";
template <>
inline constexpr std::string_view format_name<Fp4E2M1> = "fp4-e2m1";
template <>
inline constexpr std::string_view format_name<Fp4E3M0> = "fp4-e3m0";
template <>
inline constexpr std::string_view format_name<Int4Block> = "int4";
template <>
inline constexpr std::string_view format_name<Int4Full> = "int4-16";
template <>
inline constexpr std::string_view format_name<Af4> = "af4";
template <>
inline constexpr std::string_view format_name<Bof4> = "bof4";
template <>
inline constexpr std::string_view format_name<Bof4S> = "bof4-s";
template <>
inline constexpr std::string_view format_name<Bof4SOpq> = "bof4-s-opq";
template <>
inline constexpr std::string_view format_name<Learned4> = "learned4";
template <>
inline constexpr std::string_view format_name<Nf3> = "nf3";
template <>
inline constexpr std::string_view format_name<Nf2> = "nf2";
template <>
inline constexpr std::string_view format_name<Nf8> = "nf8";
template <>
inline constexpr std::string_view format_name<MxFp4> = "mxfp4";
template <>
inline constexpr std::string_view format_name<NvFp4> = "nvfp4";
template <>
inline constexpr std::string_view format_name<Q4_0> = "q4_0";
template <>
inline constexpr std::string_view format_name<Q4_1> = "q4_1";
template <>
inline constexpr std::string_view format_name<Q8_0> = "q8_0";
template <>
inline constexpr std::string_view format_name<Iq4Nl> = "iq4_nl";

namespace detail {
template <class F>
struct with_dynamic_size;
template <class C, int B, class S, class N>
struct with_dynamic_size<BlockFormat<C, B, S, N>> {
  using type = BlockFormat<C, Dynamic, S, N>;
};
}  // namespace detail

/// The format F with the block size left to each matrix.
template <class F>
using WithDynamicSize = typename detail::with_dynamic_size<F>::type;

/// In a FormatList: F, and F with every other block size from 32 to 4096 that is a power of two.
template <class F>
struct AnyBlockSize {};

/// In a FormatList: a format that files may hold but no command line names.
template <class F>
struct Unnamed {};

/// The formats that a program knows at run time. An element is a format that has a `format_name`,
/// or one in AnyBlockSize or Unnamed.
template <class... Formats>
struct FormatList {};

/// NF4 or FP4 with another table of values than its own, as some files of bitsandbytes have it.
using TableFormat = BlockFormat<Learned<4>, Dynamic, FloatScale<float>>;

/// Every named format of the library.
using AllFormats = FormatList<AnyBlockSize<Nf4>, AnyBlockSize<Nf4Dq>, Nf4Dq2, AnyBlockSize<Fp4>,
                              AnyBlockSize<Fp4Dq>, Fp4E2M1, Fp4E3M0, AnyBlockSize<Int4Block>,
                              Int4Full, Af4, Bof4, Bof4S, Bof4SOpq, Learned4, Nf3, Nf2, Nf8, MxFp4,
                              NvFp4, Q4_0, Q4_1, Q8_0, Iq4Nl, Unnamed<TableFormat>>;

namespace detail {

// What an element of a FormatList stands for.
template <class F>
struct listed {
  static_assert(!format_name<F>.empty(),
                "FormatList: each format needs a name, by a specialization of qlora::format_name "
                "before the list is used; or put it into qlora::Unnamed");
  using type = F;
  static constexpr std::string_view name = format_name<F>;
  static constexpr bool any_size = false;
};
template <class F>
struct listed<AnyBlockSize<F>> : listed<F> {
  static constexpr bool any_size = true;
};
template <class F>
struct listed<Unnamed<F>> {
  using type = F;
  static constexpr std::string_view name = {};
  static constexpr bool any_size = false;
};

template <class F, class Entry>
constexpr bool is_listed_as() {
  using E = listed<Entry>;
  if constexpr (E::any_size) {
    return std::is_same_v<F, typename E::type> ||
           std::is_same_v<F, WithDynamicSize<typename E::type>>;
  } else {
    return std::is_same_v<F, typename E::type>;
  }
}
template <class F, class Formats>
inline constexpr bool is_in = false;
template <class F, class... Entries>
inline constexpr bool is_in<F, FormatList<Entries...>> = (is_listed_as<F, Entries>() || ...);

template <class... Entries>
constexpr auto names_in(FormatList<Entries...>) {
  std::array<std::string_view, ((listed<Entries>::name.empty() ? 0 : 1) + ... + 0)> names;
  std::size_t count = 0;
  const auto add = [&](std::string_view name) {
    if (!name.empty()) names[count++] = name;
  };
  (add(listed<Entries>::name), ...);
  return names;
}

template <class List>
struct format_list_of {
  static_assert(!std::is_same_v<List, List>,
                "visit_format<Formats>: Formats must be a qlora::FormatList<...>");
};
template <class... Entries>
struct format_list_of<FormatList<Entries...>> {
  /// Calls `visit.template operator()<Entry>()` for each until one says true.
  template <class Visit>
  static bool any(Visit&& visit) {
    return (visit.template operator()<Entries>() || ...);
  }
};

}  // namespace detail

/// Whether a format is in a list, with this block size.
template <class F, class Formats>
concept ListedFormat = detail::is_in<F, Formats>;

/// The names in a list, in its order.
template <class Formats>
inline constexpr auto format_names_of = detail::names_in(Formats{});

/// The names that visit_format knows, for help texts.
inline constexpr auto format_names = format_names_of<AllFormats>;

/// Calls `visit.operator()<Format>()` for the named format of a list. nf4, nf4-dq, fp4, fp4-dq and
/// int4 come in blocks of 32 to 4096: 64 is a type of its own, other sizes have a Dynamic one.
/// Every other name has one block size. `block_size` 0 stands for a format's own. Throws
/// FormatError for a name that is not in the list or for another size.
template <class Formats = AllFormats, class Visit>
void visit_format(std::string_view name, Index block_size, Visit&& visit) {
  const bool found = detail::format_list_of<Formats>::any([&]<class Entry>() {
    using Listed = detail::listed<Entry>;
    using F = typename Listed::type;
    if (Listed::name.empty() || Listed::name != name) return false;
    if constexpr (Listed::any_size) {
      require<FormatError>(
          block_size == 0 ||
              (block_size >= 32 && block_size <= 4096 && (block_size & (block_size - 1)) == 0),
          "block size of ", name, ": expected 32, 64, 128, 256, 512, 1024, 2048 or 4096, found ",
          block_size);
      if (block_size != 0 && block_size != F::block_size) {
        visit.template operator()<WithDynamicSize<F>>();
        return true;
      }
    } else {
      require<FormatError>(block_size == 0 || block_size == F::block_size, "format '", name,
                           "': its block size is ", F::block_size, ", found ", block_size);
    }
    visit.template operator()<F>();
    return true;
  });
  if (found) return;
  std::string known;
  for (const auto each : format_names_of<Formats>)
    known += (known.empty() ? "" : ", ") + std::string(each);
  throw FormatError(message("format '", name, "': expected one of ", known));
}

}  // namespace qlora
