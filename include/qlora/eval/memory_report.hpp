/// Where the memory of a fine-tuning run goes, computed from a model's shape: the parts that stay,
/// and those of a training step.
///
///     auto parts = qlora::memory_report(qlora::llama_shape("65b"), {.tokens = 512});
///     qlora::total_bytes(parts);
///
/// The QLoRA paper's figure 6. What is counted is what this library keeps (LlamaBlock::Saved,
/// Trainer). With 16 bits for `activation_bits` and `adapter_bits` it is what the paper's runs
/// keep. All functions are pure: several threads may call them at once.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/model/llama_config.hpp"
#include "qlora/quant/visit_format.hpp"

namespace qlora::inline QLORA_ABI {

/// The bits that a weight costs, its share of the scales included.
struct FormatBits {
  double codes = 4, scales = 8.0 / 64 + 32.0 / (64 * 256);  ///< by default those of nf4-dq

  /// Of codes and scales together.
  double total() const { return codes + scales; }
};

/// The bits of a named format; block size 0 is the format's own. Throws OptionError as visit_format
/// does.
inline FormatBits format_bits(std::string_view name, Index block_size = 0) {
  FormatBits bits;
  visit_format(name, block_size, [&]<class Format>() {
    bits.codes = Format::code_bits;
    bits.scales = Format::bits_per_weight - Format::code_bits;
    if constexpr (Format::block_size == any_size)
      bits.scales = Format::ScaleType::bits_per_scale / static_cast<double>(block_size);
  });
  return bits;
}

/// What is fine-tuned, and what is kept in how many bits.
struct MemoryOptions {
  FormatBits format = {};      ///< of the projections
  double embedding_bits = 16;  ///< per weight of the embedding and the head
  bool tied_head = false;      ///< the embedding serves as head
  Index rank = 16;
  std::vector<std::string> targets = target_modules("all");
  double adapter_bits = 32;           ///< per number of an adapter, and per number of its gradient
  double state_bytes = 8;             ///< of the optimizer, per parameter: 8 for AdamW in float32
  bool keeps_good_parameters = true;  ///< the trainer's copy of the last good adapter
  double activation_bits = 32;
  Index tokens = 512;  ///< of a micro-batch, all rows together
  bool gradient_checkpoint = false;
};

/// What takes memory, and how many bytes.
struct MemoryPart {
  std::string name;
  double bytes = 0;
};

/// The sum over all parts.
inline double total_bytes(const std::vector<MemoryPart>& parts) {
  double sum = 0;
  for (const auto& part : parts) sum += part.bytes;
  return sum;
}

/// LLaMA's shapes: "7b", "13b", "33b", "65b" (Touvron et al. 2023, table 2), "smollm2-135m". Throws
/// OptionError for another name.
inline LlamaConfig llama_shape(std::string_view name) {
  struct Shape {
    std::string_view name;
    Index vocabulary, width, hidden, layers, heads, kv_heads;
  };
  constexpr std::array shapes{
      Shape{"7b", 32000, 4096, 11008, 32, 32, 32}, Shape{"13b", 32000, 5120, 13824, 40, 40, 40},
      Shape{"33b", 32000, 6656, 17920, 60, 52, 52}, Shape{"65b", 32000, 8192, 22016, 80, 64, 64},
      Shape{"smollm2-135m", 49152, 576, 1536, 30, 9, 3}};
  for (const Shape& shape : shapes)
    if (shape.name == name)
      return {.vocabulary = shape.vocabulary,
              .width = shape.width,
              .hidden = shape.hidden,
              .layers = shape.layers,
              .heads = shape.heads,
              .kv_heads = shape.kv_heads,
              .context = 2048};
  throw OptionError(message("shape '", name, "': expected 7b, 13b, 33b, 65b or smollm2-135m"));
}

/// How many numbers a model and its adapters have.
struct LlamaCounts {
  double projections = 0;  ///< weights of all projections
  double adapters = 0;     ///< of the projections that are targeted
  Index low = 0;           ///< columns of the adapters' inner activations, per layer
};

/// Counts for adapters of a rank on the projections whose names are in `targets`.
inline LlamaCounts count_llama(const LlamaConfig& config, Index rank,
                               const std::vector<std::string>& targets) {
  LlamaCounts counts;
  for (int p = 0; p < projection_count; ++p) {
    const auto which = static_cast<Projection>(p);
    const auto [rows, cols] = projection_shape(config, which);
    counts.projections += static_cast<double>(config.layers * rows * cols);
    if (std::find(targets.begin(), targets.end(), module_name(which)) == targets.end()) continue;
    counts.adapters += static_cast<double>(config.layers * rank * (rows + cols));
    counts.low += rank;
  }
  return counts;
}

/// The parts in a fixed order, in bytes. Names: codes, scales, embedding_and_head, norms, adapters,
/// gradients, optimizer_state, activations, working_memory.
inline std::vector<MemoryPart> memory_report(const LlamaConfig& config,
                                             const MemoryOptions& options = {}) {
  const LlamaCounts counts = count_llama(config, options.rank, options.targets);
  const double adapters = counts.adapters * options.adapter_bits / 8;
  const auto tokens = static_cast<double>(options.tokens);
  const auto width = static_cast<double>(config.width), hidden = static_cast<double>(config.hidden);
  const auto q_width = static_cast<double>(config.heads * config.head_width());
  const auto kv_width = static_cast<double>(config.kv_heads * config.head_width());
  const auto layers = static_cast<double>(config.layers);
  const auto vocabulary = static_cast<double>(config.vocabulary);
  const double number = options.activation_bits / 8;
  // Input, queries, attended and middle; keys and values; gate and up; log sums; x A^T.
  const double saved = tokens * number *
                       (2 * width + 2 * q_width + 2 * kv_width + 2 * hidden +
                        static_cast<double>(config.heads) + static_cast<double>(counts.low));
  // Of the backward pass of one block: four of the feed-forward width, four of the model's.
  const double step = tokens * number * (4 * hidden + 4 * width);
  const double chunk = std::min(tokens, 64.0);  // positions whose logits exist at once
  return {
      {"codes", counts.projections * options.format.codes / 8},
      {"scales", counts.projections * options.format.scales / 8},
      {"embedding_and_head",
       vocabulary * width * (options.tied_head ? 1 : 2) * options.embedding_bits / 8},
      {"norms", (2 * layers + 1) * width * 4},
      {"adapters", adapters * (options.keeps_good_parameters ? 2 : 1)},
      {"gradients", adapters},
      {"optimizer_state", counts.adapters * options.state_bytes},
      {"activations",
       options.gradient_checkpoint ? layers * tokens * width * number + saved : layers * saved},
      {"working_memory", step + chunk * vocabulary * number},
  };
}

}  // namespace qlora::inline QLORA_ABI
