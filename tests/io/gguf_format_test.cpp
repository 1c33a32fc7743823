#include "qlora/io/gguf_format.hpp"

#include <cstring>
#include <string>
#include <vector>

#include "qlora/io/gguf_blocks.hpp"
#include "qlora/quant/dequantize.hpp"
#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

using qlora::GgufTypeId, qlora::Index;

namespace {

constexpr GgufTypeId all[] = {
    GgufTypeId::q4_0,   GgufTypeId::q4_1,   GgufTypeId::q5_0, GgufTypeId::q5_1, GgufTypeId::q8_0,
    GgufTypeId::q2_k,   GgufTypeId::q3_k,   GgufTypeId::q4_k, GgufTypeId::q5_k, GgufTypeId::q6_k,
    GgufTypeId::iq4_xs, GgufTypeId::iq4_nl, GgufTypeId::mxfp4};

// A block of random bits whose scales are finite.
template <class F>
std::vector<std::byte> random_block(std::uint64_t key) {
  std::vector<std::byte> block(qlora::GgufTypeOf<F>::bytes);
  for (std::size_t i = 0; i < block.size(); ++i)
    block[i] = static_cast<std::byte>(qlora::random_bits(key, i));
  const auto set_half = [&](std::size_t at) { block[at + 1] &= std::byte{0xbb}; };
  switch (qlora::GgufTypeOf<F>::id) {
    case GgufTypeId::mxfp4:
      block[0] &= std::byte{127};
      break;
    case GgufTypeId::q2_k:
      set_half(80), set_half(82);
      break;
    case GgufTypeId::q3_k:
      set_half(108);
      break;
    case GgufTypeId::q6_k:
      set_half(208);
      break;
    default:
      set_half(0), set_half(2);
  }
  return block;
}

}  // namespace

TEST_CASE("a block decodes to what the matrix of its format decodes to, and comes back") {
  int formats = 0;
  for (const GgufTypeId id : all)
    qlora::visit_gguf_format(id, [&]<class F>() {
      ++formats;
      test::law("block", [](std::uint64_t key) {
        constexpr Index weights = qlora::GgufTypeOf<F>::weights;
        const auto block = random_block<F>(key);
        std::vector<float> found(weights);
        qlora::decode_gguf_block<F>(block.data(), found.data());
        const auto w = qlora::from_gguf_blocks<F>(block, 1, weights);
        const qlora::RowMatrixXf expected = qlora::dequantize(w);
        for (Index i = 0; i < weights; ++i)
          RC_ASSERT(found[static_cast<std::size_t>(i)] == expected(0, i));
        RC_ASSERT(qlora::to_gguf_blocks(w) == block);
      });
    });
  REQUIRE(formats == 13);
}

TEST_CASE("codes are put where they are read from") {
  for (const GgufTypeId id : all)
    qlora::visit_gguf_format(id, [&]<class F>() {
      using Type = qlora::GgufTypeOf<F>;
      std::vector<std::byte> block(Type::bytes);
      const auto code = [](int i) { return (i * 7 + i / 32) % (1 << F::code_bits); };
      for (int i = 0; i < Type::weights; ++i)
        Type::put_code(block.data(), i, static_cast<std::uint8_t>(code(i)));
      for (int i = 0; i < Type::weights; ++i) REQUIRE(Type::code(block.data(), i) == code(i));
    });
}

TEST_CASE("a type that is no format of this library is visited by nobody") {
  for (const GgufTypeId id : {GgufTypeId::f32, GgufTypeId::q8_k, GgufTypeId{99}})
    REQUIRE_FALSE(qlora::visit_gguf_format(id, []<class F>() { FAIL("visited"); }));
  STATIC_REQUIRE(qlora::GgufTypeOf<qlora::formats::q4_0>::bytes == 18);
  STATIC_REQUIRE(qlora::GgufTypeOf<qlora::formats::q4_1>::bytes == 20);
  STATIC_REQUIRE(qlora::GgufTypeOf<qlora::formats::q5_0>::bytes == 22);
  STATIC_REQUIRE(qlora::GgufTypeOf<qlora::formats::q5_1>::bytes == 24);
  STATIC_REQUIRE(qlora::GgufTypeOf<qlora::formats::q8_0>::bytes == 34);
  STATIC_REQUIRE(qlora::GgufTypeOf<qlora::formats::mxfp4>::bytes == 17);
}
