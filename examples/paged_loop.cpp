// An optimizer loop of your own whose state lives in a file instead of in memory: a LoRA adapter on
// a frozen 4-bit matrix learns what another matrix does.
//
//   build/examples/paged_loop [DIRECTORY]
//
// The state's file has no name and vanishes with the program.
#include <cstdio>
#include <iostream>
#include <qlora/memory/file_pager.hpp>
#include <qlora/nn.hpp>
#include <qlora/optim/adam.hpp>
#include <qlora/optim/clip.hpp>

using namespace qlora;

using Nf4Double = BlockFormat<NF4, 64, DoubleQuant<>>;
using PagedAdamW = AdamW<Blockwise8bit, Paged<FilePager>>;  // 8-bit state, in a file

int main(int argc, char** argv) {
  try {
    constexpr Index in = 1024, out = 512, rank = 32, tokens = 64;
    const RowMatrixXf dense = RowMatrixXf::Random(out, in) / 32;  // frozen, in 4 bits below
    // The teacher is the frozen matrix and a change of low rank, which an adapter can learn.
    const RowMatrixXf teacher =
        dense + RowMatrixXf::Random(out, rank) * RowMatrixXf::Random(rank, in) / 64;
    LoraLinear layer(quantize<Nf4Double>(dense), {.rank = rank, .alpha = 16});

    // At most 96 KiB of the state are in memory, in extents of 16 KiB that come and go.
    FilePager pager({.directory = argc > 1 ? argv[1] : ".",
                     .resident = {.budget = 96 << 10, .extent_bytes = 16 << 10}});
    PagedAdamW optimizer({.learning_rate = 1e-2}, pager);
    const ParameterList<float> parameters = layer.parameters();

    for (int step = 1; step <= 120; ++step) {
      const RowMatrixXf x = RowMatrixXf::Random(tokens, in);  // [tokens, in]
      auto [y, saved] = layer.forward(x);
      const RowMatrixXf error = y - x * teacher.transpose();
      const auto count = static_cast<float>(error.size());
      zero_gradients(parameters);
      layer.backward(2 / count * error, saved);  // of the mean squared error
      clip_gradients(parameters, 1.0);
      optimizer.step(parameters);
      if (step == 1 || step % 40 == 0)
        std::printf("step %3d  mean squared error %.6f\n", step, error.squaredNorm() / count);
    }
    const PagerCounters counters = pager.counters();
    std::printf("state %td bytes, resident %zu, extents brought in ahead %td, late %td\n",
                optimizer.state_bytes(), pager.resident_bytes(), counters.prefetched,
                counters.faults);
  } catch (const qlora::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
