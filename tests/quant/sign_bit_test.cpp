#include "qlora/quant/sign_bit.hpp"

#include <cmath>
#include <vector>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::FloatScale, qlora::Index, qlora::SignBit;

TEST_CASE("a scale comes back with its sign and the inner scale's magnitude") {
  test::law("signs", [](std::uint64_t seed, std::uint8_t count, bool negative) {
    const Index n = count % 40 + 1;
    const qlora::RowMatrixXf x = test::normal_matrix(1, n, seed);
    const std::span<const float> references(x.data(), static_cast<std::size_t>(n));
    const float value = negative ? -0.7f : 0.7f;
    const auto storage = SignBit<FloatScale<float>>::store(references, value);
    const auto view = storage.view();
    for (Index block = 0; block < n; ++block) RC_ASSERT(view(block) == x(0, block) / value);
    RC_ASSERT(storage.size() == n);
    RC_ASSERT(storage.bytes() == 4 * n + (n + 7) / 8);
  });
}

TEST_CASE("double quantization sees magnitudes only, so that signs cost it nothing") {
  using Signed = SignBit<qlora::DoubleQuant<>>;
  const qlora::RowMatrixXf x = test::normal_matrix(1, 700, 3);
  const qlora::RowMatrixXf sizes = x.cwiseAbs();
  const auto with = Signed::store(std::span<const float>(x.data(), 700), 1.f);
  const auto without = qlora::DoubleQuant<>::store(std::span<const float>(sizes.data(), 700), 1.f);
  REQUIRE(with.inner.codes == without.codes);
  REQUIRE(with.inner.offset == without.offset);
  for (Index block = 0; block < 700; ++block)
    REQUIRE(with.view()(block) ==
            (x(0, block) < 0 ? -without.view()(block) : without.view()(block)));
  REQUIRE(Signed::bits_per_scale == qlora::DoubleQuant<>::bits_per_scale + 1);
}
