/// Packed matrices of any format in safetensors. Of a weight P.weight the file holds the codes
/// `P.weight`, the parts of its scales `P.weight.absmax` and so on, and a JSON text
/// `P.weight.quant_state.qlora__NAME`.
///
///     qlora::SafetensorsWriter file(path, qlora::packed_names<formats::nf3>("p.weight", "nf3"));
///     qlora::write_packed(file, "p.weight", "nf3", w);
///     file.commit();
///     auto state = qlora::find_packed_state(qlora::Checkpoint(path), "p.weight");
///     auto back = qlora::read_packed<formats::nf3>(checkpoint, *state);
#pragma once

#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/packed_parts.hpp"

namespace qlora::inline QLORA_ABI {

namespace io_detail {
/// How many blocks of `size` hold `count` elements. No intermediate overflows, however large
/// `count` is.
constexpr Index block_count(Index count, Index size) {
  return count / size + (count % size != 0 ? 1 : 0);
}
}  // namespace io_detail

/// What the JSON text beside a packed weight says.
struct PackedState {
  std::string weight;  ///< the name of the tensor of codes
  std::string packer;  ///< bitsandbytes or qlora
  std::string format;  ///< nf4 or fp4; a name of visit_format; or a user's own
  Index block_size = 0;
  Index rows = 0, cols = 0;
  std::string dtype = {};  ///< of the weight before: float32, bfloat16 or float16
  nlohmann::json json;     ///< all of it

  /// The number of blocks that the weight has.
  Index blocks() const { return io_detail::block_count(rows * cols, block_size); }
};

namespace io_detail {

inline nlohmann::json parse_state(const Checkpoint& file, const std::string& name) {
  const SafeTensor& tensor = file.tensor(name);
  require<FormatError>(tensor.dtype == "U8", file.where(name),
                       ": expected a JSON text as U8, found ", tensor.dtype);
  nlohmann::json json = parse_json(
      file.where(name), {reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()});
  require<FormatError>(json.is_object(), file.where(name), ": expected a JSON object");
  return json;
}

/// rows * cols of a shape: its last dimension, and the product of the others.
inline void read_shape(const nlohmann::json& json, const std::string& where, PackedState& state) {
  const auto shape = whole_numbers(json.at("shape"), where + ": shape");
  require<FormatError>(!shape.empty(), where, ": expected a shape, found none");
  state.rows = 1;
  state.cols = shape.back();
  Index all = 1;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    require<FormatError>(!__builtin_mul_overflow(all, shape[i], &all) && all < (Index{1} << 56),
                         where, ": its shape is out of range");
    if (i + 1 < shape.size()) state.rows *= shape[i];
  }
}

}  // namespace io_detail

/// The quantization state of `weight`, or nullopt if it is not packed. Throws FormatError for
/// malformed JSON.
inline std::optional<PackedState> find_packed_state(const Checkpoint& file,
                                                    const std::string& weight) {
  const std::string start = weight + ".quant_state.";
  const auto name = file.first_with_prefix(start);
  if (!name) return std::nullopt;
  const std::string kind = name->substr(start.size());
  const auto bar = kind.find("__");
  const std::string where = file.where(*name);
  PackedState state{.weight = weight,
                    .packer = kind.substr(0, bar),
                    .format = bar == std::string::npos ? "" : kind.substr(bar + 2),
                    .json = io_detail::parse_state(file, *name)};
  require<FormatError>(state.packer == "bitsandbytes" || state.packer == "qlora", where,
                       ": expected quant_state.bitsandbytes__TYPE or quant_state.qlora__NAME");
  try {
    state.block_size = whole_number(state.json.at("blocksize"), where + ": blocksize");
    state.dtype = state.json.value("dtype", "float32");
    io_detail::read_shape(state.json, where, state);
  } catch (const nlohmann::json::exception& failure) {
    throw FormatError(message(where, ": ", failure.what()));
  }
  require<FormatError>(state.block_size > 0 && state.block_size <= (Index{1} << 30), where,
                       ": blocksize: expected 1 or more, found ", state.block_size);
  return state;
}

/// Whether a tensor is a part of the packed weight `weight`: its scales to any depth, a table, its
/// outliers, or the text that tells about it.
inline bool is_packed_part(const std::string& weight, std::string_view tensor) {
  if (!tensor.starts_with(weight + ".")) return false;
  tensor.remove_prefix(weight.size() + 1);
  while (tensor.starts_with("nested_")) tensor.remove_prefix(std::string_view("nested_").size());
  for (const std::string_view part : {"absmax", "absmax_sign", "quant_map", "outlier_row_start",
                                      "outlier_column", "outlier_value"})
    if (tensor == part) return true;
  return tensor.starts_with("quant_state.");
}

namespace io_detail {

template <class F>
struct packed_format {
  using type = F;
};
template <class F>
requires requires { typename F::InnerFormat; }
struct packed_format<F> {
  using type = typename F::InnerFormat;
};

template <class F>
void describe_names(PartNames& names) {
  using P = typename packed_format<F>::type;
  typename QuantizedMatrix<P>::CodebookStorage codebook;
  typename P::ScaleType::Storage scale;
  describe_parts<P>(names, codebook, scale, 0, 0);
  if constexpr (!std::is_same_v<F, P>) Outliers().describe(names, 0);
}

/// The codes' bytes, whatever element type they are stored as.
inline std::vector<std::uint8_t> read_codes_of(const Checkpoint& file, const PackedState& state,
                                               int bits) {
  const SafeTensor& tensor = file.tensor(state.weight);
  const Index expected = packed_bytes(bits, state.rows * state.cols);
  require<FormatError>(static_cast<Index>(tensor.bytes.size()) == expected,
                       file.where(state.weight), ": expected ", expected,
                       " bytes of codes for shape [", state.rows, ", ", state.cols, "], found ",
                       tensor.bytes.size());
  std::vector<std::uint8_t> codes(tensor.bytes.size());
  if (!codes.empty()) std::memcpy(codes.data(), tensor.bytes.data(), codes.size());
  return codes;
}

/// The packed part of a format's matrix.
template <class F>
const QuantizedMatrix<F>& packed_part(const QuantizedMatrix<F>& w) {
  return w;
}
template <class F, class Share>
const QuantizedMatrix<F>& packed_part(const QuantizedMatrix<OutlierPreserving<F, Share>>& w) {
  return w.rest();
}

/// Codes and parts; numbers among the parts go into `json`.
template <class F>
void write_parts(SafetensorsWriter& file, const std::string& weight, const QuantizedMatrix<F>& w,
                 nlohmann::json& json) {
  const auto& packed = packed_part(w);
  using P = typename packed_format<F>::type;
  file.add<std::uint8_t>(weight, {static_cast<Index>(packed.codes().size()), 1}, packed.codes());
  PartWriter writer(file, weight, json);
  // Parts are described as what can be changed, because reading changes them.
  auto codebook = packed.codebook();
  auto scale = packed.scale();
  describe_parts<P>(writer, codebook, scale, w.rows(), packed.view().block_count());
  if constexpr (!std::is_same_v<F, P>) {
    Outliers outliers = w.outliers();
    outliers.describe(writer, w.rows());
  }
}

inline void write_state(SafetensorsWriter& file, const std::string& name,
                        const nlohmann::json& json) {
  const std::string text = json.dump();
  file.add(name, "U8", {static_cast<Index>(text.size())}, std::as_bytes(std::span(text)));
}

}  // namespace io_detail

/// The names of all tensors that `write_packed` adds.
template <class F>
std::vector<std::string> packed_names(const std::string& weight, const std::string& format) {
  io_detail::PartNames names(weight);
  io_detail::describe_names<F>(names);
  names.names.push_back(weight);
  names.names.push_back(weight + ".quant_state.qlora__" + format);
  return std::move(names.names);
}

/// Adds the tensors of one packed weight to the file. `format` names the type for the reader;
/// `dtype` is the weight's type before it was quantized.
template <class F>
void write_packed(SafetensorsWriter& file, const std::string& weight, const std::string& format,
                  const QuantizedMatrix<F>& w, const std::string& dtype = "float32") {
  nlohmann::json json = {{"format", format},
                         {"blocksize", w.block_size()},
                         {"dtype", dtype},
                         {"shape", {w.rows(), w.cols()}}};
  io_detail::write_parts(file, weight, w, json);
  io_detail::write_state(file, weight + ".quant_state.qlora__" + format, json);
}

/// Reads the weight as it was written. Throws FormatError, naming file and tensor, when a part is
/// missing or does not fit.
template <class F>
QuantizedMatrix<F> read_packed(const Checkpoint& file, const PackedState& state) {
  using P = typename io_detail::packed_format<F>::type;
  require<FormatError>(P::block_size == any_size || state.block_size == P::block_size,
                       file.where(state.weight), ": expected a block size of ", P::block_size,
                       ", found ", state.block_size);
  auto codes = io_detail::read_codes_of(file, state, P::code_bits);
  io_detail::PartReader reader(file, state.weight, state.json);
  typename QuantizedMatrix<P>::CodebookStorage codebook;
  typename P::ScaleType::Storage scale;
  io_detail::describe_parts<P>(reader, codebook, scale, state.rows, state.blocks());
  QuantizedMatrix<P> packed(std::move(codes), std::move(scale), state.rows, state.cols,
                            state.block_size, std::move(codebook));
  if constexpr (std::is_same_v<F, P>) {
    return packed;
  } else {
    Outliers outliers;
    outliers.describe(reader, state.rows);
    return {std::move(packed), std::move(outliers)};
  }
}

}  // namespace qlora::inline QLORA_ABI
