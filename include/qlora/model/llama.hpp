/// A decoder: token embedding, blocks, a final norm, and a head that has weights of its own or
/// shares those of the embedding. That is Llama (Touvron et al. 2023), and by its configuration
/// others of that kind. The weights are frozen, and LoRA adapters beside the projections are trained
/// (QLoRA, Dettmers et al. 2023).
///
///     qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
///     model.adapt({.rank = 16, .alpha = 32});
///     auto loss =
///         model.loss(ids, targets, layout, {.scale = 1.f / counted, .backward = true}).sum;
///
/// All matrices are [tokens, features]. The sequences of a batch lie one after the other.
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

#include "qlora/core/config.hpp"
#include "qlora/model/llama_block.hpp"
#include "qlora/nn/cross_entropy.hpp"
#include "qlora/nn/embedding.hpp"

namespace qlora::inline QLORA_ABI {

/// A decoder with adapters. Several threads may call its const members at once. A member that
/// is not const needs the model for itself. That includes `loss` with options.
template <Scalar T = float>
class Llama {
 public:
  LlamaConfig config;
  AnyLinear<T> embedding;  ///< [vocabulary, width]
  AnyLinear<T> head;       ///< [vocabulary, width]; empty where the embedding serves as head
  RmsNorm<T> final_norm;
  std::vector<LlamaBlock<T>> blocks;

  /// The keys and values of one sequence in all layers. One thread uses it at a time.
  struct Cache {
    std::vector<typename LlamaBlock<T>::Cache> layers;
    Index length = 0, capacity = 0;  ///< in tokens
  };

  /// Makes the rotary embedding for the configuration. Call it once, after the configuration is
  /// set. Throws what the constructor of Rope throws.
  void finish() {
    rope_ = Rope<T>(config.head_width(), config.rotary, config.context);
    if (config.has_local_rotary)
      local_rope_ = Rope<T>(config.head_width(), config.local_rotary, config.context);
  }

  /// The rotary embedding of queries and keys, of layers that see the whole context.
  const Rope<T>& rope() const { return rope_; }
  /// The head, or the embedding where that serves as head.
  const AnyLinear<T>& output_head() const { return head ? head : embedding; }

  /// Sets the arithmetic of the products with frozen weights. Adapters stay in T.
  void set_compute(Compute compute) {
    compute_ = compute;
    for (auto& block : blocks)
      for (auto& projection : block.projections) projection.compute = compute;
  }

  /// Gives the projections named in `modules`, such as "q_proj", a fresh adapter in every layer,
  /// and the other projections none. Throws OptionError for a name that no projection has, and what
  /// LoraLinear::adapt throws for the options.
  void adapt(LoraOptions options, const std::vector<std::string>& modules = target_modules("all")) {
    std::array<bool, projection_count> targeted{};
    for (const auto& module : modules) {
      int p = 0;
      while (p < projection_count && module_name(static_cast<Projection>(p)) != module) ++p;
      require<OptionError>(p < projection_count, "LoRA: no projection is named '", module, "'");
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

  /// Gives each projection that is named in full, such as "model.layers.0.self_attn.q_proj", a
  /// fresh adapter with options of its own, and the other projections none. Throws OptionError for
  /// a name that no projection has; nothing changes then. Throws what LoraLinear::adapt throws for
  /// the options.
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

  /// The projection of a name such as "model.layers.0.self_attn.q_proj". Throws OptionError for a
  /// name that no projection has.
  LoraLinear<AnyLinear<T>, T>& projection(const std::string& name) {
    for (std::size_t layer = 0; layer < blocks.size(); ++layer)
      for (std::size_t p = 0; p < projection_count; ++p)
        if (projection_name(layer, p) == name) return blocks[layer].projections[p];
    throw OptionError(message("LoRA: no projection is named '", name, "'"));
  }

  /// The parameters of all adapters: layer by layer, in the order of Projection, each as
  /// LoraLinear::parameters lists them.
  ParameterList<T> parameters() {
    ParameterList<T> all;
    for (auto& block : blocks)
      for (auto& projection : block.projections)
        for (auto& parameter : projection.parameters()) all.push_back(std::move(parameter));
    return all;
  }

  /// Memory for what a loss keeps from layer to layer. A caller that computes many losses of one
  /// shape reuses it, one per thread.
  struct Workspace {
    std::vector<typename LlamaBlock<T>::Saved> saved;
    std::vector<RowMatrix<T>> inputs;  // of each block, where the rest is made again
  };

  /// The summed next-token loss, in nats. targets[i] is the id that row i should predict, or
  /// `ignored`. With options.backward, the gradient of the loss times options.scale is added to the
  /// gradients of the adapters. Throws ShapeError for a sequence beyond the context, for an id
  /// outside the vocabulary, and where the sizes of ids, targets and layout do not fit together.
  CrossEntropy loss(std::span<const Token> ids, std::span<const Token> targets,
                    const BatchLayout& layout, const LossOptions& options) {
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
        blocks[layer].forward(x, saved, layout, rope_of(layer), layer_key(options.dropout, layer));
      }
      blocks[layer].backward(dx, saved, layout, rope_of(layer));
    }
    return result;
  }

  /// The summed next-token loss without dropout and without gradients. It changes nothing but the
  /// workspace, so that several threads may call it, each with a workspace of its own. Throws as
  /// the other one does.
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

  /// The logits, [ids, vocabulary], of one sequence from its start. They exist all at once, so this
  /// is for short inputs. Throws ShapeError for no ids, for more than the context holds, and for an
  /// id outside the vocabulary.
  RowMatrix<T> logits(std::span<const Token> ids) const {
    Cache cache = make_cache(static_cast<Index>(ids.size()));
    return all_logits(ids, cache);
  }

  /// An empty cache with room for `capacity` tokens. Throws ShapeError for more than the context.
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

  /// Feeds tokens that follow those in the cache, and returns the logits of the last one,
  /// [vocabulary]. Throws ShapeError for no ids, for more than the cache has room for, and for an
  /// id outside the vocabulary.
  ColumnVector<T> next_logits(std::span<const Token> ids, Cache& cache) const {
    const RowMatrix<T> hidden = advance(ids, cache);
    return project_head(hidden.bottomRows(1)).row(0).transpose();
  }

  /// The same, but returns the logits of all the ids, [ids, vocabulary].
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

  /// The loss. x becomes the output of the last block, and `dnormed`, unless it is null, the
  /// gradient of the normed x.
  CrossEntropy loss_forward(std::span<const Token> ids, std::span<const Token> targets,
                            const BatchLayout& layout, const LossOptions& options,
                            Workspace& workspace, RowMatrix<T>& x, RowMatrix<T>* dnormed) const {
    require_context(layout);
    auto& [saved, inputs] = workspace;
    embed(ids, x);
    const bool keep_all = options.backward && !options.gradient_checkpoint;
    saved.resize(keep_all ? blocks.size() : 1);
    inputs.resize(options.backward && options.gradient_checkpoint ? blocks.size() : 0);
    for (std::size_t layer = 0; layer < blocks.size(); ++layer) {
      if (!inputs.empty()) inputs[layer] = x;
      blocks[layer].forward(x, saved[keep_all ? layer : 0], layout, rope_of(layer),
                            layer_key(options.dropout, layer));
    }
    RowMatrix<T> normed(x.rows(), x.cols());
    final_norm.forward(x, normed);
    if (dnormed) dnormed->resize(x.rows(), x.cols());
    return cross_entropy<T>(normed, output_head(), targets, static_cast<T>(options.scale), dnormed,
                            compute_, logit_settings());
  }

  LogitSettings logit_settings() const { return {config.logit_scale, config.logit_soft_cap}; }
  const Rope<T>& rope_of(std::size_t layer) const {
    const bool local = config.has_local_rotary && config.kind(static_cast<Index>(layer)).sliding;
    return local ? local_rope_ : rope_;
  }
  void embed(std::span<const Token> ids, RowMatrix<T>& x) const {
    x.resize(static_cast<Index>(ids.size()), embedding.cols());
    embedding_forward<T>(embedding, ids, x);
    if (config.embedding_scale != 1) x *= static_cast<T>(config.embedding_scale);
  }

  void require_context(const BatchLayout& layout) const {
    for (const auto& sequence : layout.sequences)
      require<ShapeError>(sequence.keys() <= config.context, "sequence of ", sequence.keys(),
                          " tokens: the model's context is ", config.context);
  }

  /// The rows of `ids` after the final norm.
  RowMatrix<T> advance(std::span<const Token> ids, Cache& cache) const {
    const auto tokens = static_cast<Index>(ids.size());
    require<ShapeError>(tokens > 0 && cache.length + tokens <= cache.capacity,
                        "key-value cache: expected 1 to ", cache.capacity - cache.length,
                        " more tokens, found ", tokens);
    const BatchLayout layout = uniform_layout(1, tokens, cache.length);
    RowMatrix<T> x;
    embed(ids, x);
    typename LlamaBlock<T>::Saved saved;
    for (std::size_t layer = 0; layer < blocks.size(); ++layer)
      blocks[layer].forward(x, saved, layout, rope_of(layer), {}, &cache.layers[layer]);
    cache.length += tokens;
    RowMatrix<T> normed(x.rows(), x.cols());
    final_norm.forward(x, normed);
    return normed;
  }

  RowMatrix<T> project_head(const ConstMatrixRef<T>& hidden) const {
    RowMatrix<T> result(hidden.rows(), output_head().rows());
    output_head().forward(hidden, result, {.compute = compute_});
    logit_settings().apply(result);
    return result;
  }

  Compute compute_ = Compute::float32;
  Rope<T> rope_, local_rope_;
  Workspace workspace_;  // kept between steps: the same shapes come again
};

#if defined(QLORA_COMPILED)  // in the target qlora::compiled
extern template class LoraLinear<AnyLinear<float>, float>;
extern template struct LlamaBlock<float>;
extern template class Llama<float>;
#endif

}  // namespace qlora::inline QLORA_ABI
