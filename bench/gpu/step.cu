// A training step of a model's shape on a CUDA device, with random weights: one random layer is
// quantized and stands for all of the model's, so that no file is needed.
//
//   bench_gpu_step [--shape llama-7b|smollm2-135m] [--tokens 2048] [--rank 64] [--steps 3] [--json
//   FILE]
//
// A step is what finetune --device cuda does: adapters go to the device, loss and gradients are
// computed there, gradients come back, and the optimizer steps on the host. Each part is timed.
// Says "skipped: no CUDA device" where there is none.
#include <chrono>
#include <cmath>
#include <cstdio>

#include "gpu/timing.hpp"
#include "qlora/cuda/cuda_runtime.hpp"
#include "qlora/model/device_llama.hpp"
#include "qlora/nn/parameter.hpp"
#include "qlora/optim/adam.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"

using qlora::Index;
using qlora::cuda::CudaRuntime;

namespace {

using Format = qlora::formats::nf4_dq;

qlora::LlamaConfig config_of(const std::string& name) {
  if (name == "llama-7b")
    return {.vocabulary = 32000,
            .width = 4096,
            .hidden = 11008,
            .layers = 32,
            .heads = 32,
            .kv_heads = 32};
  if (name == "smollm2-135m")
    return {
        .vocabulary = 49152, .width = 576, .hidden = 1536, .layers = 30, .heads = 9, .kv_heads = 3};
  throw std::runtime_error("--shape: expected llama-7b or smollm2-135m, found " + name);
}

// What DeviceLlama reads of a model (qlora::HostLlama), over weights that all layers share.
struct Shared {
  qlora::AnyView packed;
  explicit operator bool() const { return static_cast<bool>(packed); }
  qlora::AnyView view() const { return packed; }
};
struct Norm {
  std::span<const float> weight;
};
struct Projection {
  Shared shared;
  Index own_rank = 0;
  const Shared& base() const { return shared; }
  Index rank() const { return own_rank; }
  float scaling() const { return 0.25f; }
  float dropout() const { return 0; }
};
struct Block {
  Norm attention_norm, feed_forward_norm;
  std::array<Projection, qlora::projection_count> projections;
};
struct Model {
  qlora::LlamaConfig config;
  Shared embedding, head;
  Norm final_norm;
  std::vector<Block> blocks;
};
static_assert(qlora::HostLlama<Model>);

qlora::QuantizedMatrix<Format> random_weight(Index rows, Index cols, std::uint64_t key) {
  qlora::RowMatrixXf dense(rows, cols);
  const float scale = std::sqrt(3.f / static_cast<float>(cols));
  for (Index i = 0; i < dense.size(); ++i)
    dense.data()[i] = scale * (2 * qlora::uniform01(key, static_cast<std::uint64_t>(i)) - 1);
  return qlora::quantize<Format>(dense);
}

class Stopwatch {
 public:
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double, std::milli> passed = now - last_;
    last_ = now;
    return passed.count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

double used_gib() {
  std::size_t left = 0, all = 0;
  cudaMemGetInfo(&left, &all);
  return static_cast<double>(all - left) / (1 << 30);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    bench::Arguments arguments(argc, argv);
    const std::string name = arguments.text("--shape", "llama-7b");
    const Index tokens = arguments.number("--tokens", 2048), steps = arguments.number("--steps", 3);
    const int rank = static_cast<int>(arguments.number("--rank", 64));
    bench::JsonLines lines(arguments.text("--json", ""));
    arguments.require_none_left();
    qlora::LlamaConfig shape = config_of(name);
    shape.context = tokens;
    if (qlora::cuda::device_count() == 0) {
      std::puts("skipped: no CUDA device");
      return 0;
    }
    const bench::Device device{CudaRuntime{}};
    const double context_gib = used_gib();

    std::vector<qlora::QuantizedMatrix<Format>> weights;
    for (int p = 0; p < qlora::projection_count; ++p) {
      const auto [out, in] = qlora::projection_shape(shape, static_cast<qlora::Projection>(p));
      weights.push_back(random_weight(out, in, weights.size()));
    }
    const auto table = random_weight(shape.vocabulary, shape.width, 100);
    const std::vector<float> ones(static_cast<std::size_t>(shape.width), 1.f);
    Block block{{ones}, {ones}, {}};
    for (std::size_t p = 0; p < weights.size(); ++p)
      block.projections[p] = {{weights[p].view()}, rank};
    const Model host{shape,
                     {table.view()},
                     {table.view()},
                     {ones},
                     std::vector<Block>(static_cast<std::size_t>(shape.layers), block)};
    qlora::ParameterList<float> parameters;
    std::vector<std::unique_ptr<qlora::Parameter<float>>> owned;
    for (Index l = 0; l < shape.layers; ++l)
      for (const auto& weight : weights)
        for (const auto& [rows, cols] :
             {std::pair<Index, Index>{rank, weight.cols()}, {weight.rows(), rank}}) {
          owned.push_back(std::make_unique<qlora::Parameter<float>>(
              "p" + std::to_string(owned.size()), rows, cols));
          auto& value = owned.back()->value;
          for (Index i = 0; i < value.size(); ++i)
            value.data()[i] =
                0.02f * (2 * qlora::uniform01(owned.size(), static_cast<std::uint64_t>(i)) - 1);
          parameters.push_back(owned.back().get());
        }
    qlora::DeviceLlama<CudaRuntime> model(device, host, qlora::FormatList<Format>{});
    const double loaded_gib = used_gib();

    std::vector<qlora::Token> ids, targets;
    for (Index i = 0; i < tokens; ++i) {
      ids.push_back(static_cast<qlora::Token>(qlora::random_bits(7, static_cast<std::uint64_t>(i)) %
                                              static_cast<std::uint32_t>(shape.vocabulary)));
      targets.push_back(ids[static_cast<std::size_t>(i / 2)]);
    }
    const qlora::BatchLayout layout = qlora::uniform_layout(1, tokens);
    qlora::AdamW<> optimizer({.learning_rate = 1e-4});

    std::printf("%s, %td tokens, rank %d\n", name.c_str(), tokens, rank);
    for (Index step = 0; step <= steps; ++step) {
      Stopwatch watch;
      model.set_adapters(parameters);
      model.zero_gradients();
      device.synchronize();
      const double up = watch.lap();
      const double loss = model
                              .loss(ids, targets, layout,
                                    {.scale = 1.f / static_cast<float>(tokens), .backward = true})
                              .sum /
                          static_cast<double>(tokens);
      device.synchronize();
      const double compute = watch.lap();
      std::size_t next = 0;
      model.gradients([&](const float* numbers, Index count) {
        std::copy(numbers, numbers + count, parameters[next++].grad().data());
      });
      const double down = watch.lap();
      optimizer.step(parameters);
      const double host = watch.lap();
      const double total = up + compute + down + host;
      std::printf(
          "%s loss %.4f: %.0f ms up, %.0f compute, %.0f down, %.0f optimizer; %.0f tokens/s\n",
          step == 0 ? "warm-up," : "step,", loss, up, compute, down, host,
          1000 * static_cast<double>(tokens) / total);
      std::fflush(stdout);
      if (step > 0)
        lines.add(bench::field("step", name) + ", " +
                  bench::field("tokens", static_cast<double>(tokens)) + ", " +
                  bench::field("rank", rank) + ", " + bench::field("loss", loss) + ", " +
                  bench::field("up_ms", up) + ", " + bench::field("compute_ms", compute) + ", " +
                  bench::field("down_ms", down) + ", " + bench::field("optimizer_ms", host) + ", " +
                  bench::field("tokens_per_s", 1000 * static_cast<double>(tokens) / total) + ", " +
                  bench::field("context_gib", context_gib) + ", " +
                  bench::field("weights_gib", loaded_gib - context_gib) + ", " +
                  bench::field("peak_gib", used_gib() - context_gib));
    }
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "bench_gpu_step: %s\n", failure.what());
    return 1;
  }
  return 0;
}
