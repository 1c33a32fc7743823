/// What loading does with a weight's format, which is known at run time only: a list of formats as
/// three functions. So sources and loaders are compiled once, and formats are instantiated where a
/// list is named and nowhere else.
///
///     constexpr const qlora::WeightFormats& few =
///         qlora::weight_formats<qlora::FormatList<qlora::Nf4Dq, qlora::Q4_1>>;
///     qlora::GgufSource source("model.gguf", few);
///
/// With QLORA_COMPILED (the CMake target qlora::compiled defines it) the library's own formats are
/// not instantiated here either: they come from that target.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "qlora/io/bitsandbytes.hpp"
#include "qlora/io/gguf_blocks.hpp"
#include "qlora/io/packed_file.hpp"
#include "qlora/nn/linear.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "qlora/quant/visit_format.hpp"

namespace qlora {

/// The row of a tensor in a file that becomes row `row` of the weight.
using RowSource = std::function<Index(Index row)>;

/// One format's part of loading. Each is a function of its own, so that it can be compiled apart.
/// Throw as quantize, read_packed and from_gguf_blocks do.
template <class F>
AnyLinear<float> quantized_linear(const RowMatrixXf& dense, Index block_size) {
  return AnyLinear<float>(quantize<F>(dense, {.block_size = block_size}));
}
template <class F>
AnyLinear<float> packed_linear(QuantizedMatrix<F>&& w) {
  return AnyLinear<float>(std::move(w));
}
template <class F>
AnyLinear<float> read_packed_linear(const Checkpoint& file, const PackedState& state) {
  return packed_linear<F>(read_packed<F>(file, state));
}
template <class F>
AnyLinear<float> gguf_linear(std::span<const std::byte> bytes, Index rows, Index cols,
                             const RowSource& source) {
  return packed_linear<F>(from_gguf_blocks<F>(bytes, rows, cols, source));
}

#if defined(QLORA_COMPILED)
#define QLORA_EXTERN_FORMAT(...)                                                                \
  extern template AnyLinear<float> quantized_linear<__VA_ARGS__>(const RowMatrixXf&, Index);    \
  extern template AnyLinear<float> packed_linear<__VA_ARGS__>(QuantizedMatrix<__VA_ARGS__> &&); \
  extern template AnyLinear<float> read_packed_linear<__VA_ARGS__>(const Checkpoint&,           \
                                                                   const PackedState&);
#define QLORA_EXTERN_GGUF_FORMAT(...)                                                          \
  extern template AnyLinear<float> gguf_linear<__VA_ARGS__>(std::span<const std::byte>, Index, \
                                                            Index, const RowSource&);
#include "qlora/model/compiled_formats.inc"
#undef QLORA_EXTERN_FORMAT
#undef QLORA_EXTERN_GGUF_FORMAT
#endif

/// The functions for a list of formats.
struct WeightFormats {
  /// A dense weight [out, in] in the format of this name. Throws as visit_format and quantize do.
  AnyLinear<float> (*quantize)(std::string_view name, Index block_size, const RowMatrixXf& dense);
  /// A packed weight of a folder in the format that it has. Throws FormatError that names file and
  /// tensor, also for a format that is not in the list.
  AnyLinear<float> (*read_packed)(const Checkpoint& file, const PackedState& state,
                                  const Warn& warn);
  /// A tensor of a GGUF file; nothing for a type that is not in the list. Throws as from_gguf_blocks
  /// does.
  std::optional<AnyLinear<float>> (*read_gguf)(GgufTypeId type, std::span<const std::byte> bytes,
                                               Index rows, Index cols, const RowSource& source);
};

namespace detail {

template <class Formats>
AnyLinear<float> quantize_by_name(std::string_view name, Index block_size,
                                  const RowMatrixXf& dense) {
  AnyLinear<float> linear;
  visit_format<Formats>(name, block_size,
                        [&]<class F>() { linear = quantized_linear<F>(dense, block_size); });
  return linear;
}

template <class Formats>
AnyLinear<float> read_packed_by_name(const Checkpoint& file, const PackedState& state,
                                     const Warn& warn) {
  AnyLinear<float> linear;
  if (state.packer == "bitsandbytes") {
    read_bitsandbytes(
        file, state,
        [&]<class F>(QuantizedMatrix<F>&& w) {
          if constexpr (ListedFormat<F, Formats>) {
            linear = packed_linear<F>(std::move(w));
          } else {
            throw FormatError(message(
                file.where(state.weight), ": ", state.format, " in blocks of ", state.block_size,
                " is not among the formats of this program: ", joined_format_names<Formats>()));
          }
        },
        warn);
  } else {
    constexpr const auto& names = format_names_of<Formats>;
    require<FormatError>(std::find(names.begin(), names.end(), state.format) != names.end(),
                         file.where(state.weight), ": format '", state.format,
                         "': expected one of ", joined_format_names<Formats>());
    visit_format<Formats>(state.format, state.block_size,
                          [&]<class F>() { linear = read_packed_linear<F>(file, state); });
  }
  return linear;
}

template <class Formats>
std::optional<AnyLinear<float>> read_gguf_by_type(GgufTypeId type, std::span<const std::byte> bytes,
                                                  Index rows, Index cols, const RowSource& source) {
  std::optional<AnyLinear<float>> linear;
  Formats::any([&]<class Entry>() {
    using F = typename listed<Entry>::type;
    if constexpr (GgufFormat<F>) {
      if (GgufTypeOf<F>::id == type) linear = gguf_linear<F>(bytes, rows, cols, source);
    }
    return linear.has_value();
  });
  return linear;
}

}  // namespace detail

/// The functions for the formats of a FormatList.
template <class Formats>
inline constexpr WeightFormats weight_formats{&detail::quantize_by_name<Formats>,
                                              &detail::read_packed_by_name<Formats>,
                                              &detail::read_gguf_by_type<Formats>};

}  // namespace qlora
