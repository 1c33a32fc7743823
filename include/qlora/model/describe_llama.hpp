/// Where a Llama lies in memory, for cuda/device_llama.hpp, and a step's pieces between the two.
///
///     qlora::cuda::DeviceLlama<Runtime> there(device, qlora::describe_llama(model), Formats{});
#pragma once

#include "qlora/cuda/device_llama.hpp"
#include "qlora/model/llama.hpp"

namespace qlora {

/// The model must outlive what reads the description. Throws FormatError for a weight that is not
/// packed.
inline cuda::LlamaDescription describe_llama(const Llama<float>& model) {
  const LlamaConfig& config = model.config;
  cuda::LlamaDescription d;
  d.vocabulary = config.vocabulary;
  d.width = config.width;
  d.heads = config.heads;
  d.kv_heads = config.kv_heads;
  d.head_width = config.head_width();
  d.epsilon = static_cast<float>(config.norm_epsilon);
  const auto packed = [](const AnyLinear<float>& linear, const std::string& name) {
    std::any view = linear.view();
    require<FormatError>(view.has_value(), name,
                         ": expected a packed weight for the device, found a dense one");
    return view;
  };
  d.embedding = packed(model.embedding, "the embedding");
  if (model.head) d.head = packed(model.head, "the head");
  d.final_norm = model.final_norm.weight.data();
  d.cosine = model.rope().cosine().data();
  d.sine = model.rope().sine().data();
  d.context = model.rope().length();
  for (std::size_t l = 0; l < model.blocks.size(); ++l) {
    const auto& block = model.blocks[l];
    auto& layer = d.layers.emplace_back();
    layer.attention_norm = block.attention_norm.weight.data();
    layer.feed_forward_norm = block.feed_forward_norm.weight.data();
    for (std::size_t p = 0; p < projection_count; ++p) {
      const auto& projection = block.projections[p];
      const std::string name = message("layer ", l, "'s ", module_name(static_cast<Projection>(p)));
      layer.projections[p] = {name, packed(projection.base(), name),
                              static_cast<int>(projection.rank()), projection.scaling(),
                              projection.dropout()};
    }
  }
  return d;
}

/// The values of adapters, in the order that DeviceLlama takes them.
inline std::vector<const float*> adapter_values(const ParameterList<float>& parameters) {
  std::vector<const float*> values;
  values.reserve(parameters.size());
  for (const auto* parameter : parameters) values.push_back(parameter->value.data());
  return values;
}

/// A batch as the device takes it; every sequence begins at its start. It refers to its arguments.
inline cuda::DeviceBatch device_batch(std::span<const Token> ids, std::span<const Token> targets,
                                      const BatchLayout& layout) {
  cuda::DeviceBatch batch{ids, targets, {}, layout.positions};
  for (const SequenceSpan& sequence : layout.sequences) {
    require<ShapeError>(sequence.past == 0 && sequence.first_query == sequence.first_key,
                        "device: expected sequences from their start");
    batch.sequences.emplace_back(sequence.first_query, sequence.queries);
  }
  return batch;
}

}  // namespace qlora
