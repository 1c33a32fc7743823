/// The formats that weights may be loaded in, as three functions of a format's name or type at run
/// time. So sources and loaders are compiled once, and formats are instantiated only where a list
/// of formats is named.
///
///     constexpr const qlora::WeightFormats& few =
///         qlora::weight_formats<qlora::FormatList<qlora::formats::nf4_dq, qlora::formats::q4_1>>;
///     qlora::GgufSource source("model.gguf", few);
///
/// With QLORA_COMPILED (the CMake target qlora::compiled defines it) the library's own formats are
/// not instantiated in such a place either, but come from that target.
///
/// Several threads may call all functions at once.
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

#include "qlora/core/config.hpp"
#include "qlora/io/bitsandbytes.hpp"
#include "qlora/io/gguf_blocks.hpp"
#include "qlora/io/packed_file.hpp"
#include "qlora/nn/linear.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "qlora/quant/visit_format.hpp"

namespace qlora::inline QLORA_ABI {

/// Says which row of a tensor in a file becomes row `row` of the weight.
using RowSource = std::function<Index(Index row)>;

/// A dense weight, [out, in], quantized to format F. This and the three functions below are what
/// loading needs of one format; each can be compiled apart. Throws as quantize does.
template <class F>
AnyLinear<float> quantized_linear(const RowMatrixXf& dense, Index block_size) {
  return AnyLinear<float>(quantize<F>(dense, {.block_size = block_size}));
}
/// A packed weight of format F behind AnyLinear.
template <class F>
AnyLinear<float> packed_linear(QuantizedMatrix<F>&& w) {
  return AnyLinear<float>(std::move(w));
}
/// A packed weight of a folder, whose format is F. Throws as read_packed does.
template <class F>
AnyLinear<float> read_packed_linear(const Checkpoint& file, const PackedState& state) {
  return packed_linear<F>(read_packed<F>(file, state));
}
/// A tensor [rows, cols] of a GGUF file, whose type is F. `source` says where its rows come from.
/// Throws as from_gguf_blocks does.
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

/// The three functions for one list of formats.
struct WeightFormats {
  /// Quantizes a dense weight, [out, in], to the format of this name. Throws as visit_format and
  /// `quantize` do.
  AnyLinear<float> (*quantize)(std::string_view name, Index block_size, const RowMatrixXf& dense);
  /// Reads a packed weight of a folder in the format that it has. Throws a FormatError that names
  /// file and tensor for a part that is missing or does not fit, and for a format or a block size
  /// that is not in the list.
  AnyLinear<float> (*read_packed)(const Checkpoint& file, const PackedState& state,
                                  const Warn& warn);
  /// Reads a tensor of a GGUF file in the format that it has, or returns nothing for a type that is
  /// not in the list. Throws as from_gguf_blocks does.
  std::optional<AnyLinear<float>> (*read_gguf)(GgufTypeId type, std::span<const std::byte> bytes,
                                               Index rows, Index cols, const RowSource& source);
};

namespace model_detail {

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
    try {
      visit_format<Formats>(state.format, state.block_size,
                            [&]<class F>() { linear = read_packed_linear<F>(file, state); });
    } catch (const OptionError& failure) {  // a block size that the format has not
      throw FormatError(message(file.where(state.weight), ": ", failure.what()));
    }
  }
  return linear;
}

template <class Formats>
std::optional<AnyLinear<float>> read_gguf_by_type(GgufTypeId type, std::span<const std::byte> bytes,
                                                  Index rows, Index cols, const RowSource& source) {
  std::optional<AnyLinear<float>> linear;
  Formats::any([&]<class Entry>() {
    using F = typename FormatEntry<Entry>::type;
    if constexpr (GgufFormat<F>) {
      if (GgufTypeOf<F>::id == type) linear = gguf_linear<F>(bytes, rows, cols, source);
    }
    return linear.has_value();
  });
  return linear;
}

}  // namespace model_detail

/// The functions for the formats of a FormatList.
template <class Formats>
inline constexpr WeightFormats weight_formats{&model_detail::quantize_by_name<Formats>,
                                              &model_detail::read_packed_by_name<Formats>,
                                              &model_detail::read_gguf_by_type<Formats>};

}  // namespace qlora::inline QLORA_ABI
