#include "qlora/cuda/low_rank.hpp"

#include <vector>

#include "cuda/device.hpp"

using qlora::Index;
using namespace qlora::cuda;

namespace {

// A lane's sums [2][RowTiles][4] by begin_with, where each lane has four columns of its own and all
// have the rows of one tile.
struct Begin {
  static constexpr int threads = 32;
  static constexpr const char* name = "begin";
  LowRank low_rank;
  Index rows, cols;
  float* out;  // [4, 128]

  Index blocks() const { return 1; }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    float sum[2][2][4] = {};
    const auto row_of = [](int j, int other) { return Index{2 * j + other}; };
    const auto col_of = [&](int q) { return Index{4 * thread.lane() + q}; };
    begin_with(thread, low_rank, rows, cols, row_of, col_of, sum);
    for (int j = 0; j < 2; ++j)
      for (int other = 0; other < 2; ++other)
        for (int q = 0; q < 4; ++q)
          thread.store(out + row_of(j, other) * 128 + col_of(q),
                       sum[q / 2][j][2 * (q % 2) + other]);
  }
};

qlora::RowMatrix<float> sums(const LowRank& low_rank, Index rows, Index cols,
                             const qlora::RowMatrix<float>& left,
                             const qlora::RowMatrix<float>& right) {
  qlora::RowMatrix<float> out(4, 128);
  test::run_kernel(Begin{low_rank, rows, cols, out.data()}, test::numbers(left),
                   test::numbers(right), test::writable(out));
  return out;
}

}  // namespace

TEST_CASE("sums begin with s low B^T for the forward product, zeros outside of the output") {
  const auto low = test::normal_matrix(3, 5, 1), b = test::normal_matrix(100, 5, 2);
  const auto out = sums(LowRank::forward(low.data(), b.data(), 5, 0.5f), 3, 100, low, b);
  test::require_close(0.5f * low * b.transpose(), out.topLeftCorner(3, 100));
  REQUIRE((out.bottomRows(1).array() == 0).all());
  REQUIRE((out.rightCols(28).array() == 0).all());
}

TEST_CASE("sums begin with s dlow A for the backward product") {
  const auto dlow = test::normal_matrix(4, 3, 3), a = test::normal_matrix(3, 128, 4);
  const auto out = sums(LowRank::backward(dlow.data(), a.data(), 3, 2.f, 128), 4, 128, dlow, a);
  test::require_close(2.f * dlow * a, out);
}

TEST_CASE("without a rank nothing is read") {
  const qlora::RowMatrix<float> none;
  REQUIRE((sums({}, 4, 128, none, none).array() == 0).all());
}
