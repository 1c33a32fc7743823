// A step of optimizers beside a copy of the bytes that it moves:
//
//   OMP_NUM_THREADS=1 build/bench/bench_optim
//
// 16 million numbers. A step reads parameter, gradient and state and writes parameter and state;
// the counter "of_copy" is its rate of bytes over that of memcpy, which reads and writes as well,
// in the same run. "page cache" and "disk": state in files, with a budget of a quarter of it and of
// all.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "qlora/optim/make_optimizer.hpp"

namespace {

using qlora::Index;
constexpr Index numbers = Index{1} << 24;

// Bytes a second, read and written, of copying.
double copy_rate() {
  static const double rate = [] {
    std::vector<float> from(1 << 26, 1.f), to(1 << 26, 2.f);
    double least = 1e30;
    for (int round = 0; round < 5; ++round) {
      const auto start = std::chrono::steady_clock::now();
      qlora::parallel_ranges(static_cast<Index>(from.size()), 1 << 20, [&](Index a, Index b) {
        std::memcpy(to.data() + a, from.data() + a,
                    static_cast<std::size_t>(b - a) * sizeof(float));
      });
      benchmark::ClobberMemory();
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
      least = std::min(least, spent.count());
    }
    return 2.0 * 4 * static_cast<double>(from.size()) / least;
  }();
  return rate;
}

void step(benchmark::State& state, const qlora::OptimizerSettings& settings) {
  qlora::Parameter<float> p("p", 4096, numbers / 4096);
  p.value.setConstant(1);
  for (Index i = 0; i < numbers; ++i)
    p.grad.data()[i] = static_cast<float>(i * 37 % 257 - 128) / 512.f;
  const qlora::ParameterList<float> list{&p};
  auto optimizer = qlora::make_optimizer<float>(settings);
  optimizer.step(list);
  optimizer.step(list);
  for (auto _ : state) optimizer.step(list);
  const double moved = 3.0 * 4 * numbers + 2.0 * static_cast<double>(optimizer.state_bytes());
  using benchmark::Counter;
  state.counters["GB/s"] = Counter(moved * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["of_copy"] = Counter(moved / copy_rate(), Counter::kIsIterationInvariantRate);
}

// AdamW by one loop over state in a file that is mapped and no more: no pins, no prefetch.
void naive_map(benchmark::State& state, const std::string& folder) {
  qlora::FileStore store(folder);
  const auto region = store.reserve(8 * numbers);
  auto* m = reinterpret_cast<float*>(region.data());
  auto* v = m + numbers;
  std::vector<float> p(numbers, 1.f), g(numbers, 0.25f);
  for (auto _ : state) {
    madvise(region.data(), 8 * numbers, MADV_DONTNEED);  // as after a step that did not fit
    qlora::parallel_ranges(numbers, 4096, [&](Index a, Index b) {
      using Run = qlora::Run<float>;
      Run mr(m + a, b - a), vr(v + a, b - a), pr(p.data() + a, b - a), gr(g.data() + a, b - a);
      mr = 0.9f * mr + 0.1f * gr;
      vr = 0.999f * vr + 0.001f * gr.square();
      pr -= 2e-4f * mr / (vr.sqrt() + 1e-8f);
    });
  }
  const double moved = 3.0 * 4 * numbers + 2.0 * 8 * numbers;
  using benchmark::Counter;
  state.counters["GB/s"] = Counter(moved * 1e-9, Counter::kIsIterationInvariantRate);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string disk = "build", cache = "/dev/shm";
  const auto add = [](const std::string& name, const qlora::OptimizerSettings& settings) {
    benchmark::RegisterBenchmark(name.c_str(),
                                 [settings](benchmark::State& state) { step(state, settings); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  for (const std::string& name : qlora::optimizer_names()) add(name, {.name = name});
  for (const std::string name : {"adamw", "adamw8bit"})
    for (const auto& [where, folder] : {std::pair{"tmpfs", cache}, {"disk", disk}}) {
      const std::size_t all = (name == "adamw" ? 8u : 2u) * static_cast<std::size_t>(numbers);
      for (const auto& [share, budget] : {std::pair{"quarter", all / 4}, {"all", 2 * all}})
        add(name + "/paged/" + where + "/" + share,
            {.name = name, .paged = qlora::FilePagerOptions{folder, {.budget = budget}}});
    }
  for (const auto& [where, folder] : {std::pair{"tmpfs", cache}, {"disk", disk}})
    benchmark::RegisterBenchmark(
        (std::string("adamw/naive map/") + where).c_str(),
        [folder = folder](benchmark::State& state) { naive_map(state, folder); })
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
