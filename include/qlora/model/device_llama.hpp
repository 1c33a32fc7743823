/// A Llama on a device. It computes the loss of a batch and the gradients of the adapters by the
/// kernels of cuda/, in the order and with the dropout that model/llama.hpp has on the CPU.
///
///     qlora::DeviceLlama there(qlora::cuda::Device(qlora::cuda::CudaRuntime{}), model,
///                       qlora::FormatList<formats::nf4_dq, formats::q4_1, formats::q8_0>{});
///     there.set_adapters(model.parameters());
///     there.zero_gradients();
///     double sum = there.loss(ids, targets, layout, {.scale = scale, .backward = true}).sum;
///     there.add_gradients_to(model.parameters());
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/token.hpp"
#include "qlora/cuda/attention.hpp"
#include "qlora/cuda/cross_entropy.hpp"
#include "qlora/cuda/dense_product.hpp"
#include "qlora/cuda/rms_norm.hpp"
#include "qlora/cuda/rope.hpp"
#include "qlora/cuda/swiglu.hpp"
#include "qlora/model/device_linear.hpp"
#include "qlora/model/llama_config.hpp"
#include "qlora/nn/rope_table.hpp"
#include "qlora/nn/token_loss.hpp"

namespace qlora::inline QLORA_ABI {

/// A Llama in host memory that a DeviceLlama can copy: qlora::Llama<float>, or a struct with the
/// same members. The matrices are read through AnyViews, and the norms as floats.
template <class M>
concept HostLlama = requires(const M& model, std::size_t i) {
  { model.config } -> std::convertible_to<LlamaConfig>;
  { model.embedding.view() } -> std::convertible_to<AnyView>;
  { static_cast<bool>(model.head) } -> std::same_as<bool>;
  { model.head.view() } -> std::convertible_to<AnyView>;
  { model.final_norm.weight.data() } -> std::convertible_to<const float*>;
  { model.blocks.size() } -> std::convertible_to<std::size_t>;
  { model.blocks[i].attention_norm.weight.data() } -> std::convertible_to<const float*>;
  { model.blocks[i].feed_forward_norm.weight.data() } -> std::convertible_to<const float*>;
  { model.blocks[i].projections[i].base().view() } -> std::convertible_to<AnyView>;
  { model.blocks[i].projections[i].rank() } -> std::convertible_to<Index>;
  { model.blocks[i].projections[i].scaling() } -> std::convertible_to<float>;
  { model.blocks[i].projections[i].dropout() } -> std::convertible_to<float>;
};

/// A list of parameters in host memory, such as Llama::parameters().
template <class P>
concept HostParameters = requires(const P& parameters, std::size_t i) {
  { parameters.size() } -> std::convertible_to<std::size_t>;
  { parameters[i].value().data() } -> std::convertible_to<const float*>;
  { parameters[i].value().size() } -> std::convertible_to<Index>;
  { parameters[i].grad().data() } -> std::convertible_to<float*>;
  { parameters[i].grad().size() } -> std::convertible_to<Index>;
};

/// A Llama in device memory. One thread at a time may use it.
template <cuda::DeviceRuntime R>
class DeviceLlama {
  using Floats = cuda::Buffer<float, R>;

 public:
  /// Copies the weights of a HostLlama. The adapters are 0 until set_adapters. Throws DeviceError,
  /// as require_device_llama does, FormatError for a dense weight and a format that is not listed,
  /// ShapeError for a weight of another shape and a head width other than 16, 32, 64 and 128.
  template <class Model, class... F>
  DeviceLlama(cuda::Device<R> device, const Model& model, FormatList<F...> formats)
      : device_(std::move(device)), final_norm_(device_), cosine_(device_), sine_(device_) {
    static_assert(HostLlama<Model>,
                  "DeviceLlama: the model must be a qlora::Llama<float>, or a struct with its "
                  "members");
    config_ = model.config;
    require_device_llama(config_);
    const Index width = config_.head_width();
    require<ShapeError>(width == 16 || width == 32 || width == 64 || width == 128,
                        "device: expected a head width of 16, 32, 64 or 128, found ", width);
    const auto linear = [&](const AnyView& view, const std::string& name, Index rows, Index cols) {
      auto made = make_device_linear(device_, view, formats, name);
      require<ShapeError>(made->rows() == rows && made->cols() == cols, name, ": expected shape [",
                          rows, ", ", cols, "], found [", made->rows(), ", ", made->cols(), "]");
      return made;
    };
    embedding_ = linear(model.embedding.view(), "the embedding", config_.vocabulary, config_.width);
    if (model.head)
      head_ = linear(model.head.view(), "the head", config_.vocabulary, config_.width);
    final_norm_.upload(model.final_norm.weight.data(), config_.width);
    for (std::size_t l = 0; l < model.blocks.size(); ++l) {
      const auto& block = model.blocks[l];
      Layer& layer = layers_.emplace_back(device_);
      layer.attention_norm.upload(block.attention_norm.weight.data(), config_.width);
      layer.feed_forward_norm.upload(block.feed_forward_norm.weight.data(), config_.width);
      for (int p = 0; p < projection_count; ++p) {
        const auto which = static_cast<Projection>(p);
        const auto& from = block.projections[which];
        const auto [rows, cols] = projection_shape(config_, which);
        Adapted& to = layer.projections[which];
        to.base =
            linear(from.base().view(), message("layer ", l, "'s ", module_name(which)), rows, cols);
        to.rank = static_cast<int>(from.rank());
        to.scaling = from.scaling();
        to.dropout = from.dropout();
        to.a.clear(to.a_size());
        to.b.clear(to.b_size());
        to.da.clear(to.a_size());
        to.db.clear(to.b_size());
      }
    }
  }

  /// The device that holds the model.
  const cuda::Device<R>& device() const { return device_; }
  /// The host model's configuration.
  const LlamaConfig& config() const { return config_; }

  /// Copies the values of the adapters: A and B of each adapted projection, in the order of
  /// Llama::parameters(). Throws ShapeError, before anything changes, for another number of
  /// matrices or for one of another size, and DeviceError.
  template <HostParameters Parameters>
  void set_adapters(const Parameters& parameters) {
    require_adapters(parameters.size(), [&](auto i) { return parameters[i].value().size(); });
    std::size_t next = 0;
    for_matrices([&](Floats& value, Floats&, Index count) {
      value.upload(parameters[next++].value().data(), count);
    });
  }
  /// Sets the gradients on the device to 0.
  void zero_gradients() {
    for_matrices([](Floats&, Floats& gradient, Index count) { gradient.clear(count); });
  }
  /// Calls take(numbers, count) with a host copy of each gradient, in the order of set_adapters.
  template <std::invocable<const float*, Index> Take>
  void gradients(Take&& take) {
    std::vector<float> host;
    for_matrices([&](Floats&, Floats& gradient, Index count) {
      host.resize(static_cast<std::size_t>(count));
      gradient.download(host.data(), count);
      take(static_cast<const float*>(host.data()), count);
    });
  }
  /// Adds the gradients to those of the list on the host. Throws as set_adapters does.
  template <HostParameters Parameters>
  void add_gradients_to(const Parameters& parameters) {
    require_adapters(parameters.size(), [&](auto i) { return parameters[i].grad().size(); });
    std::size_t next = 0;
    gradients([&](const float* gradient, Index count) {
      float* to = parameters[next++].grad().data();
      for (Index i = 0; i < count; ++i) to[i] += gradient[i];
    });
  }

  /// The summed next-token loss, as Llama::loss gives it. With `backward`, the gradients are added
  /// to those of the adapters on the device. Throws ShapeError for ids, targets or positions out of
  /// range and for a sequence with a past, OptionError for options.gradient_checkpoint, which a
  /// device does not have, and DeviceError.
  CrossEntropy loss(std::span<const Token> ids, std::span<const Token> targets,
                    const BatchLayout& layout, const LossOptions& options = {}) {
    require<OptionError>(!options.gradient_checkpoint,
                         "device: expected a loss without gradient checkpointing");
    switch (config_.head_width()) {
      case 16:
        return loss_of<16>(ids, targets, layout, options);
      case 32:
        return loss_of<32>(ids, targets, layout, options);
      case 64:
        return loss_of<64>(ids, targets, layout, options);
      default:
        return loss_of<128>(ids, targets, layout, options);
    }
  }

 private:
  struct Adapted {
    explicit Adapted(const cuda::Device<R>& device)
        : a(device), b(device), da(device), db(device), low(device) {}
    std::unique_ptr<DeviceLinear<R>> base;
    int rank = 0;
    float scaling = 0, dropout = 0;
    Floats a, b, da, db;
    Floats low;  ///< dropout(x) Aᵀ of the last forward pass
    Index a_size() const { return rank * base->cols(); }
    Index b_size() const { return rank * base->rows(); }
  };
  /// What the backward pass reads.
  struct Layer {
    explicit Layer(const cuda::Device<R>& device)
        : attention_norm(device),
          feed_forward_norm(device),
          x(device),
          q(device),
          k(device),
          v(device),
          attended(device),
          log_sums(device),
          middle(device),
          gate(device),
          up(device),
          projections{Adapted(device), Adapted(device), Adapted(device), Adapted(device),
                      Adapted(device), Adapted(device), Adapted(device)} {}
    Floats attention_norm, feed_forward_norm;
    Floats x, q, k, v, attended, log_sums, middle, gate, up;
    std::array<Adapted, projection_count> projections;
  };
  static constexpr Index chunk = 128;  // rows of logits at a time

  /// Calls body(value, gradient, numbers) for A and B of each adapted projection.
  template <class Body>
  void for_matrices(Body&& body) {
    for (Layer& layer : layers_)
      for (Adapted& p : layer.projections) {
        if (p.rank == 0) continue;
        body(p.a, p.da, p.a_size());
        body(p.b, p.db, p.b_size());
      }
  }
  /// Throws ShapeError unless `found` matrices of size_of(i) numbers are as many and as large.
  template <class SizeOf>
  void require_adapters(std::size_t found, SizeOf&& size_of) {
    std::vector<Index> sizes;
    for_matrices([&](Floats&, Floats&, Index count) { sizes.push_back(count); });
    require<ShapeError>(found == sizes.size(), "device: expected ", sizes.size(),
                        " adapter matrices, found ", found);
    for (std::size_t i = 0; i < sizes.size(); ++i)
      require<ShapeError>(size_of(i) == sizes[i], "device: adapter matrix ", i, ": expected ",
                          sizes[i], " numbers, found ", size_of(i));
  }
  float epsilon() const { return static_cast<float>(config_.norm_epsilon); }
  const DeviceLinear<R>& head() const { return head_ ? *head_ : *embedding_; }

  template <int Width>
  CrossEntropy loss_of(std::span<const Token> ids, std::span<const Token> targets,
                       const BatchLayout& layout, const LossOptions& options) {
    begin<Width>(ids, targets, layout);
    const Index tokens = tokens_, width = config_.width;
    x_.reserve(tokens * width);
    embedding_->rows_of(device_, ids_.data(), tokens, x_.data());
    for (std::size_t l = 0; l < layers_.size(); ++l)
      forward<Width>(layers_[l], layer_key(options.dropout, l));
    normed_.reserve(tokens * width);
    norm(x_, final_norm_, normed_);
    dnormed_.reserve(tokens * width);
    const CrossEntropy result{head_loss(options), counted_};
    if (!options.backward) return result;
    dx_.clear(tokens * width);
    norm_backward(x_, final_norm_, dnormed_);
    for (std::size_t l = layers_.size(); l-- > 0;)
      backward<Width>(layers_[l], layer_key(options.dropout, l));
    return result;
  }

  static DropoutKey layer_key(DropoutKey dropout, std::size_t layer) {
    return {dropout.training, derive_key(dropout.key, layer)};
  }

  /// Checks a batch and brings it to the device.
  template <int Width>
  void begin(std::span<const Token> ids, std::span<const Token> targets,
             const BatchLayout& layout) {
    tokens_ = static_cast<Index>(ids.size());
    counted_ = 0;
    require<ShapeError>(targets.size() == ids.size() && layout.positions.size() == ids.size(),
                        "device: expected a target and a position for each of ", tokens_,
                        " tokens, found ", targets.size(), " and ", layout.positions.size());
    Index used = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const bool counts = targets[i] != ignored;
      require<ShapeError>(ids[i] >= 0 && ids[i] < config_.vocabulary &&
                              (!counts || (targets[i] >= 0 && targets[i] < config_.vocabulary)),
                          "device: token ", i, ": expected ids below ", config_.vocabulary,
                          ", found ", ids[i], " and ", targets[i]);
      const Index position = layout.positions[i];
      require<ShapeError>(position >= 0 && position < config_.context, "device: token ", i,
                          ": expected a position below ", config_.context, ", found ", position);
      used = std::max(used, position + 1);
      counted_ += counts ? 1 : 0;
    }
    Index row = 0;
    for (const SequenceSpan& sequence : layout.sequences) {
      require<ShapeError>(sequence.past == 0 && sequence.first_query == row &&
                              sequence.first_key == row && sequence.queries >= 0,
                          "device: expected sequences from their start, one after the other");
      row += sequence.queries;
    }
    require<ShapeError>(row == tokens_, "device: expected sequences of ", tokens_,
                        " tokens in all, found ", row);
    grow_rotations(used);
    ids_.upload(ids.data(), tokens_);
    targets_.upload(targets.data(), tokens_);
    positions_.upload(layout.positions.data(), tokens_);
    const auto large = cuda::attention_tiles(layout.sequences, cuda::AttentionForward<Width>::tile);
    const auto small =
        cuda::attention_tiles(layout.sequences, cuda::AttentionBackwardQueries<Width>::tile);
    large_count_ = static_cast<Index>(large.size());
    small_count_ = static_cast<Index>(small.size());
    large_tiles_.upload(large.data(), large_count_);
    small_tiles_.upload(small.data(), small_count_);
  }

  /// Makes the tables of rotations long enough for these positions. So a model's long context costs
  /// nothing before it is used.
  void grow_rotations(Index positions) {
    if (positions <= rotations_) return;
    const Index rows = std::min(config_.context, std::max({positions, 2 * rotations_, Index{512}}));
    const Index count = rows * (config_.head_width() / 2);
    std::vector<float> cosine(static_cast<std::size_t>(count)), sine(cosine.size());
    fill_rotations<float>(rotary_frequencies(config_.rotary, config_.head_width()),
                          config_.rotary.magnitude, 0, rows, cosine.data(), sine.data());
    rotations_ = 0;  // until both are there
    cosine_.upload(cosine.data(), count);
    sine_.upload(sine.data(), count);
    rotations_ = rows;
  }

  void norm(const Floats& x, const Floats& weight, Floats& y) {
    device_.launch(
        cuda::RmsNormForward{x.data(), weight.data(), y.data(), tokens_, config_.width, epsilon()});
  }
  /// dx_ += the gradient.
  void norm_backward(const Floats& x, const Floats& weight, const Floats& dy) {
    device_.launch(cuda::RmsNormBackward{x.data(), weight.data(), dy.data(), dx_.data(), tokens_,
                                         config_.width, epsilon()});
  }

  double head_loss(const LossOptions& options) {
    const Index width = config_.width, vocabulary = config_.vocabulary;
    logits_.reserve(std::min(chunk, tokens_) * vocabulary);
    losses_.reserve(tokens_);
    for (Index row = 0; row < tokens_; row += chunk) {
      const Index rows = std::min(chunk, tokens_ - row);
      head().forward(device_, normed_.data() + row * width, {logits_.data(), rows, vocabulary}, {});
      device_.launch(cuda::CrossEntropyRows{logits_.data(), targets_.data() + row,
                                            losses_.data() + row, rows, vocabulary, options.scale,
                                            options.backward});
      if (options.backward)
        head().backward(device_, logits_.data(), {dnormed_.data() + row * width, rows, width}, {},
                        {});
    }
    std::vector<float> losses(static_cast<std::size_t>(tokens_));
    losses_.download(losses.data(), tokens_);
    double sum = 0;
    for (const float loss : losses) sum += static_cast<double>(loss);
    return sum;
  }

  cuda::Dropout dropout_of(const Adapted& p, DropoutKey layer, Projection which) const {
    if (!layer.training || p.dropout <= 0) return {};
    return {p.dropout, derive_key(layer.key, static_cast<std::uint64_t>(which))};
  }
  /// x as A sees it.
  const float* dropped(const Floats& x, Index cols, const cuda::Dropout& dropout) {
    if (dropout.threshold == 0) return x.data();
    dropped_.reserve(tokens_ * cols);
    device_.launch(cuda::ApplyDropout{x.data(), dropped_.data(), tokens_, cols, dropout});
    return dropped_.data();
  }

  enum class Into { fresh, sum };  // what a product does with its output: replace it or add to it

  void project(Layer& s, Projection which, const Floats& x, Floats& y, DropoutKey layer,
               Into into = Into::fresh) {
    Adapted& p = s.projections[which];
    const Index in = p.base->cols(), out = p.base->rows();
    y.reserve(tokens_ * out);
    cuda::LowRank low_rank;
    if (p.rank > 0) {
      const float* seen = dropped(x, in, dropout_of(p, layer, which));
      p.low.reserve(tokens_ * p.rank);
      device_.launch(cuda::DenseProduct<64, 16>{
          {seen, in, 1}, {p.a.data(), 1, in}, p.low.data(), tokens_, p.rank, in});
      low_rank = cuda::LowRank::forward(p.low.data(), p.b.data(), p.rank, p.scaling);
    }
    p.base->forward(device_, x.data(), {y.data(), tokens_, out, into == Into::sum}, low_rank);
  }

  void unproject(Layer& s, Projection which, const Floats& x, const Floats& dy, Floats& dx,
                 DropoutKey layer, Into into = Into::fresh) {
    Adapted& p = s.projections[which];
    const Index in = p.base->cols(), out = p.base->rows();
    dx.reserve(tokens_ * in);
    cuda::LowRank low_rank;
    const cuda::Dropout dropout = dropout_of(p, layer, which);
    if (p.rank > 0) {
      dlow_.reserve(tokens_ * p.rank);
      device_.launch(cuda::DenseProduct<64, 16>{
          {dy.data(), out, 1}, {p.b.data(), p.rank, 1}, dlow_.data(), tokens_, p.rank, out});
      device_.launch(cuda::DenseProduct<64, 16>{{dy.data(), 1, out},
                                                {p.low.data(), p.rank, 1},
                                                p.db.data(),
                                                out,
                                                p.rank,
                                                tokens_,
                                                p.scaling,
                                                true});
      device_.launch(cuda::DenseProduct<16, 64>{{dlow_.data(), 1, p.rank},
                                                {dropped(x, in, dropout), in, 1},
                                                p.da.data(),
                                                p.rank,
                                                in,
                                                tokens_,
                                                p.scaling,
                                                true});
      low_rank = cuda::LowRank::backward(dlow_.data(), p.a.data(), p.rank, p.scaling, in);
    }
    p.base->backward(device_, dy.data(), {dx.data(), tokens_, in, into == Into::sum}, low_rank,
                     dropout);
  }

  void rotate(Floats& x, Index heads, float direction) {
    device_.launch(cuda::Rope{x.data(), cosine_.data(), sine_.data(), positions_.data(), tokens_,
                              heads, config_.head_width() / 2, direction});
  }

  template <int Width>
  void forward(Layer& s, DropoutKey key) {
    const Index count = tokens_ * config_.width;
    s.x.copy_from(x_.data(), count);
    normed_.reserve(count);
    norm(s.x, s.attention_norm, normed_);
    project(s, q_proj, normed_, s.q, key);
    project(s, k_proj, normed_, s.k, key);
    project(s, v_proj, normed_, s.v, key);
    rotate(s.q, config_.heads, 1);
    rotate(s.k, config_.kv_heads, 1);
    s.attended.reserve(tokens_ * config_.heads * Width);
    s.log_sums.reserve(tokens_ * config_.heads);
    device_.launch(cuda::AttentionForward<Width>{
        s.q.data(), s.k.data(), s.v.data(), s.attended.data(), s.log_sums.data(),
        large_tiles_.data(), large_count_, config_.attention()});
    s.middle.copy_from(s.x.data(), count);
    project(s, o_proj, s.attended, s.middle, key, Into::sum);
    norm(s.middle, s.feed_forward_norm, normed_);
    project(s, gate_proj, normed_, s.gate, key);
    project(s, up_proj, normed_, s.up, key);
    gated(s);
    x_.copy_from(s.middle.data(), count);
    project(s, down_proj, hidden_, x_, key, Into::sum);
  }

  void gated(Layer& s) {
    const Index count = tokens_ * config_.hidden;
    hidden_.reserve(count);
    device_.launch(cuda::SwigluForward{s.gate.data(), s.up.data(), hidden_.data(), count});
  }

  /// Turns dx_ from the gradient of the layer's output to that of its input. Spoils gate and up.
  template <int Width>
  void backward(Layer& s, DropoutKey key) {
    gated(s);
    unproject(s, down_proj, hidden_, dx_, dhidden_, key);
    device_.launch(cuda::SwigluBackward{s.gate.data(), s.up.data(), dhidden_.data(),
                                        tokens_ * config_.hidden});
    norm(s.middle, s.feed_forward_norm, normed_);
    unproject(s, gate_proj, normed_, s.gate, dnormed_, key);
    unproject(s, up_proj, normed_, s.up, dnormed_, key, Into::sum);
    norm_backward(s.middle, s.feed_forward_norm, dnormed_);

    unproject(s, o_proj, s.attended, dx_, dattended_, key);
    const Index wide = tokens_ * config_.heads * Width, narrow = tokens_ * config_.kv_heads * Width;
    dq_.reserve(wide);
    dk_.reserve(narrow);
    dv_.reserve(narrow);
    deltas_.reserve(tokens_ * config_.heads);
    device_.launch(cuda::AttentionBackwardQueries<Width>{
        s.q.data(), s.k.data(), s.v.data(), s.attended.data(), s.log_sums.data(), dattended_.data(),
        dq_.data(), deltas_.data(), small_tiles_.data(), small_count_, config_.attention()});
    device_.launch(cuda::AttentionBackwardKeys<Width>{
        s.q.data(), s.k.data(), s.v.data(), s.log_sums.data(), deltas_.data(), dattended_.data(),
        dk_.data(), dv_.data(), small_tiles_.data(), small_count_, config_.attention()});
    rotate(dq_, config_.heads, -1);
    rotate(dk_, config_.kv_heads, -1);
    norm(s.x, s.attention_norm, normed_);
    unproject(s, q_proj, normed_, dq_, dnormed_, key);
    unproject(s, k_proj, normed_, dk_, dnormed_, key, Into::sum);
    unproject(s, v_proj, normed_, dv_, dnormed_, key, Into::sum);
    norm_backward(s.x, s.attention_norm, dnormed_);
  }

  cuda::Device<R> device_;
  LlamaConfig config_;
  std::unique_ptr<DeviceLinear<R>> embedding_, head_;
  Floats final_norm_, cosine_, sine_;
  std::vector<Layer> layers_;
  Index tokens_ = 0, counted_ = 0, rotations_ = 0, large_count_ = 0, small_count_ = 0;
  cuda::Buffer<Token, R> ids_{device_}, targets_{device_};
  cuda::Buffer<Index, R> positions_{device_};
  cuda::Buffer<cuda::AttentionTile, R> large_tiles_{device_}, small_tiles_{device_};
  // Kept between calls: the same sizes come again.
  Floats x_{device_}, normed_{device_}, hidden_{device_}, logits_{device_}, losses_{device_},
      dropped_{device_}, dlow_{device_}, dx_{device_}, dnormed_{device_}, dhidden_{device_},
      dattended_{device_}, dq_{device_}, dk_{device_}, dv_{device_}, deltas_{device_};
};

}  // namespace qlora::inline QLORA_ABI
