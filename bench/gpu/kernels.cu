// Times of the kernels on a CUDA device, beside a copy within its memory:
//
//   bench_gpu [--rounds 5] [--launches 20] [--small] [--attributes] [--json FILE]
//
// Inputs are random, and matrices take turns so that none is read from the cache. Each time is the
// median of some rounds of many launches, by events. --small runs each kernel once on small shapes,
// for a checker of memory; --attributes says what the device is and ends. Says "skipped: no CUDA
// device" where there is none.
#include <array>
#include <cstdio>

#include "gpu/timing.hpp"
#include "qlora/cuda/attention.hpp"
#include "qlora/cuda/cross_entropy.hpp"
#include "qlora/cuda/dense_product.hpp"
#include "qlora/cuda/gemm.hpp"
#include "qlora/cuda/gemv.hpp"
#include "qlora/cuda/optimizer.hpp"
#include "qlora/cuda/rms_norm.hpp"
#include "qlora/cuda/rope.hpp"
#include "qlora/cuda/swiglu.hpp"
#include "qlora/optim/adam_rule.hpp"
#include "qlora/quant/named_formats.hpp"

using qlora::bfloat16, qlora::Index;
using namespace qlora::cuda;

namespace {

using bench::field, bench::uniform;

struct Options {
  int rounds = 5, launches = 20;
  bool small = false;
};

class Report {
 public:
  Report(const bench::Device& device, const Options& options, bench::JsonLines& lines)
      : device(device), options(options), lines_(lines) {
    std::puts("| kernel | case | us | GB/s | TFLOP/s |");
    std::puts("|---|---|---|---|---|");
  }
  // bytes: moved at least; flops: of the formula. launch(i) launches.
  template <class Launch>
  void time(const std::string& kernel, const std::string& what, double bytes, double flops,
            Launch launch) {
    const double us =
        bench::microseconds(device, options.rounds, options.small ? 1 : options.launches, launch);
    std::printf("| %s | %s | %.1f | %.0f | %.1f |\n", kernel.c_str(), what.c_str(), us,
                bytes / us / 1e3, flops / us / 1e6);
    std::fflush(stdout);
    lines_.add(field("kernel", kernel) + ", " + field("case", what) + ", " + field("us", us) +
               ", " + field("bytes", bytes) + ", " + field("flops", flops));
  }

  const bench::Device& device;
  const Options& options;

 private:
  bench::JsonLines& lines_;
};

std::string shape_text(const char* format, Index rows, Index cols, Index tokens = 0) {
  std::string text = std::string(format) + " " + std::to_string(rows) + "x" + std::to_string(cols);
  if (tokens > 0) text += ", " + std::to_string(tokens) + " tokens";
  return text;
}

// Copies of one matrix that take turns; together larger than any cache.
template <class F>
class Turns {
 public:
  Turns(const bench::Device& device, Index rows, Index cols, bool small) {
    const auto dense = uniform<float>(device, rows * cols, 0.02f, 1);
    do {
      matrices_.push_back(qlora::cuda::quantize<F>(device, dense.data(), rows, cols));
    } while (!small && bytes() * static_cast<double>(matrices_.size()) < 256e6);
  }
  double bytes() const { return static_cast<double>(matrices_.front().bytes()); }
  const qlora::QuantizedView<F>& operator[](int i) const {
    return matrices_[static_cast<std::size_t>(i) % matrices_.size()].view();
  }

 private:
  std::vector<DeviceMatrix<F, CudaRuntime>> matrices_;
};

template <class F, class X>
void products(Report& report, const char* format, const Turns<F>& w, Index rows, Index cols,
              Index tokens, int rank) {
  const auto& device = report.device;
  const auto x = uniform<X>(device, tokens * cols, 1, 2),
             dy = uniform<X>(device, tokens * rows, 1, 3);
  bench::Buffer<X> y(device, tokens * rows), dx(device, tokens * cols);
  const auto low = uniform<float>(device, tokens * std::max(1, rank), 1, 4);
  const auto a = uniform<float>(device, cols * std::max(1, rank), 1, 5);
  const auto b = uniform<float>(device, rows * std::max(1, rank), 1, 6);
  LowRank forward, backward;
  if (rank > 0) {
    forward = LowRank::forward(low.data(), b.data(), rank, 0.25f);
    backward = LowRank::backward(low.data(), a.data(), rank, 0.25f, cols);
  }
  const double size = static_cast<double>(rows) * static_cast<double>(cols);
  const double flops = 2 * size * static_cast<double>(tokens);
  const double bytes =
      w.bytes() + static_cast<double>(sizeof(X)) * static_cast<double>(tokens * (rows + cols));
  std::string what = shape_text(format, rows, cols, tokens);
  if (std::is_same_v<X, float>) what += ", float x";
  if (rank > 0) what += ", rank " + std::to_string(rank);
  const auto run = [&](auto small, auto large) {
    tokens <= 32 ? device.launch(small) : device.launch(large);
  };
  report.time("forward product", what, bytes, flops, [&](int i) {
    const Output<X> out{y.data(), tokens, rows};
    run(ForwardProduct<F, X, X, 32, 64, Reads::words>{w[i], x.data(), out, forward},
        ForwardProduct<F, X, X, 128, 128, Reads::words>{w[i], x.data(), out, forward});
  });
  report.time("backward product", what, bytes, flops, [&](int i) {
    const Output<X> out{dx.data(), tokens, cols};
    run(BackwardProduct<F, X, X, 32, 64, Reads::words>{w[i], dy.data(), out, backward},
        BackwardProduct<F, X, X, 128, 128, Reads::words>{w[i], dy.data(), out, backward});
  });
}

template <class F>
void weights(Report& report, const char* format, Index rows, Index cols) {
  const auto& device = report.device;
  const Turns<F> w(device, rows, cols, report.options.small);
  const double size = static_cast<double>(rows * cols);
  bench::Buffer<bfloat16> decoded(device, rows * cols);
  report.time("dequantize", shape_text(format, rows, cols), w.bytes() + 2 * size, 0, [&](int i) {
    device.launch(Dequantize<F, bfloat16>{w[i], decoded.data()});
  });
  if (!reads_by_words(w[0])) return;
  const auto x = uniform<bfloat16>(device, 8 * cols, 1, 2);
  bench::Buffer<bfloat16> y(device, 8 * rows);
  report.time("gemv", shape_text(format, rows, cols, 1), w.bytes(), 2 * size, [&](int i) {
    device.launch(Gemv<F, bfloat16, bfloat16, 1, Reads::words>{w[i], x.data(), y.data()});
  });
  report.time("gemv", shape_text(format, rows, cols, 8), w.bytes(), 16 * size, [&](int i) {
    device.launch(Gemv<F, bfloat16, bfloat16, 8, Reads::words>{w[i], x.data(), y.data()});
  });
  const std::vector<Index> all{16, 64, 256, 2048}, few{32};
  for (const Index tokens : report.options.small ? few : all)
    products<F, bfloat16>(report, format, w, rows, cols, tokens, 0);
  const Index most = report.options.small ? 40 : 2048;
  products<F, float>(report, format, w, rows, cols, most, 0);
  products<F, float>(report, format, w, rows, cols, most, 64);
}

template <int Width>
void attention(Report& report, Index heads, Index kv_heads, Index tokens) {
  const auto& device = report.device;
  const Index wide = tokens * heads * Width, narrow = tokens * kv_heads * Width;
  const auto q = uniform<float>(device, wide, 1, 1), k = uniform<float>(device, narrow, 1, 2),
             v = uniform<float>(device, narrow, 1, 3), dout = uniform<float>(device, wide, 1, 4);
  bench::Buffer<float> out(device, wide), sums(device, tokens * heads),
      deltas(device, tokens * heads), dq(device, wide), dk(device, narrow), dv(device, narrow);
  const std::vector<qlora::SequenceSpan> sequences{{0, tokens, 0, 0}};
  const auto large = attention_tiles(sequences, AttentionForward<Width>::tile);
  const auto small = attention_tiles(sequences, AttentionBackwardQueries<Width>::tile);
  bench::Buffer<AttentionTile> large_tiles(device), small_tiles(device);
  large_tiles.upload(large.data(), static_cast<Index>(large.size()));
  small_tiles.upload(small.data(), static_cast<Index>(small.size()));
  const qlora::AttentionShape shape{heads, kv_heads, Width};
  // Causal: half of the scores. Forward two products, backward five.
  const double product = static_cast<double>(tokens) * static_cast<double>(tokens) *
                         static_cast<double>(heads * Width);
  const std::string what = std::to_string(heads) + " heads of " + std::to_string(Width) + ", " +
                           std::to_string(tokens) + " tokens";
  report.time("attention forward", what, 0, 2 * product, [&](int) {
    device.launch(AttentionForward<Width>{q.data(), k.data(), v.data(), out.data(), sums.data(),
                                          large_tiles.data(), large_tiles.size(), shape});
  });
  report.time("attention backward", what, 0, 5 * product, [&](int) {
    device.launch(AttentionBackwardQueries<Width>{
        q.data(), k.data(), v.data(), out.data(), sums.data(), dout.data(), dq.data(),
        deltas.data(), small_tiles.data(), small_tiles.size(), shape});
    device.launch(AttentionBackwardKeys<Width>{q.data(), k.data(), v.data(), sums.data(),
                                               deltas.data(), dout.data(), dk.data(), dv.data(),
                                               small_tiles.data(), small_tiles.size(), shape});
  });
}

// The adapter's products of one projection: x Aᵀ, dyᵀ low, dlowᵀ x.
void adapters(Report& report, Index tokens, Index in, Index rank) {
  const auto& device = report.device;
  const auto x = uniform<float>(device, tokens * in, 1, 1),
             a = uniform<float>(device, rank * in, 1, 2),
             low = uniform<float>(device, tokens * rank, 1, 3);
  bench::Buffer<float> out(device, std::max(tokens * rank, in * rank));
  const std::string what =
      std::to_string(tokens) + " x " + std::to_string(in) + ", rank " + std::to_string(rank);
  const double flops = 2.0 * static_cast<double>(tokens) * static_cast<double>(in * rank);
  const double bytes = 4.0 * static_cast<double>(tokens * in);
  report.time("adapter x Aᵀ", what, bytes, flops, [&](int) {
    device.launch(
        DenseProduct<64, 16>{{x.data(), in, 1}, {a.data(), 1, in}, out.data(), tokens, rank, in});
  });
  report.time("adapter dB", what, bytes, flops, [&](int) {
    device.launch(DenseProduct<64, 16>{
        {x.data(), 1, in}, {low.data(), rank, 1}, out.data(), in, rank, tokens});
  });
  report.time("adapter dA", what, bytes, flops, [&](int) {
    device.launch(DenseProduct<16, 64>{
        {low.data(), 1, rank}, {x.data(), in, 1}, out.data(), rank, in, tokens});
  });
}

void layers(Report& report, Index tokens, Index width, Index hidden, Index vocabulary) {
  const auto& device = report.device;
  const auto x = uniform<float>(device, tokens * width, 1, 1),
             w = uniform<float>(device, width, 1, 2);
  bench::Buffer<float> y(device, tokens * width);
  const std::string what = std::to_string(tokens) + " x " + std::to_string(width);
  const double size = 4.0 * static_cast<double>(tokens * width);
  report.time("rms norm forward", what, 2 * size, 0, [&](int) {
    device.launch(RmsNormForward{x.data(), w.data(), y.data(), tokens, width, 1e-5f});
  });
  report.time("rms norm backward", what, 4 * size, 0, [&](int) {
    device.launch(RmsNormBackward{x.data(), w.data(), x.data(), y.data(), tokens, width, 1e-5f});
  });
  auto gate = uniform<float>(device, tokens * hidden, 1, 3),
       up = uniform<float>(device, tokens * hidden, 1, 4);
  bench::Buffer<float> out(device, tokens * hidden);
  const double wide = 4.0 * static_cast<double>(tokens * hidden);
  report.time("swiglu forward", std::to_string(tokens) + " x " + std::to_string(hidden), 3 * wide,
              0, [&](int) {
                device.launch(SwigluForward{gate.data(), up.data(), out.data(), tokens * hidden});
              });
  report.time("swiglu backward", std::to_string(tokens) + " x " + std::to_string(hidden), 5 * wide,
              0, [&](int) {
                device.launch(SwigluBackward{gate.data(), up.data(), out.data(), tokens * hidden});
              });
  const Index rows = 128;
  auto logits = uniform<float>(device, rows * vocabulary, 1, 5);
  bench::Buffer<std::int32_t> targets(device);
  targets.clear(rows);
  bench::Buffer<float> losses(device, rows);
  report.time("cross entropy", std::to_string(rows) + " x " + std::to_string(vocabulary),
              8.0 * static_cast<double>(rows * vocabulary), 0, [&](int) {
                device.launch(CrossEntropyRows{logits.data(), targets.data(), losses.data(), rows,
                                               vocabulary, 1.f, true});
              });
}

void optimizers(Report& report, Index count) {
  const auto& device = report.device;
  auto p = uniform<float>(device, count, 1, 1), g = uniform<float>(device, count, 1, 2);
  bench::Buffer<float> m(device), v(device), scales(device);
  m.clear(count);
  v.clear(count);
  qlora::AdamWOptions rates;
  rates.learning_rate = 1e-4;
  const auto update = qlora::AdamWRule().step<float>(rates, 1);
  const std::string what = std::to_string(count / 1000000) + " M numbers";
  FloatState plain;
  plain.at[0] = m.data();
  plain.at[1] = v.data();
  report.time("adamw", what, 28.0 * static_cast<double>(count), 0, [&](int) {
    device.launch(
        OptimizerStep<qlora::AdamWRule, FloatState>{update, p.data(), g.data(), count, plain});
  });
  const Index blocks = blocks_for(count, state_block);
  scales.clear(2 * blocks);
  ByteState bytes;
  bytes.at[0] = reinterpret_cast<std::uint8_t*>(m.data());
  bytes.at[1] = reinterpret_cast<std::uint8_t*>(v.data());
  bytes.scale[0] = scales.data();
  bytes.scale[1] = scales.data() + blocks;
  report.time("adamw 8-bit", what, 16.0 * static_cast<double>(count), 0, [&](int) {
    device.launch(
        OptimizerStep<qlora::AdamWRule, ByteState>{update, p.data(), g.data(), count, bytes});
  });
}

void copies(Report& report) {
  const Index count = report.options.small ? 1 << 16 : Index{1} << 30;
  bench::Buffer<std::byte> from(report.device), to(report.device, count);
  from.clear(count);
  report.time("copy", std::to_string(count >> 20) + " MiB", 2.0 * static_cast<double>(count), 0,
              [&](int) { to.copy_from(from.data(), count); });
}

void attributes(bench::JsonLines& lines) {
  cudaDeviceProp properties{};
  cudaGetDeviceProperties(&properties, 0);
  int driver = 0;
  cudaDriverGetVersion(&driver);
  std::string text = field("device", properties.name) + ", " + field("driver", driver) + ", " +
                     field("runtime", CUDART_VERSION) + ", " +
                     field("memory", static_cast<double>(properties.totalGlobalMem));
  const auto ask = [&](const char* name, cudaDeviceAttr which) {
    int value = 0;
    cudaDeviceGetAttribute(&value, which, 0);
    text += ", " + field(name, value);
  };
  ask("multiprocessors", cudaDevAttrMultiProcessorCount);
  ask("l2_bytes", cudaDevAttrL2CacheSize);
  ask("pageable_memory_access", cudaDevAttrPageableMemoryAccess);
  ask("concurrent_managed_access", cudaDevAttrConcurrentManagedAccess);
  ask("host_pointer_for_registered_memory", cudaDevAttrCanUseHostPointerForRegisteredMem);
  std::printf("{%s}\n\n", text.c_str());
  lines.add(text);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    bench::Arguments arguments(argc, argv);
    Options options;
    options.small = arguments.flag("--small");
    const bool only_attributes = arguments.flag("--attributes");
    options.rounds = static_cast<int>(arguments.number("--rounds", options.small ? 1 : 5));
    options.launches = static_cast<int>(arguments.number("--launches", 20));
    const std::string json = arguments.text("--json", "");
    arguments.require_none_left();
    if (device_count() == 0) {
      std::puts("skipped: no CUDA device");
      return 0;
    }
    bench::JsonLines lines(json);
    const bench::Device device{CudaRuntime{}};
    attributes(lines);
    if (only_attributes) return 0;
    Report report(device, options, lines);
    copies(report);
    if (options.small) {
      weights<qlora::formats::nf4_dq>(report, "nf4-dq", 192, 128);
      weights<qlora::formats::nf4>(report, "nf4", 192, 128);
      attention<64>(report, 4, 2, 70);
      attention<128>(report, 2, 2, 70);
      adapters(report, 70, 96, 8);
      layers(report, 20, 96, 160, 500);
      optimizers(report, 3000);
    } else {
      weights<qlora::formats::nf4_dq>(report, "nf4-dq", 11008, 4096);
      weights<qlora::formats::nf4_dq>(report, "nf4-dq", 4096, 4096);
      weights<qlora::formats::nf4>(report, "nf4", 4096, 4096);
      weights<qlora::formats::nf4_dq>(report, "nf4-dq", 1536, 576);
      attention<128>(report, 32, 32, 2048);
      attention<64>(report, 9, 3, 2048);
      for (const Index rank : {Index{64}, Index{16}}) adapters(report, 2048, 4096, rank);
      layers(report, 2048, 4096, 11008, 32000);
      optimizers(report, 160000000);
    }
    device.synchronize();
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "bench_gpu: %s\n", failure.what());
    return 1;
  }
  return 0;
}
