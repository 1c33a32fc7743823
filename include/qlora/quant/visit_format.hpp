/// From a format's name, as a command line has it, to its type.
///
///     qlora::visit_format("nf4-dq", 64, [&]<class Format>() { use(qlora::quantize<Format>(dense,
///     {.block_size = 64})); });
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "qlora/core/error.hpp"
#include "qlora/quant/block_format.hpp"
#include "qlora/quant/quantized_view.hpp"

namespace qlora {

/// The names that visit_format knows, for help texts.
inline constexpr std::array<std::string_view, 5> format_names{"nf4", "nf4-dq", "fp4", "fp4-dq",
                                                              "int4"};

/// The paper's format: NF4 in blocks of 64 with double quantization.
using Nf4Dq = BlockFormat<NF4, 64, DoubleQuant<>>;
/// NF4 in blocks of 64 with a float32 scale each.
using Nf4 = BlockFormat<NF4, 64, FloatScale<float>>;

/// Calls `visit.operator()<Format>()` for the named format. Blocks of 64 get a type of their own,
/// other sizes one with a Dynamic size. Throws FormatError for an unknown name or a block size
/// other than 32, 64, ..., 4096.
template <class Visit>
decltype(auto) visit_format(std::string_view name, Index block_size, Visit&& visit) {
  require<FormatError>(
      block_size >= 32 && block_size <= 4096 && (block_size & (block_size - 1)) == 0, "block size ",
      block_size, ": expected a power of two from 32 to 4096");
  const auto with_size = [&]<class Code, class ScalePolicy>() -> decltype(auto) {
    if (block_size == 64) return visit.template operator()<BlockFormat<Code, 64, ScalePolicy>>();
    return visit.template operator()<BlockFormat<Code, Dynamic, ScalePolicy>>();
  };
  if (name == "nf4") return with_size.template operator()<NF4, FloatScale<float>>();
  if (name == "nf4-dq") return with_size.template operator()<NF4, DoubleQuant<>>();
  if (name == "fp4") return with_size.template operator()<FP4, FloatScale<float>>();
  if (name == "fp4-dq") return with_size.template operator()<FP4, DoubleQuant<>>();
  if (name == "int4") return with_size.template operator()<Int4, FloatScale<float>>();
  std::string known;
  for (const auto each : format_names) known += (known.empty() ? "" : ", ") + std::string(each);
  throw FormatError(message("format '", name, "': expected one of ", known));
}

}  // namespace qlora
