#include "qlora/codebook/runtime_table.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

template <class Code>
std::vector<float> values_of() {
  return {Code::values.begin(), Code::values.end()};
}

// A user's own: every row counts in steps of its own, three bits, values in no order.
struct RowSteps {
  static constexpr int bits = 3;
  static constexpr bool by_row = true;

  struct View {
    const float* step = nullptr;
    float operator()(std::uint8_t code, Index row) const {
      // Rounded apart, so that the bits are the same wherever the compiler puts this.
      return qlora::rounded_sum(qlora::rounded_product(step[row], static_cast<float>(code ^ 5)),
                                -1.f);
    }
    std::uint8_t encode(float x, Index row) const {
      const float place = std::round((x + 1) / step[row]);
      return static_cast<std::uint8_t>(static_cast<int>(std::min(7.f, std::max(0.f, place))) ^ 5);
    }
  };
  struct Storage {
    std::vector<float> step;
    View view() const { return {step.data()}; }
    Index bytes() const { return static_cast<Index>(step.size() * sizeof(float)); }
    bool fits(Index rows) const { return static_cast<Index>(step.size()) == rows; }
    template <class Archive>
    void describe(Archive& archive, Index rows) {
      archive.array("quant_map", step, rows);
    }
  };
};
static_assert(qlora::RuntimeCodebook<RowSteps> && !qlora::LearnedCodebook<RowSteps>);
using Own = qlora::BlockFormat<RowSteps, 16, qlora::DoubleQuant<>>;

}  // namespace

TEST_CASE("with a codebook's values the codes and weights are the codebook's") {
  const RowMatrixXf x = test::normal_matrix(5, 77, 1);
  const auto same = [&]<class Code, int Bits, class Scale, class N>() {
    using Fixed = qlora::BlockFormat<Code, 32, Scale, N>;
    using Given = qlora::BlockFormat<qlora::RuntimeTable<Bits>, 32, Scale, N>;
    const auto w = qlora::quantize<Fixed>(x);
    const auto v = qlora::quantize<Given>(x, values_of<Code>());
    // A number beyond the last value may get the code of one of its repetitions.
    if (Code::values.size() == 1 << Bits) REQUIRE(std::ranges::equal(w.codes(), v.codes()));
    REQUIRE(test::same_bits(qlora::dequantize(w), qlora::dequantize(v)));
  };
  using qlora::AbsoluteMaximum, qlora::SignedAbsoluteMaximum, qlora::FloatScale;
  same.operator()<qlora::NF4, 4, FloatScale<float>, AbsoluteMaximum>();
  same.operator()<qlora::NF4, 4, qlora::DoubleQuant<>, AbsoluteMaximum>();
  same.operator()<qlora::NF3, 3, FloatScale<qlora::float16>, AbsoluteMaximum>();
  same.operator()<qlora::NF8, 8, FloatScale<float>, AbsoluteMaximum>();
  same.operator()<qlora::Int<4>, 4, FloatScale<float>, AbsoluteMaximum>();
  same.operator()<qlora::Int<8>, 8, qlora::TwoLevelScale<>, AbsoluteMaximum>();
  same.operator()<qlora::IQ4NL, 4, FloatScale<qlora::float16>, SignedAbsoluteMaximum>();
}

TEST_CASE("a table of fewer values than codes, outliers beside it, and a short row") {
  using F = qlora::OutlierPreserving<
      qlora::BlockFormat<qlora::RuntimeTable<2>, 8, qlora::FloatScale<float>>, std::ratio<1, 20>>;
  RowMatrixXf x = RowMatrixXf::Zero(3, 13);
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i % 3) - 1;
  x(1, 4) = 50.f;
  const auto w = qlora::quantize<F>(x, std::vector<float>{-2.f, 0.f, 2.f});
  REQUIRE(w.rest().codebook().values == std::vector<float>{-2.f, 0.f, 2.f, 2.f});
  REQUIRE(test::same_bits(qlora::dequantize(w), x));
}

TEST_CASE("a table is checked where it is given") {
  using Storage = qlora::RuntimeTable<2>::Storage;
  const auto refused = [](std::vector<float> values) {
    return test::message_of<qlora::FormatError>([&] { (void)Storage(values); });
  };
  REQUIRE(test::contains(refused({1.f}), "expected 2 to 4 values, found 1"));
  REQUIRE(test::contains(refused({1, 2, 3, 4, 5}), "found 5"));
  REQUIRE(test::contains(refused({-1.f, 2.f, 1.f}), "value 2: expected at least 2"));
  REQUIRE(test::contains(refused({-1.f, std::numeric_limits<float>::quiet_NaN()}), "value 1"));
  REQUIRE(test::contains(refused({0.f, 0.f}), "not zero"));
  using F = qlora::BlockFormat<qlora::RuntimeTable<2>, 8, qlora::FloatScale<float>>;
  REQUIRE_THROWS_AS(qlora::quantize<F>(RowMatrixXf::Ones(1, 8), Storage()), qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::QuantizedMatrix<F>({0, 0}, {{1.f}}, 1, 8), qlora::ShapeError);
}

TEST_CASE("a learned codebook takes given values too, and refuses unsorted ones") {
  const RowMatrixXf x = test::normal_matrix(8, 64, 4);
  const auto learned = qlora::quantize<qlora::formats::learned4>(x);
  const auto again = qlora::quantize<qlora::formats::learned4>(x, learned.codebook());
  REQUIRE(learned.codes() == again.codes());
  auto table = learned.codebook();
  std::swap(table.values[2], table.values[9]);
  REQUIRE_THROWS_AS(qlora::quantize<qlora::formats::learned4>(x, table), qlora::FormatError);
  table.values.pop_back();
  REQUIRE_THROWS_AS(qlora::quantize<qlora::formats::learned4>(x, table), qlora::ShapeError);
}

TEST_CASE("a run-time codebook of the user's own: codes, decoding, products") {
  const Index rows = 6, cols = 50;
  const RowMatrixXf x = test::normal_matrix(rows, cols, 5);
  RowSteps::Storage steps;
  for (Index row = 0; row < rows; ++row)
    steps.step.push_back(0.2f + 0.02f * static_cast<float>(row));
  const auto w = qlora::quantize<Own>(x, steps);
  const auto view = w.view();
  const RowMatrixXf back = qlora::dequantize(w);
  for (Index row = 0; row < rows; ++row)
    for (Index col = 0; col < cols; ++col) {
      REQUIRE(view(row, col) == back(row, col));
      // No code of the row is nearer.
      const float scale = w.scale().view()((row * cols + col) / 16);
      for (int code = 0; code < 8; ++code) {
        const float other = steps.view()(static_cast<std::uint8_t>(code), row) * scale;
        REQUIRE(std::abs(back(row, col) - x(row, col)) <=
                std::abs(other - x(row, col)) + 0.02f * std::abs(scale));
      }
    }
  REQUIRE(w.bytes() == static_cast<Index>(w.codes().size()) + w.scale().bytes() + rows * 4);
  const RowMatrixXf input = test::normal_matrix(9, cols, 6);
  RowMatrixXf y(9, rows), dx(9, cols);
  qlora::forward_product<float>(input, view, y);
  qlora::backward_product<float>(y, view, dx);
  REQUIRE((y - input * back.transpose()).norm() <= 1e-4f * y.norm());
  REQUIRE((dx - y * back).norm() <= 1e-4f * dx.norm());
  steps.step.pop_back();
  REQUIRE_THROWS_AS(qlora::quantize<Own>(x, steps), qlora::ShapeError);
}
