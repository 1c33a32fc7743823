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
/// Hugging Face's names are those of the projections, in the order of Projection.
inline constexpr std::array<std::string_view, projection_count> gguf_projection_names{
    "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"};
inline constexpr NamePair query_norm_names{"self_attn.q_norm.weight", "attn_q_norm.weight"};
inline constexpr NamePair key_norm_names{"self_attn.k_norm.weight", "attn_k_norm.weight"};

/// All names that a layer of a family may have.
inline std::vector<std::pair<std::string, std::string>> layer_names(const Family& family) {
  std::vector<std::pair<std::string, std::string>> all;
  const NormNames& norms = family.norms;
  for (const NamePair& pair :
       {norms.before_attention, norms.after_attention, norms.before_feed_forward,
        norms.after_feed_forward, query_norm_names, key_norm_names})
    if (!pair.gguf.empty()) all.emplace_back(pair.hugging_face, pair.gguf);
  for (std::size_t p = 0; p < projection_count; ++p)
    for (const char* end : {".weight", ".bias"})
      all.emplace_back(std::string(projection_names[p]) + end,
                       std::string(gguf_projection_names[p]) + end);
  return all;
}

/// The same weight's name in the other convention; nothing for a name that no weight of the family
/// has.
inline std::optional<std::string> renamed(std::string_view name, const Family& family,
                                          bool to_gguf) {
  for (const NamePair& pair : outer_names)
    if ((to_gguf ? pair.hugging_face : pair.gguf) == name)
      return std::string(to_gguf ? pair.gguf : pair.hugging_face);
  constexpr std::string_view prefixes[2] = {"blk.", "model.layers."};
  const std::string_view from = prefixes[to_gguf ? 1 : 0], to = prefixes[to_gguf ? 0 : 1];
  if (!name.starts_with(from)) return std::nullopt;
  name.remove_prefix(from.size());
  const auto digits = std::min(name.find_first_not_of("0123456789"), name.size());
  if (digits == 0 || digits == name.size() || name[digits] != '.') return std::nullopt;
  for (const auto& [hugging_face, gguf] : layer_names(family))
    if ((to_gguf ? hugging_face : gguf) == name.substr(digits + 1))
      return std::string(to) + std::string(name.substr(0, digits + 1)) +
             (to_gguf ? gguf : hugging_face);
  return std::nullopt;
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
  const Family& family = find_family(config.family);
  std::vector<std::string> all;
  const NormNames& norms = family.norms;
  for (const NamePair& pair : {norms.before_attention, norms.after_attention,
                               norms.before_feed_forward, norms.after_feed_forward})
    if (!pair.hugging_face.empty()) all.emplace_back(pair.hugging_face);
  if (config.query_key_norm != QueryKeyNorm::none) {
    all.emplace_back(model_detail::query_norm_names.hugging_face);
    all.emplace_back(model_detail::key_norm_names.hugging_face);
  }
  for (std::size_t p = 0; p < projection_count; ++p) {
    all.push_back(std::string(projection_names[p]) + ".weight");
    if (config.biases[p]) all.push_back(std::string(projection_names[p]) + ".bias");
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
