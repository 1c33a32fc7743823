#include "qlora/cuda/dropout.hpp"

#include "cuda/device.hpp"
#include "qlora/nn/lora.hpp"
#include "support/law.hpp"

using qlora::Index;

TEST_CASE("dropout drops what the CPU drops, to the bit") {
  test::law("dropout", [](std::uint8_t rows, std::uint8_t cols, std::uint64_t key) {
    const auto x = test::normal_matrix(rows % 9, cols % 50, key);
    const float p = static_cast<float>(key % 7) / 8;
    qlora::RowMatrix<float> expected, found(x.rows(), x.cols());
    qlora::apply_dropout<float>(x, p, key, expected);
    test::run_kernel(
        qlora::cuda::ApplyDropout{x.data(), found.data(), x.rows(), x.cols(), {p, key}},
        std::span<const float>(x.data(), static_cast<std::size_t>(x.size())),
        std::span<float>(found.data(), static_cast<std::size_t>(x.size())));
    REQUIRE(test::same_bits(expected, found));
    const qlora::cuda::Dropout dropout(p, key);
    for (Index row = 0; row < x.rows(); ++row)
      for (Index col = 0; col < x.cols(); ++col) {
        const float factor = dropout.acts() ? dropout.factor(dropout.stream(row), col) : 1.f;
        REQUIRE((expected(row, col) == 0) == (factor == 0 || x(row, col) == 0));
      }
  });
}
