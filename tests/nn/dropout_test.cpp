#include "qlora/nn/dropout.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"
#include "support/threads.hpp"

using qlora::Index;

TEST_CASE("a matrix is dropped element by element as its mask says") {
  test::law("dropout", [](std::uint8_t rows, std::uint8_t cols, std::uint64_t key) {
    const auto x = test::normal_matrix(rows % 9, cols % 50, key);
    const float p = static_cast<float>(key % 7) / 8;
    const qlora::DropoutMask<float> mask(p, key);
    qlora::RowMatrixXf out;
    qlora::apply_dropout<float>(x, p, key, out);
    RC_ASSERT(out.rows() == x.rows() && out.cols() == x.cols());
    for (Index row = 0; row < x.rows(); ++row)
      for (Index col = 0; col < x.cols(); ++col)
        RC_ASSERT(out(row, col) == mask.apply(x(row, col), mask.word(mask.stream(row), col)));
  });
}

TEST_CASE("the number of threads does not choose what is dropped") {
  const auto x = test::normal_matrix(100, 33, 1);
  const auto [one, four] = test::with_one_and_four_threads([&] {
    qlora::RowMatrixXf out;
    qlora::apply_dropout<float>(x, 0.3f, 5, out);
    return out;
  });
  REQUIRE(test::same_bits(one, four));
}
