#include "qlora/quant/affine_scale.hpp"

#include <cmath>
#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::AffineScale, qlora::Index, qlora::Range;

TEST_CASE("a block's step and minimum are stored, each rounded to its type") {
  const std::vector<Range> ranges{{-1.f, 2.f}, {0.1f, 0.1f}};
  const auto storage = AffineScale<qlora::float16>::store(ranges, 15.f);
  const auto view = storage.view();
  REQUIRE(view(0).scale == static_cast<float>(qlora::float16(3.f / 15)));
  REQUIRE(view(0).offset == -1);
  REQUIRE(view(1).scale == 0);
  REQUIRE(view(1).offset == static_cast<float>(qlora::float16(0.1f)));
  REQUIRE(storage.size() == 2);
  REQUIRE(storage.bytes() == 8);
  REQUIRE(AffineScale<qlora::float16>::bits_per_scale == 32);
}

TEST_CASE("a step or a minimum that float16 can't hold is refused, by what it is") {
  using Half = AffineScale<qlora::float16>;
  const auto refusal = [](Range range) {
    return test::message_of<qlora::NumericError>([&] {
      (void)Half::store(std::vector<Range>{{0, 1}, range}, 1.f);
    });
  };
  REQUIRE(test::contains(refusal({0.f, 1e6f}), "block 1: expected a scale"));
  REQUIRE(test::contains(refusal({-1e6f, -1e6f}), "block 1: expected a minimum"));
}

TEST_CASE("weights far from zero come back within half a step of a float minimum") {
  using Format = qlora::BlockFormat<qlora::GgmlUInt4, 32, AffineScale<float>>;
  test::law("affine", [](std::uint64_t seed, std::int8_t shift) {
    const qlora::RowMatrixXf x =
        test::normal_matrix(1, 96, seed).array() + static_cast<float>(shift);
    const qlora::RowMatrixXf back = qlora::dequantize(qlora::quantize<Format>(x));
    for (Index begin = 0; begin < 96; begin += 32) {
      const auto block = x.row(0).segment(begin, 32);
      const float step = (block.maxCoeff() - block.minCoeff()) / 15;
      const float rounding = 1e-6f * block.cwiseAbs().maxCoeff();
      RC_ASSERT((back.row(0).segment(begin, 32) - block).cwiseAbs().maxCoeff() <=
                step / 2 + 4 * rounding);
    }
  });
}
