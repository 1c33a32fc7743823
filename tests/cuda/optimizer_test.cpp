#include "qlora/cuda/optimizer.hpp"

#include "cuda/device.hpp"
#include "qlora/optim/adam.hpp"
#include "qlora/optim/clip.hpp"
#include "qlora/optim/lion.hpp"

using qlora::Index;

namespace {

// The largest difference of the parameters over some steps, in learning rates.
template <class Update, class Rule, class CpuState, class DeviceState>
double distance(Index rows, Index cols, const typename Rule::Options& options) {
  qlora::Parameter<float> parameter("p", rows, cols);
  parameter.value = test::normal_matrix(rows, cols, 1);
  qlora::RowMatrix<float> found = parameter.value;
  qlora::Optimizer<Rule, CpuState> optimizer(options);
  const auto size = static_cast<std::size_t>(rows * cols);
  std::vector<float> numbers(2 * size), scales(2 * (size / 256 + 1));
  std::vector<std::uint8_t> codes(2 * size);
  // Fresh codes stand for zero through their scale.
  DeviceState state;
  for (std::size_t k = 0; k < Update::states; ++k) {
    if constexpr (DeviceState::in_codes) {
      state.at[k] = codes.data() + k * size;
      state.scale[k] = scales.data() + k * (size / 256 + 1);
    } else {
      state.at[k] = numbers.data() + k * size;
    }
  }
  for (Index step = 1; step <= 4; ++step) {
    parameter.grad = test::normal_matrix(rows, cols, 100 + static_cast<std::uint64_t>(step));
    const qlora::RowMatrix<float> gradient = 4.f * parameter.grad;
    optimizer.step(qlora::ParameterList<float>{&parameter});
    test::run_kernel(
        qlora::cuda::OptimizerStep<Update, DeviceState>{Update::at(options, step), found.data(),
                                                        gradient.data(), rows * cols, state, 0.25f},
        test::writable(found), test::numbers(gradient), std::span(numbers), std::span(codes),
        std::span(scales));
  }
  return static_cast<double>((parameter.value - found).cwiseAbs().maxCoeff()) /
         options.learning_rate;
}

}  // namespace

TEST_CASE("AdamW and Lion take the CPU's steps, in float and in codes") {
  using namespace qlora::cuda;
  using AdamW = qlora::AdamRule<qlora::Decay::decoupled>;
  using qlora::Blockwise8bit, qlora::StateOf;
  const AdamW::Options adamw{.learning_rate = 1e-2, .weight_decay = 0.1};
  const qlora::LionRule::Options lion{.learning_rate = 1e-2, .weight_decay = 0.1};
  REQUIRE(distance<AdamWUpdate, AdamW, StateOf<float>, FloatState>(3, 100, adamw) < 1e-3);
  REQUIRE(distance<LionUpdate, qlora::LionRule, StateOf<float>, FloatState>(1, 257, lion) < 1e-3);
  // Two numbers whose last bits differ may get neighbouring codes: rarely, and by little.
  REQUIRE(distance<AdamWUpdate, AdamW, Blockwise8bit, ByteState>(70, 75, adamw) < 0.1);
  REQUIRE(distance<LionUpdate, qlora::LionRule, Blockwise8bit, ByteState>(64, 64, lion) < 2.1);
}

TEST_CASE("sums of squares are the norm's parts") {
  for (const Index count : {1, 255, 4097, 9000}) {
    const auto x = test::normal_matrix(1, count, 3);
    qlora::cuda::SumOfSquares kernel{x.data(), count, nullptr};
    std::vector<float> sums(static_cast<std::size_t>(kernel.blocks()));
    kernel.sums = sums.data();
    test::run_kernel(kernel, test::numbers(x), std::span(sums));
    double total = 0;
    for (const float sum : sums) total += static_cast<double>(sum);
    const double expected = x.cast<double>().squaredNorm();
    REQUIRE(std::abs(total - expected) < 1e-6 * expected);
  }
}
