/// Llama: token embedding, blocks, a final norm and a head that shares the embedding or has its
/// own.
///
///     qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
///     model.adapt({.rank = 16, .alpha = 32});
///     auto loss = model.loss(ids, targets, layout, {.scale = 1.f / counted, .backward = true}).sum;
///
/// Touvron et al. 2023. All matrices are [tokens, features]; several sequences lie one after the
/// other.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/model/llama_block.hpp"
#include "qlora/nn/cross_entropy.hpp"
#include "qlora/nn/embedding.hpp"

namespace qlora {

/// Different threads may use different models. One model's const members may run at the same time,
/// the loss without options among them; whatever changes adapters or gradients needs the model for
/// itself.
template <Scalar T = float>
class Llama {
 public:
  LlamaConfig config;
  AnyLinear<T> embedding;  ///< [vocabulary, width]
  AnyLinear<T> head;       ///< [vocabulary, width]; without a weight when the embedding serves
  RmsNorm<T> final_norm;
  std::vector<LlamaBlock<T>> blocks;

  /// Keys and values of one sequence, all layers.
  struct Cache {
    std::vector<typename LlamaBlock<T>::Cache> layers;
    Index length = 0, capacity = 0;
  };

  /// Call once after the weights are set.
  void finish() { rope_ = Rope<T>(config.head_width(), config.rope_base, config.context); }

  const Rope<T>& rope() const { return rope_; }
  const AnyLinear<T>& output_head() const { return head ? head : embedding; }

  /// The arithmetic of products with frozen weights; adapters stay in T.
  void set_compute(Compute compute) {
    compute_ = compute;
    for (auto& block : blocks)
      for (auto& projection : block.projections) projection.compute = compute;
  }

  /// Gives every projection named in `modules` a fresh adapter and the others none. Throws
  /// FormatError for a name that no projection has.
  void adapt(LoraOptions options, const std::vector<std::string>& modules = target_modules("all")) {
    std::array<bool, projection_count> targeted{};
    for (const auto& module : modules) {
      int p = 0;
      while (p < projection_count && module_name(static_cast<Projection>(p)) != module) ++p;
      require<FormatError>(p < projection_count, "LoRA: no projection is named '", module, "'");
      targeted[static_cast<std::size_t>(p)] = true;
    }
    std::map<std::string, LoraOptions> all;
    for (std::size_t layer = 0; layer < blocks.size(); ++layer)
      for (std::size_t p = 0; p < projection_count; ++p)
        if (targeted[p]) {
          LoraOptions& own = all[projection_name(layer, p)] = options;
          own.seed = derive_key(options.seed.value_or(0), layer * projection_count + p);
        }
    adapt_each(all);
  }

  /// Gives each projection named in full, such as "model.layers.0.self_attn.q_proj", an adapter of
  /// its own and the others none. Throws FormatError for a name that no projection has; nothing
  /// changes then.
  void adapt_each(const std::map<std::string, LoraOptions>& modules) {
    std::size_t found = 0;
    for (std::size_t layer = 0; layer < blocks.size(); ++layer)
      for (std::size_t p = 0; p < projection_count; ++p)
        found += modules.count(projection_name(layer, p));
    if (found < modules.size())
      for (const auto& [name, options] : modules) (void)projection(name);
    for (std::size_t layer = 0; layer < blocks.size(); ++layer)
      for (std::size_t p = 0; p < projection_count; ++p) {
        const std::string name = projection_name(layer, p);
        const auto own = modules.find(name);
        auto& projection = blocks[layer].projections[p];
        LoraOptions options = own == modules.end() ? LoraOptions{.rank = 0} : own->second;
        options.seed = options.seed.value_or(0);  // dropout's keys are the model's, as on a device
        projection.adapt(options);
        projection.a.name = name + ".lora_A.weight";
        projection.b.name = name + ".lora_B.weight";
      }
  }

  /// The projection of a name such as "model.layers.0.self_attn.q_proj". Throws FormatError for a
  /// name that no projection has.
  LoraLinear<AnyLinear<T>, T>& projection(const std::string& name) {
    for (std::size_t layer = 0; layer < blocks.size(); ++layer)
      for (std::size_t p = 0; p < projection_count; ++p)
        if (projection_name(layer, p) == name) return blocks[layer].projections[p];
    throw FormatError(message("LoRA: no projection is named '", name, "'"));
  }

  ParameterList<T> parameters() {
    ParameterList<T> all;
    for (auto& block : blocks)
      for (auto& projection : block.projections)
        for (auto& parameter : projection.parameters()) all.push_back(std::move(parameter));
    return all;
  }

  /// What a loss keeps from layer to layer. A caller who asks for losses of one shape again and again
  /// keeps it between calls, one for each thread.
  struct Workspace {
    std::vector<typename LlamaBlock<T>::Saved> saved;
    std::vector<RowMatrix<T>> inputs;  // of each block, where the rest is made again
  };

  /// The summed next-token loss; with `backward`, adds to the adapters' gradients. targets[i]: what
  /// row i predicts, or `ignored`. Throws ShapeError for sequences beyond the context, ids outside the
  /// vocabulary and sizes that do not fit.
  CrossEntropy loss(std::span<const Token> ids, std::span<const Token> targets,
                    const BatchLayout& layout, const LossOptions& options = {}) {
    RowMatrix<T> x, dnormed;
    const CrossEntropy result = loss_forward(ids, targets, layout, options, workspace_, x,
                                             options.backward ? &dnormed : nullptr);
    if (!options.backward) return result;
    auto& [kept, inputs] = workspace_;
    RowMatrix<T> dx = RowMatrix<T>::Zero(x.rows(), x.cols());
    final_norm.add_backward(x, dnormed, dx);
    for (std::size_t layer = blocks.size(); layer-- > 0;) {
      auto& saved = kept[inputs.empty() ? layer : 0];
      if (!inputs.empty()) {
        x = inputs[layer];
        blocks[layer].forward(x, saved, layout, rope_, layer_key(options.dropout, layer));
      }
      blocks[layer].backward(dx, saved, layout, rope_);
    }
    return result;
  }

  /// The summed next-token loss without dropout and without gradients. The model does not change:
  /// several threads may ask, each with a workspace of its own.
  CrossEntropy loss(std::span<const Token> ids, std::span<const Token> targets,
                    const BatchLayout& layout, Workspace& workspace) const {
    RowMatrix<T> x;
    return loss_forward(ids, targets, layout, {}, workspace, x, nullptr);
  }
  CrossEntropy loss(std::span<const Token> ids, std::span<const Token> targets,
                    const BatchLayout& layout) const {
    Workspace workspace;
    return loss(ids, targets, layout, workspace);
  }

  /// Logits [ids, vocabulary] of one sequence from its start; small inputs only.
  RowMatrix<T> logits(std::span<const Token> ids) const {
    Cache cache = make_cache(static_cast<Index>(ids.size()));
    return all_logits(ids, cache);
  }

  Cache make_cache(Index capacity) const {
    require<ShapeError>(capacity <= config.context, "context: expected at most ", config.context,
                        " tokens, found ", capacity);
    Cache cache;
    cache.capacity = capacity;
    const Index width = config.kv_heads * config.head_width();
    cache.layers.resize(blocks.size());
    for (auto& layer : cache.layers)
      layer = {RowMatrix<T>(capacity, width), RowMatrix<T>(capacity, width)};
    return cache;
  }

  /// Feeds tokens of a sequence after those in the cache; returns the last token's logits. Throws
  /// ShapeError when the cache is full.
  Vector<T> next_logits(std::span<const Token> ids, Cache& cache) const {
    const RowMatrix<T> hidden = advance(ids, cache);
    return project_head(hidden.bottomRows(1)).row(0).transpose();
  }

  /// The same with the logits of all of them, [ids, vocabulary]: few at a time.
  RowMatrix<T> all_logits(std::span<const Token> ids, Cache& cache) const {
    return project_head(advance(ids, cache));
  }

 private:
  static std::string projection_name(std::size_t layer, std::size_t which) {
    return "model.layers." + std::to_string(layer) + "." + projection_names[which];
  }
  static DropoutKey layer_key(DropoutKey dropout, std::size_t layer) {
    return {dropout.training, derive_key(dropout.key, layer)};
  }

  /// The loss, with x as the last block leaves it, and the gradient of the normed x if asked for.
  CrossEntropy loss_forward(std::span<const Token> ids, std::span<const Token> targets,
                            const BatchLayout& layout, const LossOptions& options,
                            Workspace& workspace, RowMatrix<T>& x, RowMatrix<T>* dnormed) const {
    require_context(layout);
    auto& [saved, inputs] = workspace;
    x.resize(static_cast<Index>(ids.size()), embedding.cols());
    embedding_forward<T>(embedding, ids, x);
    const bool keep_all = options.backward && !options.gradient_checkpoint;
    saved.resize(keep_all ? blocks.size() : 1);
    inputs.resize(options.backward && options.gradient_checkpoint ? blocks.size() : 0);
    for (std::size_t layer = 0; layer < blocks.size(); ++layer) {
      if (!inputs.empty()) inputs[layer] = x;
      blocks[layer].forward(x, saved[keep_all ? layer : 0], layout, rope_,
                            layer_key(options.dropout, layer));
    }
    RowMatrix<T> normed(x.rows(), x.cols());
    final_norm.forward(x, normed);
    if (dnormed) dnormed->resize(x.rows(), x.cols());
    return cross_entropy<T>(normed, output_head(), targets, static_cast<T>(options.scale), dnormed,
                            compute_);
  }

  void require_context(const BatchLayout& layout) const {
    for (const auto& sequence : layout.sequences)
      require<ShapeError>(sequence.keys() <= config.context, "sequence of ", sequence.keys(),
                          " tokens: the model's context is ", config.context);
  }

  /// The final hidden rows (normed) of `ids`.
  RowMatrix<T> advance(std::span<const Token> ids, Cache& cache) const {
    const auto tokens = static_cast<Index>(ids.size());
    require<ShapeError>(tokens > 0 && cache.length + tokens <= cache.capacity,
                        "key-value cache: expected 1 to ", cache.capacity - cache.length,
                        " more tokens, found ", tokens);
    const BatchLayout layout = uniform_layout(1, tokens, cache.length);
    RowMatrix<T> x(tokens, embedding.cols());
    embedding_forward<T>(embedding, ids, x);
    typename LlamaBlock<T>::Saved saved;
    for (std::size_t layer = 0; layer < blocks.size(); ++layer)
      blocks[layer].forward(x, saved, layout, rope_, {}, &cache.layers[layer]);
    cache.length += tokens;
    RowMatrix<T> normed(x.rows(), x.cols());
    final_norm.forward(x, normed);
    return normed;
  }

  RowMatrix<T> project_head(const ConstMatrixRef<T>& hidden) const {
    RowMatrix<T> result(hidden.rows(), output_head().rows());
    output_head().forward(hidden, result, {.compute = compute_});
    return result;
  }

  Compute compute_ = Compute::float32;
  Rope<T> rope_;
  Workspace workspace_;  // kept between steps: the same shapes come again
};

#if defined(QLORA_COMPILED)  // in the target qlora::compiled
extern template class LoraLinear<AnyLinear<float>, float>;
extern template struct LlamaBlock<float>;
extern template class Llama<float>;
#endif

}  // namespace qlora
