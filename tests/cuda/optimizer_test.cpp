#include "qlora/cuda/optimizer.hpp"

#include "cuda/device.hpp"
#include "qlora/optim/make_optimizer.hpp"

using qlora::Index;

namespace {

// The largest difference of the parameters over some steps, in learning rates.
template <class Rule, class CpuState, class DeviceState>
double distance(Index rows, Index cols, const typename Rule::Options& options) {
  qlora::Parameter<float> parameter("p", rows, cols);
  parameter.value = test::normal_matrix(rows, cols, 1);
  qlora::RowMatrix<float> found = parameter.value;
  qlora::Optimizer<Rule, CpuState> optimizer(options);
  Rule rule;
  const auto size = static_cast<std::size_t>(rows * cols), blocks = size / 256 + 1;
  constexpr std::size_t states = Rule::states;
  std::vector<float> numbers(states * size), scales(states * blocks);
  std::vector<std::uint8_t> codes(states * size);
  // Fresh codes stand for zero through their scale.
  DeviceState state;
  for (std::size_t k = 0; k < states; ++k) {
    if constexpr (DeviceState::in_codes) {
      state.at[k] = codes.data() + k * size;
      state.scale[k] = scales.data() + k * blocks;
    } else {
      state.at[k] = numbers.data() + k * size;
    }
  }
  for (Index step = 1; step <= 4; ++step) {
    parameter.grad = test::normal_matrix(rows, cols, 100 + static_cast<std::uint64_t>(step));
    const qlora::RowMatrix<float> gradient = 4.f * parameter.grad;
    optimizer.step(qlora::ParameterList<float>{&parameter});
    test::run_kernel(
        qlora::cuda::OptimizerStep<Rule, DeviceState>{rule.template step<float>(options, step),
                                                      found.data(), gradient.data(), rows * cols,
                                                      state, 0.25f},
        test::writable(found), test::numbers(gradient), std::span(numbers), std::span(codes),
        std::span(scales));
  }
  return static_cast<double>((parameter.value - found).cwiseAbs().maxCoeff()) /
         options.learning_rate;
}

}  // namespace

TEST_CASE("every rule takes the CPU's steps with its state in float") {
  using qlora::NumberState, qlora::cuda::FloatState;
  qlora::for_each_rule([&]<class Rule>() {
    INFO(Rule::name);
    typename Rule::Options options;
    options.weight_decay = 0.1;
    options.learning_rate = 1e-2;
    REQUIRE(distance<Rule, NumberState<float>, FloatState>(3, 100, options) < 1e-3);
  });
}

TEST_CASE("every rule that has no exact state takes the CPU's steps with its state in codes") {
  using qlora::Blockwise8bit, qlora::cuda::ByteState;
  // Two numbers whose last bits differ may get neighbouring codes: rarely, and by little. A sign
  // that turns is two learning rates.
  qlora::for_each_rule([&]<class Rule>() {
    if constexpr (!requires { Rule::is_exact; }) {
      INFO(Rule::name);
      typename Rule::Options options;
      options.weight_decay = 0.1;
      options.learning_rate = 1e-2;
      const double most = std::is_same_v<Rule, qlora::LionRule> ? 2.1 : 0.1;
      REQUIRE(distance<Rule, Blockwise8bit, ByteState>(70, 75, options) < most);
    }
  });
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
