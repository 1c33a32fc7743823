/// What the weights of a Llama are called in Hugging Face's checkpoints and in GGUF files, and in
/// which order their rows stand.
///
///     qlora::gguf_name("model.layers.3.mlp.up_proj.weight");   // "blk.3.ffn_up.weight"
///
/// GGUF files hold attn_q and attn_k with the rows of a rotary pair as neighbours (2i, 2i + 1);
/// Hugging Face's halves (i, i + d/2) are what this library computes with, so blocks and adapters
/// are those of the original checkpoint.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "qlora/model/llama.hpp"

namespace qlora {

namespace detail {

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

/// A name with one prefix as the same name with another; nothing for a name that is not known.
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

}  // namespace detail

/// Nothing for a name that no weight of a Llama has.
inline std::optional<std::string> gguf_name(std::string_view hugging_face_name) {
  return detail::renamed(hugging_face_name, &detail::NamePair::hugging_face,
                         &detail::NamePair::gguf, "model.layers.", "blk.");
}
inline std::optional<std::string> hugging_face_name(std::string_view gguf_name) {
  return detail::renamed(gguf_name, &detail::NamePair::gguf, &detail::NamePair::hugging_face,
                         "blk.", "model.layers.");
}

/// The row of a GGUF tensor that is a row of Hugging Face's, and the other way round, for the
/// projections whose rows are rotated; every other weight keeps its rows.
struct RowOrder {
  Index head_width = 0;  ///< 0: rows stay where they are

  Index gguf_row(Index row) const {
    if (head_width == 0) return row;
    const Index head = row / head_width, within = row % head_width, half = head_width / 2;
    return head * head_width + within % half * 2 + within / half;
  }
  Index hugging_face_row(Index row) const {
    if (head_width == 0) return row;
    const Index head = row / head_width, within = row % head_width, half = head_width / 2;
    return head * head_width + within % 2 * half + within / 2;
  }
};

/// The order of a weight's rows by its name (either one).
inline RowOrder row_order(std::string_view name, Index head_width) {
  const bool rotated = name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight") ||
                       name.ends_with("attn_q.weight") || name.ends_with("attn_k.weight");
  return {rotated ? head_width : 0};
}

/// Rows of a GGUF tensor in Hugging Face's order.
inline RowMatrixXf rows_in_hugging_face_order(const RowMatrixXf& w, RowOrder order) {
  if (order.head_width == 0) return w;
  RowMatrixXf ordered(w.rows(), w.cols());
  for (Index row = 0; row < w.rows(); ++row) ordered.row(row) = w.row(order.gguf_row(row));
  return ordered;
}

/// Rows of a weight of Hugging Face's in GGUF's order.
inline RowMatrixXf rows_in_gguf_order(const RowMatrixXf& w, RowOrder order) {
  if (order.head_width == 0) return w;
  RowMatrixXf ordered(w.rows(), w.cols());
  for (Index row = 0; row < w.rows(); ++row) ordered.row(row) = w.row(order.hugging_face_row(row));
  return ordered;
}

/// "model.layers.3.mlp.up_proj.weight" of layer and projection.
inline std::string projection_weight_name(Index layer, Projection which) {
  return "model.layers." + std::to_string(layer) + "." + projection_names[which] + ".weight";
}

}  // namespace qlora
