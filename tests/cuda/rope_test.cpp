#include "qlora/cuda/rope.hpp"

#include "cuda/device.hpp"
#include "qlora/nn/rope.hpp"

using qlora::Index;

TEST_CASE("rotation by the CPU's tables, there and back") {
  const qlora::Rope<> rope(16, 10000, 40);
  const std::vector<Index> positions{0, 39, 7, 7, 21};
  const auto start = test::normal_matrix(5, 48, 1);
  for (const float direction : {1.f, -1.f}) {
    qlora::RowMatrix<float> expected = start, found = start;
    direction > 0 ? rope.forward(expected, positions) : rope.backward(expected, positions);
    test::run_kernel(qlora::cuda::Rope{found.data(), rope.cosine().data(), rope.sine().data(),
                                       positions.data(), 5, 3, 8, direction},
                     test::writable(found), test::numbers(rope.cosine()),
                     test::numbers(rope.sine()), test::readable(positions));
    test::require_close(expected, found, 1e-6f);
  }
}
