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

constexpr GgufTypeId all[] = {GgufTypeId::q4_0, GgufTypeId::q4_1, GgufTypeId::q5_0,
                              GgufTypeId::q5_1, GgufTypeId::q8_0, GgufTypeId::iq4_nl,
                              GgufTypeId::mxfp4};

}  // namespace

TEST_CASE("a block decodes to what the matrix of its format decodes to") {
  int formats = 0;
  for (const GgufTypeId id : all)
    qlora::visit_gguf_format(id, [&]<class F>() {
      ++formats;
      test::law("block", [](std::uint64_t key) {
        std::vector<std::byte> block(qlora::gguf_block_bytes<F>);
        for (std::size_t i = 0; i < block.size(); ++i)
          block[i] = static_cast<std::byte>(qlora::random_bits(key, i));
        // Heads of finite scales.
        if (sizeof(typename qlora::GgufTypeOf<F>::Head) == 1) block[0] &= std::byte{127};
        if (sizeof(typename qlora::GgufTypeOf<F>::Head) >= 2) block[1] &= std::byte{0xbb};
        if (sizeof(typename qlora::GgufTypeOf<F>::Head) == 4) block[3] &= std::byte{0xbb};
        std::vector<float> found(32);
        qlora::decode_gguf_block<F>(block.data(), found.data());
        const auto w = qlora::from_gguf_blocks<F>(block, 1, 32);
        const qlora::RowMatrixXf expected = qlora::dequantize(w);
        for (Index i = 0; i < 32; ++i)
          RC_ASSERT(found[static_cast<std::size_t>(i)] == expected(0, i));
        RC_ASSERT(qlora::to_gguf_blocks(w) == block);
      });
    });
  REQUIRE(formats == 7);
}

TEST_CASE("codes are put where they are read from") {
  for (const GgufTypeId id : all)
    qlora::visit_gguf_format(id, [&]<class F>() {
      std::vector<std::byte> codes(32);
      for (int i = 0; i < 32; ++i)
        qlora::put_gguf_code<F>(static_cast<std::uint8_t>((i * 7) % (1 << F::code_bits)),
                                codes.data(), i);
      for (int i = 0; i < 32; ++i)
        REQUIRE(qlora::gguf_code<F>(codes.data(), i) == (i * 7) % (1 << F::code_bits));
    });
}

TEST_CASE("a type that is no format of this library is visited by nobody") {
  for (const GgufTypeId id : {GgufTypeId::f32, GgufTypeId::q4_k, GgufTypeId{99}})
    REQUIRE_FALSE(qlora::visit_gguf_format(id, []<class F>() { FAIL("visited"); }));
  STATIC_REQUIRE(qlora::gguf_block_bytes<qlora::formats::q4_0> == 18);
  STATIC_REQUIRE(qlora::gguf_block_bytes<qlora::formats::q4_1> == 20);
  STATIC_REQUIRE(qlora::gguf_block_bytes<qlora::formats::q5_0> == 22);
  STATIC_REQUIRE(qlora::gguf_block_bytes<qlora::formats::q5_1> == 24);
  STATIC_REQUIRE(qlora::gguf_block_bytes<qlora::formats::q8_0> == 34);
  STATIC_REQUIRE(qlora::gguf_block_bytes<qlora::formats::mxfp4> == 17);
}
