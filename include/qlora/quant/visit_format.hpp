/// From a format's name, as a command line or a file has it, to its type.
///
///     qlora::visit_format("nf4-dq", 64, [&]<class Format>() {
///       use(qlora::quantize<Format>(dense, {.block_size = 64}));
///     });
///
/// Each format that can be named is compiled. A program that needs few of them, or formats of its
/// own, gives its own list:
///
///     using Own = qlora::FormatList<qlora::formats::nf4_dq, qlora::AnyBlockSize<qlora::formats::int4>>;
///     qlora::visit_format<Own>("int4", 128, [&]<class Format>() { use(Format::block_size); });
#pragma once

#include <string_view>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/quant/format_list.hpp"
#include "qlora/quant/named_formats.hpp"

namespace qlora::inline QLORA_ABI {

template <>
inline constexpr std::string_view format_name<formats::nf4> = "nf4";
template <>
inline constexpr std::string_view format_name<formats::nf4_dq> = "nf4-dq";
template <>
inline constexpr std::string_view format_name<formats::nf4_dq2> = "nf4-dq2";
template <>
inline constexpr std::string_view format_name<formats::fp4> = "fp4";
template <>
inline constexpr std::string_view format_name<formats::fp4_dq> = "fp4-dq";
template <>
inline constexpr std::string_view format_name<formats::fp4_e2m1> = "fp4-e2m1";
template <>
inline constexpr std::string_view format_name<formats::fp4_e3m0> = "fp4-e3m0";
template <>
inline constexpr std::string_view format_name<formats::int4> = "int4";
template <>
inline constexpr std::string_view format_name<formats::int4_16> = "int4-16";
template <>
inline constexpr std::string_view format_name<formats::af4> = "af4";
template <>
inline constexpr std::string_view format_name<formats::bof4> = "bof4";
template <>
inline constexpr std::string_view format_name<formats::bof4_s> = "bof4-s";
template <>
inline constexpr std::string_view format_name<formats::bof4_s_opq> = "bof4-s-opq";
template <>
inline constexpr std::string_view format_name<formats::learned4> = "learned4";
template <>
inline constexpr std::string_view format_name<formats::nf3> = "nf3";
template <>
inline constexpr std::string_view format_name<formats::nf2> = "nf2";
template <>
inline constexpr std::string_view format_name<formats::nf8> = "nf8";
template <>
inline constexpr std::string_view format_name<formats::mxfp4> = "mxfp4";
template <>
inline constexpr std::string_view format_name<formats::nvfp4> = "nvfp4";
template <>
inline constexpr std::string_view format_name<formats::q4_0> = "q4_0";
template <>
inline constexpr std::string_view format_name<formats::q4_1> = "q4_1";
template <>
inline constexpr std::string_view format_name<formats::q5_0> = "q5_0";
template <>
inline constexpr std::string_view format_name<formats::q5_1> = "q5_1";
template <>
inline constexpr std::string_view format_name<formats::q8_0> = "q8_0";
template <>
inline constexpr std::string_view format_name<formats::q2_k> = "q2_k";
template <>
inline constexpr std::string_view format_name<formats::q3_k> = "q3_k";
template <>
inline constexpr std::string_view format_name<formats::q4_k> = "q4_k";
template <>
inline constexpr std::string_view format_name<formats::q5_k> = "q5_k";
template <>
inline constexpr std::string_view format_name<formats::q6_k> = "q6_k";
template <>
inline constexpr std::string_view format_name<formats::iq4_xs> = "iq4_xs";
template <>
inline constexpr std::string_view format_name<formats::iq4_nl> = "iq4_nl";

/// NF4 or FP4 with another table of values than its own, as some files of bitsandbytes have it. It
/// has no name.
using TableFormat = BlockFormat<Learned<4>, any_size, FloatScale<float>>;

/// Every named format of the library.
using AllFormats =
    FormatList<AnyBlockSize<formats::nf4>, AnyBlockSize<formats::nf4_dq>, formats::nf4_dq2,
               AnyBlockSize<formats::fp4>, AnyBlockSize<formats::fp4_dq>, formats::fp4_e2m1,
               formats::fp4_e3m0, AnyBlockSize<formats::int4>, formats::int4_16, formats::af4,
               formats::bof4, formats::bof4_s, formats::bof4_s_opq, formats::learned4, formats::nf3,
               formats::nf2, formats::nf8, formats::mxfp4, formats::nvfp4, formats::q4_0,
               formats::q4_1, formats::q5_0, formats::q5_1, formats::q8_0, formats::q2_k,
               formats::q3_k, formats::q4_k, formats::q5_k, formats::q6_k, formats::iq4_nl,
               formats::iq4_xs, TableFormat>;

/// The names that visit_format knows, for help texts.
inline constexpr auto format_names = format_names_of<AllFormats>;

/// Calls `visit.operator()<Format>()` for the named format of a list. nf4, nf4-dq, fp4, fp4-dq and
/// int4 come in blocks of 32 to 4096: 64 is a type of its own, other sizes share one of any_size.
/// Every other name has one block size. `block_size` 0 stands for a format's own. Throws
/// OptionError for a name that is not in the list or for another size.
template <class Formats = AllFormats, class Visit>
void visit_format(std::string_view name, Index block_size, Visit&& visit) {
  static_assert(quant_detail::is_format_list<Formats>,
                "visit_format<Formats>: Formats must be a qlora::FormatList");
  const bool found = Formats::any([&]<class Entry>() {
    using Listed = FormatEntry<Entry>;
    using F = typename Listed::type;
    if (format_name<F>.empty() || format_name<F> != name) return false;
    if constexpr (Listed::takes_any_size) {
      require<OptionError>(
          block_size == 0 ||
              (block_size >= 32 && block_size <= 4096 && (block_size & (block_size - 1)) == 0),
          "block size of ", name, ": expected 32, 64, 128, 256, 512, 1024, 2048 or 4096, found ",
          block_size);
      if (block_size != 0 && block_size != F::block_size) {
        visit.template operator()<WithAnySize<F>>();
        return true;
      }
    } else {
      require<OptionError>(block_size == 0 || block_size == F::block_size, "format '", name,
                           "': its block size is ", F::block_size, ", found ", block_size);
    }
    visit.template operator()<F>();
    return true;
  });
  if (found) return;
  throw OptionError(
      message("format '", name, "': expected one of ", joined_format_names<Formats>()));
}

}  // namespace qlora::inline QLORA_ABI
