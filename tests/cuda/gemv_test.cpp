#include "qlora/cuda/gemv.hpp"

#include "cuda/device.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"

using qlora::Index;
using qlora::cuda::Reads;

namespace {

template <class F, class X, class Y, int Batch>
void compare(Index rows, Index cols, std::size_t offset, bool with_low_rank) {
  const auto w = qlora::quantize<F>(test::normal_matrix(rows, cols, rows * 977u + cols));
  auto x = test::placed<X>(test::normal_matrix(Batch, cols, 7), offset);
  test::Placed<Y> y(static_cast<std::size_t>(Batch * rows), offset);
  const int rank = with_low_rank ? 5 : 0;
  const auto low = test::normal_matrix(Batch, rank, 11), b = test::normal_matrix(rows, rank, 12);
  const auto low_rank = qlora::cuda::LowRank::forward(low.data(), b.data(), rank, 0.5f);
  const std::span<const float> lows(low.data(), static_cast<std::size_t>(low.size()));
  const std::span<const float> bs(b.data(), static_cast<std::size_t>(b.size()));
  const auto run = [&](const auto& view, std::span<const std::uint8_t> codes, auto kernel) {
    kernel.low_rank = low_rank;
    test::run_kernel(kernel, codes, std::as_const(x).span(), y.span(), lows, bs);
    for (Index r = 0; r < rows; ++r)
      for (Index k = 0; k < Batch; ++k) {
        test::Expected expected;
        for (Index c = 0; c < cols; ++c)
          expected.add(static_cast<double>(view(r, c)),
                       static_cast<double>(static_cast<float>(x.data()[k * cols + c])));
        for (int i = 0; i < rank; ++i)
          expected.add(0.5 * static_cast<double>(low(k, i)), static_cast<double>(b(r, i)));
        expected.require_near(y.data()[k * rows + r], cols + rank);
      }
  };
  if (rows == 0) return;
  if constexpr (requires { w.codes(); }) {
    const test::PlacedMatrix<F> there(w, offset);
    const bool by_words = qlora::cuda::reads_by_words(there.view) && offset * sizeof(X) % 16 == 0;
    if constexpr (qlora::cuda::has_words<F>) {
      if (by_words)
        run(there.view, there.codes.span(),
            qlora::cuda::Gemv<F, X, Y, Batch, Reads::words>{there.view, x.data(), y.data()});
    }
    run(there.view, there.codes.span(),
        qlora::cuda::Gemv<F, X, Y, Batch, Reads::weights>{there.view, x.data(), y.data()});
  } else {
    run(w.view(), w.rest().codes(),
        qlora::cuda::Gemv<F, X, Y, Batch, Reads::weights>{w.view(), x.data(), y.data()});
  }
}

}  // namespace

TEMPLATE_TEST_CASE("a few rows times packed weights, every format, by words and one by one", "",
                   QLORA_TEST_FORMATS, qlora::formats::learned4, qlora::formats::nf3,
                   qlora::formats::nf2, qlora::formats::bof4_s_opq) {
  compare<TestType, qlora::bfloat16, float, 1>(9, 64, 0, false);
  compare<TestType, qlora::bfloat16, qlora::bfloat16, 3>(2, 1088, 0, true);
  compare<TestType, float, float, 2>(5, 192, 0, true);
  compare<TestType, qlora::float16, qlora::float16, 1>(3, 77, 3, false);
}

TEST_CASE("rows and columns at random") {
  test::law("gemv", [](std::uint8_t rows, std::uint16_t cols, std::uint8_t more) {
    const bool by_words = more % 2 == 0;
    compare<qlora::formats::nf4_dq, qlora::bfloat16, float, 4>(
        rows % 20, by_words ? cols % 30 * 64 : cols % 300, by_words ? 0 : more % 3, more % 4 == 3);
  });
}

TEST_CASE("every batch size, one row, no row") {
  compare<qlora::formats::nf4_dq, qlora::bfloat16, float, 4>(3, 128, 0, true);
  compare<qlora::formats::nf4_dq, qlora::bfloat16, float, 8>(1, 64, 0, false);
  compare<qlora::formats::nf4_dq, float, float, 8>(4, 1, 0, false);
  compare<qlora::formats::nf4_dq, float, float, 5>(0, 64, 0, false);
}
