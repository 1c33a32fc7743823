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
///     qlora::visit_format<Own>("int4", 128, [&]<class Format>() { use(Format::block_size); });
#pragma once

#include <string_view>

#include "qlora/core/error.hpp"
#include "qlora/quant/format_list.hpp"
#include "qlora/quant/named_formats.hpp"

namespace qlora {

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

/// NF4 or FP4 with another table of values than its own, as some files of bitsandbytes have it. It
/// has no name.
using TableFormat = BlockFormat<Learned<4>, Dynamic, FloatScale<float>>;

/// Every named format of the library.
using AllFormats = FormatList<AnyBlockSize<Nf4>, AnyBlockSize<Nf4Dq>, Nf4Dq2, AnyBlockSize<Fp4>,
                              AnyBlockSize<Fp4Dq>, Fp4E2M1, Fp4E3M0, AnyBlockSize<Int4Block>,
                              Int4Full, Af4, Bof4, Bof4S, Bof4SOpq, Learned4, Nf3, Nf2, Nf8, MxFp4,
                              NvFp4, Q4_0, Q4_1, Q8_0, Iq4Nl, TableFormat>;

/// The names that visit_format knows, for help texts.
inline constexpr auto format_names = format_names_of<AllFormats>;

/// Calls `visit.operator()<Format>()` for the named format of a list. nf4, nf4-dq, fp4, fp4-dq and
/// int4 come in blocks of 32 to 4096: 64 is a type of its own, other sizes have a Dynamic one.
/// Every other name has one block size. `block_size` 0 stands for a format's own. Throws
/// FormatError for a name that is not in the list or for another size.
template <class Formats = AllFormats, class Visit>
void visit_format(std::string_view name, Index block_size, Visit&& visit) {
  static_assert(detail::is_format_list<Formats>,
                "visit_format<Formats>: Formats must be a qlora::FormatList");
  const bool found = Formats::any([&]<class Entry>() {
    using Listed = detail::listed<Entry>;
    using F = typename Listed::type;
    if (format_name<F>.empty() || format_name<F> != name) return false;
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
  throw FormatError(
      message("format '", name, "': expected one of ", joined_format_names<Formats>()));
}

}  // namespace qlora
