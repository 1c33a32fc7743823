/// The names of the weights of a decoder in Hugging Face's checkpoints and in GGUF files, and the
/// order of their rows.
///
///     qlora::gguf_name("model.layers.3.mlp.up_proj.weight");   // "blk.3.ffn_up.weight"
///
/// The two rows of a head that rotary embedding turns together are, in GGUF files of Llama and of
/// some other families, rows 2i and 2i + 1 of attn_q and attn_k, and rows i and i + d/2 in Hugging Face's checkpoints, where d is the width
/// of a head. This library computes with Hugging Face's order, so that blocks and adapters are
/// those of the original checkpoint. All functions are pure: any number of threads may call them.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/matrix.hpp"
#include "qlora/model/families.hpp"

namespace qlora::inline QLORA_ABI {

namespace model_detail {

inline constexpr std::array outer_names{NamePair{"model.embed_tokens.weight", "token_embd.weight"},
                                        NamePair{"model.norm.weight", "output_norm.weight"},
                                        NamePair{"lm_head.weight", "output.weight"}};
/// The weights and the biases of the projections, in the order of Projection.
inline constexpr std::array<NamePair, projection_count> projection_weights{
    NamePair{"self_attn.q_proj.weight", "attn_q.weight"},
    NamePair{"self_attn.k_proj.weight", "attn_k.weight"},
    NamePair{"self_attn.v_proj.weight", "attn_v.weight"},
    NamePair{"self_attn.o_proj.weight", "attn_output.weight"},
    NamePair{"mlp.gate_proj.weight", "ffn_gate.weight"},
    NamePair{"mlp.up_proj.weight", "ffn_up.weight"},
    NamePair{"mlp.down_proj.weight", "ffn_down.weight"}};
inline constexpr std::array<NamePair, projection_count> projection_biases{
    NamePair{"self_attn.q_proj.bias", "attn_q.bias"},
    NamePair{"self_attn.k_proj.bias", "attn_k.bias"},
    NamePair{"self_attn.v_proj.bias", "attn_v.bias"},
    NamePair{"self_attn.o_proj.bias", "attn_output.bias"},
    NamePair{"mlp.gate_proj.bias", "ffn_gate.bias"},
    NamePair{"mlp.up_proj.bias", "ffn_up.bias"},
    NamePair{"mlp.down_proj.bias", "ffn_down.bias"}};
inline constexpr std::array head_norms{NamePair{"self_attn.q_norm.weight", "attn_q_norm.weight"},
                                       NamePair{"self_attn.k_norm.weight", "attn_k_norm.weight"}};

/// The same weight's name in the other convention; nothing for a name that no weight of the family
/// has.
inline std::optional<std::string> renamed(std::string_view name, const Family& family,
                                          bool to_gguf) {
  // The other name of a pair that has this one; an empty one is that of a norm which is not there.
  const auto other_in = [to_gguf](const auto& pairs, std::string_view one) {
    for (const NamePair& pair : pairs)
      if ((to_gguf ? pair.hugging_face : pair.gguf) == one)
        return to_gguf ? pair.gguf : pair.hugging_face;
    return std::string_view();
  };
  if (const auto other = other_in(outer_names, name); !other.empty()) return std::string(other);
  constexpr std::string_view prefixes[2] = {"blk.", "model.layers."};
  const std::string_view from = prefixes[to_gguf ? 1 : 0], to = prefixes[to_gguf ? 0 : 1];
  if (!name.starts_with(from)) return std::nullopt;
  name.remove_prefix(from.size());
  const auto digits = std::min(name.find_first_not_of("0123456789"), name.size());
  if (digits == 0 || digits == name.size() || name[digits] != '.') return std::nullopt;
  const std::string_view own = name.substr(digits + 1);
  std::string_view other = other_in(family.norms.all(), own);
  if (other.empty()) other = other_in(head_norms, own);
  if (other.empty()) other = other_in(projection_weights, own);
  if (other.empty()) other = other_in(projection_biases, own);
  if (other.empty()) return std::nullopt;
  return std::string(to) + std::string(name.substr(0, digits + 1)) + std::string(other);
}

}  // namespace model_detail

/// GGUF's name of a weight; nothing for a name that no weight of the family has.
inline std::optional<std::string> gguf_name(std::string_view hugging_face_name,
                                            const Family& family = find_family("llama")) {
  return model_detail::renamed(hugging_face_name, family, true);
}
/// Hugging Face's name of a weight; nothing for a name that no weight of the family has.
inline std::optional<std::string> hugging_face_name(std::string_view gguf_name,
                                                    const Family& family = find_family("llama")) {
  return model_detail::renamed(gguf_name, family, false);
}

/// Hugging Face's names of the weights that each layer of a model has, without "model.layers.N.".
inline std::vector<std::string> layer_weights(const LlamaConfig& config) {
  std::vector<std::string> all;
  const auto add = [&](const NamePair& pair) {
    if (!pair.hugging_face.empty()) all.emplace_back(pair.hugging_face);
  };
  for (const NamePair& pair : find_family(config.family).norms.all()) add(pair);
  if (config.query_key_norm != QueryKeyNorm::none)
    for (const NamePair& pair : model_detail::head_norms) add(pair);
  for (std::size_t p = 0; p < projection_count; ++p) {
    add(model_detail::projection_weights[p]);
    if (config.biases[p]) add(model_detail::projection_biases[p]);
  }
  return all;
}

/// How the rows of a weight move between the two orders. Only the rows of the query and the key
/// projection move, within each head.
struct RowOrder {
  Index head_width = 0;  ///< 0 where the rows do not move

  /// The row of the GGUF tensor that is row `row` in Hugging Face's order.
  Index gguf_row(Index row) const {
    if (head_width == 0) return row;
    const Index head = row / head_width, within = row % head_width, half = head_width / 2;
    return head * head_width + within % half * 2 + within / half;
  }
  /// The row in Hugging Face's order that is row `row` of the GGUF tensor.
  Index hugging_face_row(Index row) const {
    if (head_width == 0) return row;
    const Index head = row / head_width, within = row % head_width, half = head_width / 2;
    return head * head_width + within % 2 * half + within / 2;
  }
};

/// The order of the rows of a weight or of the numbers of a bias, which is named in either
/// convention.
inline RowOrder row_order(std::string_view name, Index head_width,
                          const Family& family = find_family("llama")) {
  if (!family.interleaves_rows) return {};
  for (const std::string_view end : {".weight", ".bias"})
    if (name.ends_with(end)) {
      const std::string_view stem = name.substr(0, name.size() - end.size());
      for (const char* turned : {"q_proj", "k_proj", "attn_q", "attn_k"})
        if (stem.ends_with(turned)) return {head_width};
    }
  return {};
}

/// Throws FormatError unless so many rows are whole heads, without which they have no other order.
inline void require_whole_heads(Index rows, RowOrder order) {
  require<FormatError>(
      order.head_width == 0 || (order.head_width % 2 == 0 && rows % order.head_width == 0),
      "expected rows of whole heads of an even width, found ", rows, " rows and heads of ",
      order.head_width);
}

/// A GGUF tensor with its rows moved to Hugging Face's order. Throws as require_whole_heads does.
inline RowMatrixXf rows_in_hugging_face_order(const RowMatrixXf& w, RowOrder order) {
  require_whole_heads(w.rows(), order);
  if (order.head_width == 0) return w;
  RowMatrixXf ordered(w.rows(), w.cols());
  for (Index row = 0; row < w.rows(); ++row) ordered.row(row) = w.row(order.gguf_row(row));
  return ordered;
}

/// A weight in Hugging Face's order with its rows moved to GGUF's. Throws as require_whole_heads does.
inline RowMatrixXf rows_in_gguf_order(const RowMatrixXf& w, RowOrder order) {
  require_whole_heads(w.rows(), order);
  if (order.head_width == 0) return w;
  RowMatrixXf ordered(w.rows(), w.cols());
  for (Index row = 0; row < w.rows(); ++row) ordered.row(row) = w.row(order.hugging_face_row(row));
  return ordered;
}

/// Hugging Face's name of a projection's weight, such as "model.layers.3.mlp.up_proj.weight".
inline std::string projection_weight_name(Index layer, Projection which) {
  return "model.layers." + std::to_string(layer) + "." + projection_names[which] + ".weight";
}

}  // namespace qlora::inline QLORA_ABI
