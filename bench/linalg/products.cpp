// Products with packed weights beside dense ones, in one run:
//
//   OMP_NUM_THREADS=2 build/bench/bench_products --benchmark_filter='4096x4096'
//
// y = x W^T and dx = dy W, shapes of SmolLM2-135M and LLaMA-7B, in NF4 with double quantization, in
// dense float32 through this library's blocks and through Eigen. Counters: Gflop/s, weights a
// second, the share of the multiply-add peak and, for single rows, of the memory bandwidth that the
// weight's bytes take, both measured here (bench/support/machine.hpp).
#include <benchmark/benchmark.h>

#include "../support/machine.hpp"
#include "qlora/linalg/dense.hpp"
#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"

namespace {

using qlora::Index;
using qlora::RowMatrixXf;

struct Weights {
  RowMatrixXf dense;
  qlora::QuantizedMatrix<qlora::formats::nf4> plain;
  qlora::QuantizedMatrix<qlora::formats::nf4_dq> nested;
};

// The same weights for all benchmarks of a shape.
const Weights& weights(Index rows, Index cols) {
  static Weights kept;
  if (kept.dense.rows() != rows || kept.dense.cols() != cols) {
    const RowMatrixXf w = RowMatrixXf::Random(rows, cols);
    kept.nested = qlora::quantize<qlora::formats::nf4_dq>(w);
    kept.plain = qlora::quantize<qlora::formats::nf4>(w);
    kept.dense = qlora::dequantize(kept.nested);
  }
  return kept;
}

enum class Way { nested, plain, rounded, dense, eigen };

template <Way way>
void count(benchmark::State& state, const Weights& w, Index tokens) {
  const auto each = static_cast<double>(w.dense.size());
  const bool packed = way == Way::nested || way == Way::plain || way == Way::rounded;
  const double weight_bytes = packed ? static_cast<double>(w.nested.bytes()) : 4 * each;
  const double flops = 2 * each * static_cast<double>(tokens);
  using benchmark::Counter;
  state.counters["Gflop/s"] = Counter(flops * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["Gweights/s"] = Counter(each * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["of_peak"] =
      Counter(flops / bench::peak_flops(), Counter::kIsIterationInvariantRate);
  state.counters["of_bandwidth"] =
      Counter(weight_bytes / bench::memory_bandwidth(), Counter::kIsIterationInvariantRate);
}

template <Way way>
void forward(benchmark::State& state) {
  const Index rows = state.range(0), cols = state.range(1), tokens = state.range(2);
  const Weights& w = weights(rows, cols);
  const RowMatrixXf x = RowMatrixXf::Random(tokens, cols);
  RowMatrixXf y(tokens, rows);
  for (auto _ : state) {
    if constexpr (way == Way::nested) qlora::forward_product<float>(x, w.nested.view(), y);
    if constexpr (way == Way::plain) qlora::forward_product<float>(x, w.plain.view(), y);
    if constexpr (way == Way::rounded)
      qlora::forward_product<float>(x, w.nested.view(), y, {.compute = qlora::Compute::bfloat16});
    if constexpr (way == Way::dense) qlora::forward_product<float>(x, w.dense, y);
    if constexpr (way == Way::eigen) y.noalias() = x * w.dense.transpose();
    benchmark::ClobberMemory();
  }
  count<way>(state, w, tokens);
}

template <Way way>
void backward(benchmark::State& state) {
  const Index rows = state.range(0), cols = state.range(1), tokens = state.range(2);
  const Weights& w = weights(rows, cols);
  const RowMatrixXf dy = RowMatrixXf::Random(tokens, rows);
  RowMatrixXf dx(tokens, cols);
  for (auto _ : state) {
    if constexpr (way == Way::nested) qlora::backward_product<float>(dy, w.nested.view(), dx);
    if constexpr (way == Way::plain) qlora::backward_product<float>(dy, w.plain.view(), dx);
    if constexpr (way == Way::rounded)
      qlora::backward_product<float>(dy, w.nested.view(), dx,
                                     {.compute = qlora::Compute::bfloat16});
    if constexpr (way == Way::dense) qlora::backward_product<float>(dy, w.dense, dx);
    if constexpr (way == Way::eigen) dx.noalias() = dy * w.dense;
    benchmark::ClobberMemory();
  }
  count<way>(state, w, tokens);
}

void register_all() {
  struct Product {
    const char* name;
    void (*run)(benchmark::State&);
  };
  const Product products[] = {
      {"y/nf4-dq", forward<Way::nested>},       {"y/nf4", forward<Way::plain>},
      {"y/nf4-dq-bf16", forward<Way::rounded>}, {"y/float32", forward<Way::dense>},
      {"y/Eigen", forward<Way::eigen>},         {"dx/nf4-dq", backward<Way::nested>},
      {"dx/nf4", backward<Way::plain>},         {"dx/nf4-dq-bf16", backward<Way::rounded>},
      {"dx/float32", backward<Way::dense>},     {"dx/Eigen", backward<Way::eigen>}};
  for (const auto& [rows, cols] :
       {std::pair<Index, Index>{576, 576}, {1536, 576}, {576, 1536}, {4096, 4096}, {4096, 11008}})
    for (const Index tokens : {1, 4, 16, 64, 256, 2048})
      for (const Product& product : products)
        benchmark::RegisterBenchmark((std::to_string(rows) + "x" + std::to_string(cols) + "/" +
                                      std::to_string(tokens) + "/" + product.name)
                                         .c_str(),
                                     product.run)
            ->Args({rows, cols, tokens})
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
