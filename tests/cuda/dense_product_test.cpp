#include "qlora/cuda/dense_product.hpp"

#include "cuda/device.hpp"

using qlora::Index;

namespace {

template <class Kernel>
void compare(Index rows, Index cols, Index inner, bool left_turned, bool right_turned) {
  const auto left = test::normal_matrix(left_turned ? inner : rows, left_turned ? rows : inner, 1);
  const auto right =
      test::normal_matrix(right_turned ? cols : inner, right_turned ? inner : cols, 2);
  const auto start = test::normal_matrix(rows, cols, 3);
  for (const bool accumulate : {false, true}) {
    qlora::RowMatrix<float> out = start;
    const auto strided = [](const auto& m, bool turned) {
      return turned ? qlora::cuda::Strided{m.data(), 1, m.cols()}
                    : qlora::cuda::Strided{m.data(), m.cols(), 1};
    };
    test::run_kernel(Kernel{strided(left, left_turned), strided(right, right_turned), out.data(),
                            rows, cols, inner, 0.5f, accumulate},
                     test::numbers(left), test::numbers(right), test::writable(out));
    for (Index r = 0; r < rows; ++r)
      for (Index c = 0; c < cols; ++c) {
        test::Expected expected;
        for (Index k = 0; k < inner; ++k)
          expected.add(0.5 * static_cast<double>(left_turned ? left(k, r) : left(r, k)),
                       static_cast<double>(right_turned ? right(c, k) : right(k, c)));
        if (accumulate) expected.add(1, static_cast<double>(start(r, c)));
        expected.require_near(out(r, c), inner);
      }
  }
}

}  // namespace

TEST_CASE("dense products along either side, of any size, alone or on top of what is there") {
  using Tall = qlora::cuda::DenseProduct<64, 16>;
  using Wide = qlora::cuda::DenseProduct<16, 64>;
  for (const bool left : {false, true})
    for (const bool right : {false, true}) {
      compare<Tall>(70, 16, 75, left, right);
      compare<Tall>(3, 21, 33, left, right);
      compare<Wide>(17, 130, 40, left, right);
      compare<Wide>(1, 1, 1, left, right);
    }
  compare<Tall>(5, 4, 0, false, false);
  compare<Wide>(0, 4, 3, false, false);
}
