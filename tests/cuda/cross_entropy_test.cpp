#include "qlora/cuda/cross_entropy.hpp"

#include "cuda/device.hpp"

using qlora::Index;

TEST_CASE("losses and gradients of rows of logits, against sums in double") {
  for (const Index vocabulary : {1, 5, 300, 777}) {
    auto logits = test::normal_matrix(4, vocabulary, 5, 4);
    logits(0, 0) = 60;
    const qlora::RowMatrix<float> start = logits;
    const std::vector<std::int32_t> targets{0, -1, static_cast<std::int32_t>(vocabulary - 1),
                                            static_cast<std::int32_t>(vocabulary / 2)};
    std::vector<float> losses(4, -1);
    for (const bool backward : {false, true}) {
      test::run_kernel(qlora::cuda::CrossEntropyRows{logits.data(), targets.data(), losses.data(),
                                                     4, vocabulary, 0.25f, backward},
                       test::writable(logits), test::readable(targets), std::span<float>(losses));
      if (!backward) REQUIRE(test::same_bits(start, logits));
      for (Index row = 0; row < 4; ++row) {
        const Index target = targets[static_cast<std::size_t>(row)];
        double total = 0;
        for (Index i = 0; i < vocabulary; ++i)
          total += std::exp(static_cast<double>(start(row, i)) - 60);
        const double loss =
            target < 0 ? 0 : std::log(total) + 60 - static_cast<double>(start(row, target));
        REQUIRE(std::abs(static_cast<double>(losses[static_cast<std::size_t>(row)]) - loss) <
                2e-5 * (1 + std::abs(loss)));
        for (Index i = 0; backward && i < vocabulary; ++i) {
          const double p = std::exp(static_cast<double>(start(row, i)) - 60) / total;
          const double gradient = target < 0 ? 0 : 0.25 * (p - (i == target ? 1 : 0));
          REQUIRE(std::abs(static_cast<double>(logits(row, i)) - gradient) < 1e-6);
        }
      }
    }
  }
}

TEST_CASE("a logit that is not a number gives a loss that is none") {
  auto logits = test::normal_matrix(1, 40, 5);
  logits(0, 33) = std::nanf("");
  const std::vector<std::int32_t> targets{2};
  std::vector<float> losses(1);
  test::run_kernel(
      qlora::cuda::CrossEntropyRows{logits.data(), targets.data(), losses.data(), 1, 40, 1, true},
      test::writable(logits), test::readable(targets), std::span<float>(losses));
  REQUIRE(std::isnan(losses[0]));
}
