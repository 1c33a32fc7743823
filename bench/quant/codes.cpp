// Quantizing and dequantizing beside a copy of the dense bytes:
//
//   OMP_NUM_THREADS=1 build/bench/bench_codes
#include <benchmark/benchmark.h>

#include <cstring>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"

namespace {

using qlora::Index;
using qlora::RowMatrixXf;

const RowMatrixXf& dense() {
  static const RowMatrixXf w = RowMatrixXf::Random(4096, 4096);
  return w;
}

void count(benchmark::State& state) {
  using benchmark::Counter;
  const auto weights = static_cast<double>(dense().size());
  state.counters["Gweights/s"] = Counter(weights * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["GB/s_dense"] = Counter(4 * weights * 1e-9, Counter::kIsIterationInvariantRate);
}

template <class F>
void quantize(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(qlora::quantize<F>(dense()));
  count(state);
}

template <class F>
void dequantize(benchmark::State& state) {
  const auto w = qlora::quantize<F>(dense());
  RowMatrixXf out(4096, 4096);
  for (auto _ : state) {
    qlora::parallel_ranges(out.size(), 1 << 16, [&](Index begin, Index end) {
      w.view().decode_range(begin, end - begin, out.data() + begin);
    });
    benchmark::ClobberMemory();
  }
  count(state);
}

void copy(benchmark::State& state) {
  RowMatrixXf out = dense();
  for (auto _ : state) {
    std::memcpy(out.data(), dense().data(), static_cast<std::size_t>(out.size()) * sizeof(float));
    benchmark::ClobberMemory();
  }
  count(state);
}

BENCHMARK(copy)->UseRealTime()->Unit(benchmark::kMillisecond);
#define QLORA_BENCH_FORMAT(Format)                                                           \
  BENCHMARK_TEMPLATE(quantize, qlora::Format)->UseRealTime()->Unit(benchmark::kMillisecond); \
  BENCHMARK_TEMPLATE(dequantize, qlora::Format)->UseRealTime()->Unit(benchmark::kMillisecond);
QLORA_BENCH_FORMAT(formats::nf4)
QLORA_BENCH_FORMAT(formats::nf4_dq)
QLORA_BENCH_FORMAT(formats::fp4)
QLORA_BENCH_FORMAT(formats::nf3)
QLORA_BENCH_FORMAT(formats::nf2)
QLORA_BENCH_FORMAT(formats::nf8)
QLORA_BENCH_FORMAT(formats::mxfp4)
QLORA_BENCH_FORMAT(formats::nvfp4)
QLORA_BENCH_FORMAT(formats::q4_1)
QLORA_BENCH_FORMAT(formats::q5_0)
QLORA_BENCH_FORMAT(formats::learned4)

}  // namespace

BENCHMARK_MAIN();
