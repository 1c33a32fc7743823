#include "qlora/cuda/gemm.hpp"

#include "cuda/device.hpp"
#include "qlora/nn/lora.hpp"
#include "support/formats.hpp"
#include "support/law.hpp"

using qlora::Index;
using qlora::cuda::Reads;

namespace {

struct Case {
  Index tokens, rows, cols;
  std::size_t offset = 0;
  int rank = 0;
  bool accumulate = false;
  float dropout = 0;
};

// Both products of one matrix against sums in double of the rounded factors.
template <class F, class X, class Y>
void compare(const Case& c) {
  const auto w = qlora::quantize<F>(test::normal_matrix(c.rows, c.cols, 3));
  const test::PlacedMatrix<F> there(w, c.offset);
  const auto weight = [&](Index r, Index col) { return test::factor<X>(there.view(r, col)); };
  const auto product = [&](Index in, Index out, auto tile, auto entry) {
    auto x = test::placed<X>(test::normal_matrix(c.tokens, in, 5), c.offset);
    test::Placed<Y> y(static_cast<std::size_t>(c.tokens * out), c.offset);
    for (Index i = 0; i < c.tokens * out; ++i) y.data()[i] = static_cast<Y>(1.f);
    const auto left = test::normal_matrix(c.tokens, c.rank, 8);
    const auto right = test::normal_matrix(c.rank, out, 9);
    auto kernel = tile(x.data(), qlora::cuda::Output<Y>{y.data(), c.tokens, out, c.accumulate});
    kernel.low_rank = {left.data(), right.data(), c.rank, 0.25f, out, 1};
    qlora::RowMatrix<float> mask;
    qlora::apply_dropout<float>(qlora::RowMatrix<float>::Ones(c.tokens, out), c.dropout, 77, mask);
    const bool masked = c.dropout > 0;
    kernel.dropout = {c.dropout, 77};
    test::run_kernel(kernel, there.codes.span(), std::as_const(x).span(), y.span(),
                     test::numbers(left), test::numbers(right));
    for (Index t = 0; t < c.tokens; ++t)
      for (Index o = 0; o < out; ++o) {
        test::Expected expected;
        for (Index k = 0; k < in; ++k)
          expected.add(test::factor<X>(static_cast<float>(x.data()[t * in + k])), entry(o, k));
        for (Index k = 0; k < c.rank; ++k)
          expected.add(0.25 * static_cast<double>(left(t, k)) *
                           (masked ? static_cast<double>(mask(t, o)) : 1.0),
                       static_cast<double>(right(k, o)));
        if (c.accumulate) expected.add(1, 1);
        expected.require_near(y.data()[t * out + o], in + c.rank);
      }
  };
  const auto both = [&]<Reads How>() {
    product(
        c.cols, c.rows,
        [&](const X* x, const qlora::cuda::Output<Y>& out) {
          return qlora::cuda::ForwardProduct<F, X, Y, 32, 64, How>{there.view, x, out};
        },
        [&](Index o, Index k) { return weight(o, k); });
    product(
        c.rows, c.cols,
        [&](const X* x, const qlora::cuda::Output<Y>& out) {
          return qlora::cuda::BackwardProduct<F, X, Y, 32, 64, How>{there.view, x, out};
        },
        [&](Index o, Index k) { return weight(k, o); });
  };
  both.template operator()<Reads::weights>();
  if constexpr (qlora::cuda::has_words<F>) {
    if (qlora::cuda::reads_by_words(there.view) && c.offset == 0 && c.rows % 8 == 0)
      both.template operator()<Reads::words>();
  }
}

}  // namespace

TEMPLATE_TEST_CASE("both products of packed weights, every format", "", QLORA_TEST_FORMATS,
                   qlora::formats::learned4, qlora::formats::nf3, qlora::formats::nf2) {
  compare<TestType, qlora::bfloat16, float>({.tokens = 5, .rows = 72, .cols = 64});
  compare<TestType, float, float>({.tokens = 3, .rows = 7, .cols = 43, .offset = 1});
}

TEST_CASE("products of random shapes, with and without words") {
  test::law("products of packed weights",
            [](std::uint8_t tokens, std::uint8_t rows, std::uint8_t cols, std::uint8_t more) {
              const bool by_words = more % 2 == 0;
              compare<qlora::formats::nf4_dq, qlora::bfloat16, float>(
                  {.tokens = tokens % 40,
                   .rows = by_words ? rows % 20 * 8 : rows % 90,
                   .cols = by_words ? cols % 4 * 64 : cols % 150,
                   .offset = by_words ? 0u : more % 3u,
                   .rank = more % 4,
                   .accumulate = more % 8 > 3});
            });
}

TEST_CASE("tiles, types, LoRA's part, dropout on it, and sums on top of what is there") {
  using qlora::formats::nf4_dq;
  compare<nf4_dq, qlora::bfloat16, qlora::bfloat16>(
      {.tokens = 40, .rows = 72, .cols = 128, .rank = 5, .accumulate = true});
  compare<nf4_dq, qlora::float16, qlora::float16>(
      {.tokens = 33, .rows = 64, .cols = 192, .rank = 2});
  compare<nf4_dq, float, float>(
      {.tokens = 7, .rows = 136, .cols = 64, .rank = 3, .accumulate = true, .dropout = 0.3f});
  compare<nf4_dq, float, float>({.tokens = 35, .rows = 13, .cols = 75, .rank = 3, .dropout = 0.5f});
  compare<nf4_dq, float, float>({.tokens = 1, .rows = 1, .cols = 1});
  compare<nf4_dq, float, float>({.tokens = 0, .rows = 8, .cols = 64});
}

TEST_CASE("the large tiles give what the small ones do") {
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(256, 128, 3));
  auto x = test::placed<qlora::bfloat16>(test::normal_matrix(130, 128, 5));
  auto dy = test::placed<qlora::bfloat16>(test::normal_matrix(130, 256, 6));
  const auto run = [&](auto kernel, auto& in) {
    test::Placed<float> y(static_cast<std::size_t>(kernel.out.rows * kernel.out.cols), 0);
    kernel.out.y = y.data();
    kernel.x = in.data();
    kernel.w = w.view();
    test::run_kernel(kernel, std::span<const std::uint8_t>(w.codes()), std::as_const(in).span(),
                     y.span());
    return y.numbers;
  };
  using namespace qlora::cuda;
  using F = qlora::formats::nf4_dq;
  using B = qlora::bfloat16;
  const Output<float> forward{nullptr, 130, 256}, backward{nullptr, 130, 128};
  // Every number is summed in the same order whatever the tile.
  REQUIRE(run(ForwardProduct<F, B, float, 128, 128, Reads::words>{{}, nullptr, forward}, x) ==
          run(ForwardProduct<F, B, float, 32, 64, Reads::words>{{}, nullptr, forward}, x));
  REQUIRE(run(BackwardProduct<F, B, float, 128, 128, Reads::words>{{}, nullptr, backward}, dy) ==
          run(BackwardProduct<F, B, float, 32, 64, Reads::words>{{}, nullptr, backward}, dy));
}
