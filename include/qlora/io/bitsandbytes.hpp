/// Weights in 4 bits as bitsandbytes stores them in safetensors (the repositories named
/// *-bnb-4bit), nested or not, to packed matrices and back, no byte changed.
///
///     auto state = qlora::find_packed_state(checkpoint, "model.layers.0.self_attn.q_proj.weight");
///     qlora::read_bitsandbytes(checkpoint, *state, [&](auto&& w) { use(std::move(w)); });
///     qlora::write_bitsandbytes(file, "p.weight", qlora::quantize<qlora::formats::nf4_dq>(dense));
#pragma once

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/packed_file.hpp"
#include "qlora/io/warn.hpp"
#include "qlora/quant/named_formats.hpp"

namespace qlora::inline QLORA_ABI {

namespace io_detail {
template <class F>
struct bitsandbytes_type {
  static constexpr const char* name = nullptr;
};
template <class C, int B, class S>
requires(std::is_same_v<C, NF4> || std::is_same_v<C, FP4>) &&
    (std::is_same_v<S, FloatScale<float>> || std::is_same_v<S, DoubleQuant<>>)  //
    struct bitsandbytes_type<BlockFormat<C, B, S>> {
  static constexpr const char* name = std::is_same_v<C, NF4> ? "nf4" : "fp4";
  static constexpr bool nested = std::is_same_v<S, DoubleQuant<>>;
};
}  // namespace io_detail

/// nf4 and fp4 of any block size with float32 scales or the default double quantization.
template <class F>
concept BitsandbytesFormat = io_detail::bitsandbytes_type<F>::name != nullptr;

/// The names of all tensors that `write_bitsandbytes` adds.
template <BitsandbytesFormat F>
std::vector<std::string> bitsandbytes_names(const std::string& weight) {
  io_detail::PartNames names(weight);
  io_detail::describe_names<F>(names);
  names.names.push_back(weight);
  names.names.push_back(weight + ".quant_state.bitsandbytes__" +
                        io_detail::bitsandbytes_type<F>::name);
  return std::move(names.names);
}

/// Adds a weight's tensors to the file; dtype: what bitsandbytes should decode to.
template <BitsandbytesFormat F>
void write_bitsandbytes(SafetensorsWriter& file, const std::string& weight,
                        const QuantizedMatrix<F>& w, const std::string& dtype = "float32") {
  using Type = io_detail::bitsandbytes_type<F>;
  nlohmann::json json = {{"quant_type", Type::name},
                         {"blocksize", w.block_size()},
                         {"dtype", dtype},
                         {"shape", {w.rows(), w.cols()}}};
  if constexpr (Type::nested) {
    json["nested_blocksize"] = 256;
    json["nested_dtype"] = "float32";
  }
  io_detail::write_parts(file, weight, w, json);
  io_detail::write_state(file, weight + ".quant_state.bitsandbytes__" + Type::name, json);
}

namespace io_detail {

/// Reads one weight of bitsandbytes' layout.
class BitsandbytesReader {
 public:
  BitsandbytesReader(const Checkpoint& file, const PackedState& state)
      : file_(file), state_(state), parts_(file, state.weight, state.json) {}

  bool nested() const { return file_.has(parts_.tensor("nested_absmax")); }

  std::vector<float> table(const char* name, Index count) const {
    std::vector<float> values;
    parts_.array(name, values, count);
    for (const float value : values)
      require<FormatError>(is_finite(value), file_.where(parts_.tensor(name)),
                           ": expected finite values, found ", value);
    return values;
  }

  /// Whether the scales are the ones of DoubleQuant<> as they stand.
  bool usual_nesting() const {
    return nested_size() == 256 && same(table("nested_quant_map", 256), decode_table<Dynamic8>.at);
  }

  DoubleQuant<>::Storage double_quant() const {
    DoubleQuant<>::Storage scale;
    parts_.array("absmax", scale.codes, state_.blocks());
    parts_.array("nested_absmax", scale.inner.values, nested_blocks(256));
    parts_.number("nested_offset", scale.offset);
    return scale;
  }

  /// Scales in float32, decoded where they are nested in another way.
  FloatScale<float>::Storage floats() const {
    FloatScale<float>::Storage scale;
    if (!nested()) {
      parts_.array("absmax", scale.values, state_.blocks());
      return scale;
    }
    const std::vector<float> map = table("nested_quant_map", 256);
    std::vector<std::uint8_t> codes;
    std::vector<float> inner;
    float offset = 0;
    parts_.array("absmax", codes, state_.blocks());
    parts_.array("nested_absmax", inner, nested_blocks(nested_size()));
    parts_.number("nested_offset", offset);
    for (std::size_t i = 0; i < codes.size(); ++i)
      scale.values.push_back(rounded_sum(
          rounded_product(map[codes[i]], inner[i / static_cast<std::size_t>(nested_size())]),
          offset));
    return scale;
  }

  static bool same(const std::vector<float>& values, const float* expected) {
    return std::memcmp(values.data(), expected, values.size() * sizeof(float)) == 0;
  }

 private:
  Index nested_size() const {
    const auto place = state_.json.find("nested_blocksize");
    if (place == state_.json.end()) return 256;
    const Index size = whole_number(*place, file_.where(state_.weight) + ": nested_blocksize");
    require<FormatError>(size > 0, file_.where(state_.weight),
                         ": nested_blocksize: expected 1 or more, found ", size);
    return size;
  }
  Index nested_blocks(Index size) const { return block_count(state_.blocks(), size); }

  const Checkpoint& file_;
  const PackedState& state_;
  PartReader parts_;
};

}  // namespace io_detail

/// Calls `visit(QuantizedMatrix<F>)` with the weight in the format it has in the file: NF4 or FP4
/// with blocks of 64 or of any size, scales in float32 or nested. Values of another `quant_map`
/// become a run-time codebook, with a warning, because bitsandbytes itself ignores it. Throws
/// FormatError, naming file and tensor.
template <class Visit>
void read_bitsandbytes(const Checkpoint& file, const PackedState& state, Visit&& visit,
                       const Warn& warn = {}) {
  const std::string where = file.where(state.weight);
  require<FormatError>(state.format == "nf4" || state.format == "fp4", where,
                       ": expected quant_state.bitsandbytes__nf4 or __fp4, found __", state.format);
  try {
    const io_detail::BitsandbytesReader reader(file, state);
    const bool nested = reader.nested();
    const std::vector<float> map = reader.table("quant_map", 16);
    auto codes = io_detail::read_codes_of(file, state, 4);
    const auto give = [&]<class C, class S>(auto scale) {
      if (state.block_size == 64) {
        visit(QuantizedMatrix<BlockFormat<C, 64, S>>(std::move(codes), std::move(scale), state.rows,
                                                     state.cols));
      } else {
        visit(QuantizedMatrix<BlockFormat<C, any_size, S>>(
            std::move(codes), std::move(scale), state.rows, state.cols, state.block_size));
      }
    };
    const auto give_scales = [&]<class C>() {
      if (nested && reader.usual_nesting()) {
        give.template operator()<C, DoubleQuant<>>(reader.double_quant());
      } else {
        give.template operator()<C, FloatScale<float>>(reader.floats());
      }
    };
    // FP4's zero of code 8 has no sign in some files.
    const auto is = [&](const float* values) {
      for (std::size_t i = 0; i < map.size(); ++i)
        if (map[i] != values[i]) return false;
      return true;
    };
    if (is(state.format == "nf4" ? decode_table<NF4>.at : decode_table<FP4>.at)) {
      if (state.format == "nf4") {
        give_scales.template operator()<NF4>();
      } else {
        give_scales.template operator()<FP4>();
      }
    } else {
      if (warn)
        warn(where + ": its quant_map is not that of " + state.format +
             "; bitsandbytes would ignore it, here it counts");
      visit(QuantizedMatrix<BlockFormat<Learned<4>, any_size, FloatScale<float>>>(
          std::move(codes), reader.floats(), state.rows, state.cols, state.block_size, {map}));
    }
  } catch (const nlohmann::json::exception& failure) {
    throw FormatError(message(where, ": ", failure.what()));
  }
}

}  // namespace qlora::inline QLORA_ABI
