/// Checks that the sizes of a Llama fit together, whatever file they come from.
///
///     qlora::LlamaKeyNames names{.width = "m.gguf: llama.embedding_length"};   // and so on
///     qlora::require_sizes(config, names);
#pragma once

#include <string>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/json_keys.hpp"
#include "qlora/model/llama_config.hpp"

namespace qlora::inline QLORA_ABI {

/// The keys by which a file gives the sizes of a Llama, each with the file's name before it. They
/// serve for messages.
struct LlamaKeyNames {
  std::string width, heads, kv_heads, rope_base, norm_epsilon;
};

/// Throws FormatError, naming the key, unless kv_heads divides heads, heads divides the width (where
/// heads have no width of their own), the width of a head is even, and rope_base and norm_epsilon are finite and above 0. Every size must
/// be 1 or more already. Safe to call from several threads.
inline void require_sizes(const LlamaConfig& config, const LlamaKeyNames& keys) {
  require<FormatError>(config.heads % config.kv_heads == 0, keys.kv_heads,
                       ": expected a divisor of the ", config.heads, " heads, found ",
                       config.kv_heads);
  require<FormatError>(config.own_head_width > 0 || config.width % config.heads == 0, keys.heads,
                       ": expected a divisor of the width ", config.width, ", found ",
                       config.heads);
  require<FormatError>(config.head_width() % 2 == 0, keys.width,
                       ": expected an even width for each of the ", config.heads, " heads, found ",
                       config.head_width());
  (void)checked_positive(config.rotary.base, keys.rope_base);
  (void)checked_positive(config.norm_epsilon, keys.norm_epsilon);
}

}  // namespace qlora::inline QLORA_ABI
