#include "qlora/cuda/rms_norm.hpp"

#include "cuda/device.hpp"
#include "qlora/nn/rms_norm.hpp"

TEST_CASE("the norm and its gradient are the CPU's") {
  for (const auto& [rows, cols] :
       std::vector<std::pair<int, int>>{{5, 64}, {1, 1}, {9, 75}, {0, 8}}) {
    const auto x = test::normal_matrix(rows, cols, 1), dy = test::normal_matrix(rows, cols, 2);
    const qlora::RmsNorm<> norm{test::normal_matrix(1, cols, 3).row(0).transpose(), 1e-5f};
    qlora::RowMatrix<float> expected(rows, cols), found(rows, cols);
    norm.forward(x, expected);
    const std::span<const float> weight(norm.weight.data(), static_cast<std::size_t>(cols));
    test::run_kernel(
        qlora::cuda::RmsNormForward{x.data(), weight.data(), found.data(), rows, cols, 1e-5f},
        test::numbers(x), weight, test::writable(found));
    test::require_close(expected, found);
    expected = found = test::normal_matrix(rows, cols, 4);
    norm.add_backward(x, dy, expected);
    test::run_kernel(qlora::cuda::RmsNormBackward{x.data(), weight.data(), dy.data(), found.data(),
                                                  rows, cols, 1e-5f},
                     test::numbers(x), weight, test::numbers(dy), test::writable(found));
    test::require_close(expected, found);
  }
}
