#include "qlora/cuda/dropout.hpp"

#include "cuda/device.hpp"
#include "qlora/nn/dropout.hpp"
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
  });
}

TEST_CASE(
    "what is dropped is 0 even where it is not finite, and nothing is dropped without a mask") {
  qlora::RowMatrix<float> x = qlora::RowMatrix<float>::Constant(3, 30, INFINITY), found(3, 30);
  const auto run = [&](qlora::cuda::Dropout dropout) {
    test::run_kernel(qlora::cuda::ApplyDropout{x.data(), found.data(), 3, 30, dropout},
                     test::numbers(x), test::writable(found));
  };
  run({0.5f, 3});
  const auto zeros = (found.array() == 0).count();
  REQUIRE(zeros > 0);
  REQUIRE(zeros + (found.array() == INFINITY).count() == 90);
  run({});
  REQUIRE((found.array() == INFINITY).count() == 90);
}
