/// The names of the weights of a Llama in Hugging Face's checkpoints and in GGUF files, and the
/// order of their rows.
///
///     qlora::gguf_name("model.layers.3.mlp.up_proj.weight");   // "blk.3.ffn_up.weight"
///
/// The two rows of a head that rotary embedding turns together are rows 2i and 2i + 1 of attn_q and
/// attn_k in GGUF files, and rows i and i + d/2 in Hugging Face's checkpoints, where d is the width
/// of a head. This library computes with Hugging Face's order, so that blocks and adapters are
/// those of the original checkpoint. All functions are pure: any number of threads may call them.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/model/llama.hpp"

namespace qlora::inline QLORA_ABI {

namespace model_detail {

struct NamePair {
  std::string_view hugging_face, gguf;
};
inline constexpr std::array outer_names{NamePair{"model.embed_tokens.weight", "token_embd.weight"},
                                        NamePair{"model.norm.weight", "output_norm.weight"},
                                        NamePair{"lm_head.weight", "output.weight"}};
inline constexpr std::array block_names{
    NamePair{"input_layernorm.weight", "attn_norm.weight"},
    NamePair{"post_attention_layernorm.weight", "ffn_norm.weight"},
    NamePair{"self_attn.q_proj.weight", "attn_q.weight"},
    NamePair{"self_attn.k_proj.weight", "attn_k.weight"},
    NamePair{"self_attn.v_proj.weight", "attn_v.weight"},
    NamePair{"self_attn.o_proj.weight", "attn_output.weight"},
    NamePair{"mlp.gate_proj.weight", "ffn_gate.weight"},
    NamePair{"mlp.up_proj.weight", "ffn_up.weight"},
    NamePair{"mlp.down_proj.weight", "ffn_down.weight"}};

/// The same weight's name in the other convention; nothing for a name that no weight of a Llama
/// has.
inline std::optional<std::string> renamed(std::string_view name, std::string_view NamePair::*from,
                                          std::string_view NamePair::*to,
                                          std::string_view from_prefix,
                                          std::string_view to_prefix) {
  for (const NamePair& pair : outer_names)
    if (pair.*from == name) return std::string(pair.*to);
  if (!name.starts_with(from_prefix)) return std::nullopt;
  name.remove_prefix(from_prefix.size());
  const auto digits = std::min(name.find_first_not_of("0123456789"), name.size());
  if (digits == 0 || digits == name.size() || name[digits] != '.') return std::nullopt;
  for (const NamePair& pair : block_names)
    if (pair.*from == name.substr(digits + 1))
      return std::string(to_prefix) + std::string(name.substr(0, digits + 1)) +
             std::string(pair.*to);
  return std::nullopt;
}

}  // namespace model_detail

/// GGUF's name of a weight; nothing for a name that no weight of a Llama has.
inline std::optional<std::string> gguf_name(std::string_view hugging_face_name) {
  return model_detail::renamed(hugging_face_name, &model_detail::NamePair::hugging_face,
                               &model_detail::NamePair::gguf, "model.layers.", "blk.");
}
/// Hugging Face's name of a weight; nothing for a name that no weight of a Llama has.
inline std::optional<std::string> hugging_face_name(std::string_view gguf_name) {
  return model_detail::renamed(gguf_name, &model_detail::NamePair::gguf,
                               &model_detail::NamePair::hugging_face, "blk.", "model.layers.");
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

/// The order of the rows of a weight, which is named in either convention.
inline RowOrder row_order(std::string_view name, Index head_width) {
  const bool rotated = name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight") ||
                       name.ends_with("attn_q.weight") || name.ends_with("attn_k.weight");
  return {rotated ? head_width : 0};
}

/// A GGUF tensor with its rows moved to Hugging Face's order.
inline RowMatrixXf rows_in_hugging_face_order(const RowMatrixXf& w, RowOrder order) {
  if (order.head_width == 0) return w;
  RowMatrixXf ordered(w.rows(), w.cols());
  for (Index row = 0; row < w.rows(); ++row) ordered.row(row) = w.row(order.gguf_row(row));
  return ordered;
}

/// A weight in Hugging Face's order with its rows moved to GGUF's.
inline RowMatrixXf rows_in_gguf_order(const RowMatrixXf& w, RowOrder order) {
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
