/// A Llama on the device: the loss of a batch and the gradients of its adapters, by the kernels of
/// this folder. What model/llama.hpp does on the CPU, in its order and with its dropout.
///
/// Nothing here needs Eigen: a LlamaDescription says by pointers where the host's model is
/// (model/describe_llama.hpp makes it).
#pragma once

#include <any>
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "qlora/cuda/attention.hpp"
#include "qlora/cuda/cross_entropy.hpp"
#include "qlora/cuda/dense_product.hpp"
#include "qlora/cuda/device_linear.hpp"
#include "qlora/cuda/rms_norm.hpp"
#include "qlora/cuda/rope.hpp"
#include "qlora/cuda/swiglu.hpp"

namespace qlora::cuda {

/// Where a Llama lies on the host. Weights are QuantizedViews in a std::any.
struct LlamaDescription {
  struct Projection {
    std::string name;
    std::any weight;
    int rank = 0;  ///< of its adapter; 0: none
    float scaling = 0, dropout = 0;
  };
  struct Layer {
    const float* attention_norm = nullptr;
    const float* feed_forward_norm = nullptr;
    /// q, k, v, o, gate, up, down.
    std::array<Projection, 7> projections;
  };
  Index vocabulary = 0, width = 0, heads = 0, kv_heads = 0, head_width = 0;
  float epsilon = 0;
  std::any embedding, head;  ///< without a head the embedding serves
  const float* final_norm = nullptr;
  const float* cosine = nullptr;  ///< [context, head_width / 2]
  const float* sine = nullptr;
  Index context = 0;
  std::vector<Layer> layers;
};

/// Sequences one after the other; what each row predicts, negative for nothing.
struct DeviceBatch {
  std::span<const std::int32_t> ids, targets;
  std::vector<std::pair<Index, Index>> sequences;  ///< first row, length
  std::span<const Index> positions;                ///< of each row in its sequence
};

struct DeviceLossOptions {
  float scale = 1;
  bool backward = false;
  bool training = false;  ///< dropout acts
  std::uint64_t key = 0;  ///< of dropout
};

template <DeviceRuntime R>
class DeviceLlama {
  using Floats = Buffer<float, R>;

 public:
  /// Copies the weights. Throws DeviceError, FormatError for a format that is not in the list and
  /// ShapeError for a head width other than 16, 32, 64 and 128.
  template <class FormatList>
  DeviceLlama(Device<R> device, const LlamaDescription& d, FormatList formats)
      : device_(std::move(device)),
        shape_(d),
        embedding_(make_device_linear(device_, d.embedding, formats, "the embedding")),
        final_norm_(floats(d.final_norm, d.width)),
        cosine_(floats(d.cosine, d.context * d.head_width / 2)),
        sine_(floats(d.sine, d.context * d.head_width / 2)) {
    require<ShapeError>(
        d.head_width == 16 || d.head_width == 32 || d.head_width == 64 || d.head_width == 128,
        "device: expected a head width of 16, 32, 64 or 128, found ", d.head_width);
    if (d.head.has_value()) head_ = make_device_linear(device_, d.head, formats, "the head");
    for (const auto& from : d.layers) {
      Layer& layer = layers_.emplace_back(device_);
      layer.attention_norm = floats(from.attention_norm, d.width);
      layer.feed_forward_norm = floats(from.feed_forward_norm, d.width);
      for (std::size_t p = 0; p < 7; ++p) {
        const auto& projection = from.projections[p];
        Adapted& to = layer.projections[p];
        to.base = make_device_linear(device_, projection.weight, formats, projection.name.c_str());
        to.rank = projection.rank;
        to.scaling = projection.scaling;
        to.dropout = projection.dropout;
        to.a.clear(to.a_size());
        to.b.clear(to.b_size());
        to.da.clear(to.a_size());
        to.db.clear(to.b_size());
      }
    }
    shape_.layers.clear();  // what the caller keeps
    shape_.embedding = shape_.head = {};
  }

  const Device<R>& device() const { return device_; }

  /// The adapters' values, A and B of each adapted projection in the order of layers and
  /// projections; sizes are the host's. Throws ShapeError for another number of them.
  void set_adapters(std::span<const float* const> values) {
    std::size_t expected = 0, next = 0;
    for_adapted([&](Adapted&) { expected += 2; });
    require<ShapeError>(values.size() == expected, "device: expected ", expected,
                        " adapter matrices, found ", values.size());
    for_adapted([&](Adapted& p) {
      p.a.upload(values[next], p.a_size());
      p.b.upload(values[next + 1], p.b_size());
      next += 2;
    });
  }
  void zero_gradients() {
    for_adapted([](Adapted& p) {
      p.da.clear(p.a_size());
      p.db.clear(p.b_size());
    });
  }
  /// Calls take(numbers, count) for the gradient of each parameter in the same order.
  template <class Take>
  void gradients(Take&& take) {
    std::vector<float> host;
    const auto give = [&](const Floats& from, Index count) {
      host.resize(static_cast<std::size_t>(count));
      from.download(host.data(), count);
      take(host.data(), count);
    };
    for_adapted([&](Adapted& p) {
      give(p.da, p.a_size());
      give(p.db, p.b_size());
    });
  }

  /// The sum of the counted negative log likelihoods, in nats; with `backward` it adds to the
  /// adapters' gradients. Throws ShapeError for ids outside the vocabulary.
  double loss(const DeviceBatch& batch, const DeviceLossOptions& options) {
    switch (shape_.head_width) {
      case 16:
        return loss_of<16>(batch, options);
      case 32:
        return loss_of<32>(batch, options);
      case 64:
        return loss_of<64>(batch, options);
      default:
        return loss_of<128>(batch, options);
    }
  }

 private:
  struct Adapted {
    explicit Adapted(const Device<R>& device)
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
    explicit Layer(const Device<R>& device)
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
    std::array<Adapted, 7> projections;
  };
  enum { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj };
  static constexpr Index chunk = 128;  // rows of logits at a time

  Floats floats(const float* from, Index count) {
    Floats to(device_);
    to.upload(from, count);
    return to;
  }
  template <class Body>
  void for_adapted(Body&& body) {
    for (Layer& layer : layers_)
      for (Adapted& p : layer.projections)
        if (p.rank > 0) body(p);
  }
  const DeviceLinear<R>& head() const { return head_ ? *head_ : *embedding_; }
  AttentionSizes sizes() const { return {shape_.heads, shape_.kv_heads}; }

  template <int Width>
  double loss_of(const DeviceBatch& batch, const DeviceLossOptions& options) {
    begin<Width>(batch);
    const Index tokens = tokens_, width = shape_.width;
    x_.reserve(tokens * width);
    embedding_->rows_of(device_, ids_.data(), tokens, x_.data());
    for (std::size_t l = 0; l < layers_.size(); ++l) forward<Width>(layers_[l], key_of(options, l));
    normed_.reserve(tokens * width);
    norm(x_, final_norm_, normed_);
    dnormed_.reserve(tokens * width);
    const double sum = head_loss(options);
    if (!options.backward) return sum;
    dx_.clear(tokens * width);
    norm_backward(x_, final_norm_, dnormed_);
    for (std::size_t l = layers_.size(); l-- > 0;) backward<Width>(layers_[l], key_of(options, l));
    return sum;
  }

  struct Key {
    bool training;
    std::uint64_t key;
  };
  static Key key_of(const DeviceLossOptions& options, std::size_t layer) {
    return {options.training, derive_key(options.key, layer)};
  }

  template <int Width>
  void begin(const DeviceBatch& batch) {
    tokens_ = static_cast<Index>(batch.ids.size());
    require<ShapeError>(
        batch.targets.size() == batch.ids.size() && batch.positions.size() == batch.ids.size(),
        "device: expected a target and a position for each of ", tokens_, " tokens, found ",
        batch.targets.size(), " and ", batch.positions.size());
    for (Index i = 0; i < tokens_; ++i) {
      const auto at = static_cast<std::size_t>(i);
      require<ShapeError>(batch.ids[at] >= 0 && batch.ids[at] < shape_.vocabulary &&
                              batch.targets[at] < shape_.vocabulary,
                          "device: token ", i, ": expected ids below ", shape_.vocabulary,
                          ", found ", batch.ids[at], " and ", batch.targets[at]);
      require<ShapeError>(batch.positions[at] >= 0 && batch.positions[at] < shape_.context,
                          "device: token ", i, ": expected a position below ", shape_.context,
                          ", found ", batch.positions[at]);
    }
    ids_.upload(batch.ids.data(), tokens_);
    targets_.upload(batch.targets.data(), tokens_);
    positions_.upload(batch.positions.data(), tokens_);
    const auto large = attention_tiles(batch.sequences, AttentionForward<Width>::tile);
    const auto small = attention_tiles(batch.sequences, AttentionBackwardQueries<Width>::tile);
    large_count_ = static_cast<Index>(large.size());
    small_count_ = static_cast<Index>(small.size());
    large_tiles_.upload(large.data(), large_count_);
    small_tiles_.upload(small.data(), small_count_);
  }

  void norm(const Floats& x, const Floats& weight, Floats& y) {
    device_.launch(
        RmsNormForward{x.data(), weight.data(), y.data(), tokens_, shape_.width, shape_.epsilon});
  }
  /// dx_ += the gradient.
  void norm_backward(const Floats& x, const Floats& weight, const Floats& dy) {
    device_.launch(RmsNormBackward{x.data(), weight.data(), dy.data(), dx_.data(), tokens_,
                                   shape_.width, shape_.epsilon});
  }

  double head_loss(const DeviceLossOptions& options) {
    const Index width = shape_.width, vocabulary = shape_.vocabulary;
    logits_.reserve(std::min(chunk, tokens_) * vocabulary);
    losses_.reserve(tokens_);
    for (Index row = 0; row < tokens_; row += chunk) {
      const Index rows = std::min(chunk, tokens_ - row);
      head().forward(device_, normed_.data() + row * width, {logits_.data(), rows, vocabulary}, {});
      device_.launch(CrossEntropyRows{logits_.data(), targets_.data() + row, losses_.data() + row,
                                      rows, vocabulary, options.scale, options.backward});
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

  Dropout dropout_of(const Adapted& p, Key key, int which) const {
    if (!key.training || p.dropout <= 0) return {};
    return {p.dropout, derive_key(key.key, static_cast<std::uint64_t>(which))};
  }
  /// x as A sees it.
  const float* dropped(const Floats& x, Index cols, const Dropout& dropout) {
    if (dropout.threshold == 0) return x.data();
    dropped_.reserve(tokens_ * cols);
    device_.launch(ApplyDropout{x.data(), dropped_.data(), tokens_, cols, dropout});
    return dropped_.data();
  }

  void project(Adapted& p, int which, const Floats& x, Floats& y, Key key,
               bool accumulate = false) {
    const Index in = p.base->cols(), out = p.base->rows();
    y.reserve(tokens_ * out);
    LowRank low_rank;
    if (p.rank > 0) {
      const float* seen = dropped(x, in, dropout_of(p, key, which));
      p.low.reserve(tokens_ * p.rank);
      device_.launch(DenseProduct<64, 16>{
          {seen, in, 1}, {p.a.data(), 1, in}, p.low.data(), tokens_, p.rank, in});
      low_rank = LowRank::forward(p.low.data(), p.b.data(), p.rank, p.scaling);
    }
    p.base->forward(device_, x.data(), {y.data(), tokens_, out, accumulate}, low_rank);
  }

  void unproject(Adapted& p, int which, const Floats& x, const Floats& dy, Floats& dx, Key key,
                 bool accumulate = false) {
    const Index in = p.base->cols(), out = p.base->rows();
    dx.reserve(tokens_ * in);
    LowRank low_rank;
    const Dropout dropout = dropout_of(p, key, which);
    if (p.rank > 0) {
      dlow_.reserve(tokens_ * p.rank);
      device_.launch(DenseProduct<64, 16>{
          {dy.data(), out, 1}, {p.b.data(), p.rank, 1}, dlow_.data(), tokens_, p.rank, out});
      device_.launch(DenseProduct<64, 16>{{dy.data(), 1, out},
                                          {p.low.data(), p.rank, 1},
                                          p.db.data(),
                                          out,
                                          p.rank,
                                          tokens_,
                                          p.scaling,
                                          true});
      device_.launch(DenseProduct<16, 64>{{dlow_.data(), 1, p.rank},
                                          {dropped(x, in, dropout), in, 1},
                                          p.da.data(),
                                          p.rank,
                                          in,
                                          tokens_,
                                          p.scaling,
                                          true});
      low_rank = LowRank::backward(dlow_.data(), p.a.data(), p.rank, p.scaling, in);
    }
    p.base->backward(device_, dy.data(), {dx.data(), tokens_, in, accumulate}, low_rank, dropout);
  }

  void rotate(Floats& x, Index heads, float direction) {
    device_.launch(Rotate{x.data(), cosine_.data(), sine_.data(), positions_.data(), tokens_, heads,
                          shape_.head_width / 2, direction});
  }

  template <int Width>
  void forward(Layer& s, Key key) {
    const Index count = tokens_ * shape_.width;
    s.x.copy_from(x_.data(), count);
    normed_.reserve(count);
    norm(s.x, s.attention_norm, normed_);
    project(s.projections[q_proj], q_proj, normed_, s.q, key);
    project(s.projections[k_proj], k_proj, normed_, s.k, key);
    project(s.projections[v_proj], v_proj, normed_, s.v, key);
    rotate(s.q, shape_.heads, 1);
    rotate(s.k, shape_.kv_heads, 1);
    s.attended.reserve(tokens_ * shape_.heads * Width);
    s.log_sums.reserve(tokens_ * shape_.heads);
    device_.launch(AttentionForward<Width>{s.q.data(), s.k.data(), s.v.data(), s.attended.data(),
                                           s.log_sums.data(), large_tiles_.data(), large_count_,
                                           sizes()});
    s.middle.copy_from(s.x.data(), count);
    project(s.projections[o_proj], o_proj, s.attended, s.middle, key, true);
    norm(s.middle, s.feed_forward_norm, normed_);
    project(s.projections[gate_proj], gate_proj, normed_, s.gate, key);
    project(s.projections[up_proj], up_proj, normed_, s.up, key);
    gated(s);
    x_.copy_from(s.middle.data(), count);
    project(s.projections[down_proj], down_proj, hidden_, x_, key, true);
  }

  void gated(Layer& s) {
    const Index count = tokens_ * s.projections[gate_proj].base->rows();
    hidden_.reserve(count);
    device_.launch(SwigluForward{s.gate.data(), s.up.data(), hidden_.data(), count});
  }

  /// dx_: in, the gradient of the layer's output; out, that of its input. Uses up gate and up.
  template <int Width>
  void backward(Layer& s, Key key) {
    gated(s);
    unproject(s.projections[down_proj], down_proj, hidden_, dx_, dhidden_, key);
    device_.launch(SwigluBackward{s.gate.data(), s.up.data(), dhidden_.data(),
                                  tokens_ * s.projections[gate_proj].base->rows()});
    norm(s.middle, s.feed_forward_norm, normed_);
    unproject(s.projections[gate_proj], gate_proj, normed_, s.gate, dnormed_, key);
    unproject(s.projections[up_proj], up_proj, normed_, s.up, dnormed_, key, true);
    norm_backward(s.middle, s.feed_forward_norm, dnormed_);

    unproject(s.projections[o_proj], o_proj, s.attended, dx_, dattended_, key);
    const Index wide = tokens_ * shape_.heads * Width, narrow = tokens_ * shape_.kv_heads * Width;
    dq_.reserve(wide);
    dk_.reserve(narrow);
    dv_.reserve(narrow);
    deltas_.reserve(tokens_ * shape_.heads);
    device_.launch(AttentionBackwardQueries<Width>{
        s.q.data(), s.k.data(), s.v.data(), s.attended.data(), s.log_sums.data(), dattended_.data(),
        dq_.data(), deltas_.data(), small_tiles_.data(), small_count_, sizes()});
    device_.launch(AttentionBackwardKeys<Width>{
        s.q.data(), s.k.data(), s.v.data(), s.log_sums.data(), deltas_.data(), dattended_.data(),
        dk_.data(), dv_.data(), small_tiles_.data(), small_count_, sizes()});
    rotate(dq_, shape_.heads, -1);
    rotate(dk_, shape_.kv_heads, -1);
    norm(s.x, s.attention_norm, normed_);
    unproject(s.projections[q_proj], q_proj, normed_, dq_, dnormed_, key);
    unproject(s.projections[k_proj], k_proj, normed_, dk_, dnormed_, key, true);
    unproject(s.projections[v_proj], v_proj, normed_, dv_, dnormed_, key, true);
    norm_backward(s.x, s.attention_norm, dnormed_);
  }

  Device<R> device_;
  LlamaDescription shape_;
  std::unique_ptr<DeviceLinear<R>> embedding_, head_;
  Floats final_norm_, cosine_, sine_;
  std::vector<Layer> layers_;
  Index tokens_ = 0, large_count_ = 0, small_count_ = 0;
  Buffer<std::int32_t, R> ids_{device_}, targets_{device_};
  Buffer<Index, R> positions_{device_};
  Buffer<AttentionTile, R> large_tiles_{device_}, small_tiles_{device_};
  // Kept between calls: the same sizes come again.
  Floats x_{device_}, normed_{device_}, hidden_{device_}, logits_{device_}, losses_{device_},
      dropped_{device_}, dlow_{device_}, dx_{device_}, dnormed_{device_}, dhidden_{device_},
      dattended_{device_}, dq_{device_}, dk_{device_}, dv_{device_}, deltas_{device_};
};

}  // namespace qlora::cuda
