#include "qlora/io/gguf_k_types.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/guarded.hpp"
#include "support/law.hpp"
#include "support/numbers.hpp"

namespace {

namespace io = qlora::io_detail;

// A type's decoder, the size of its blocks and where their halves stand.
struct KType {
  std::string name;
  void (*decode)(const std::byte*, float*);
  std::size_t bytes;
  std::vector<std::size_t> halves;
};
const std::vector<KType> all{{"Q2_K", io::decode_q2_k, 84, {80, 82}},
                             {"Q3_K", io::decode_q3_k, 110, {108}},
                             {"Q4_K", io::decode_q4_k, 144, {0, 2}},
                             {"Q5_K", io::decode_q5_k, 176, {0, 2}},
                             {"Q6_K", io::decode_q6_k, 210, {208}}};

// A block of equal bytes but for its halves, which are 1.
std::vector<std::byte> block_of(const KType& type, int byte) {
  std::vector<std::byte> block(type.bytes, static_cast<std::byte>(byte));
  for (const std::size_t at : type.halves) {
    block[at] = std::byte{0x00};
    block[at + 1] = std::byte{0x3c};
  }
  return block;
}

}  // namespace

TEST_CASE("scales and codes of K types reach the ends of their ranges") {
  // All bits set, and none: scale * code - minimum.
  const std::array ends{std::array{15.f * 3 - 15, 0.f}, std::array{(63.f - 32) * 3, -32.f * -4},
                        std::array{63.f * 15 - 63, 0.f}, std::array{63.f * 31 - 63, 0.f},
                        std::array{-1.f * (63 - 32), 0.f}};
  for (std::size_t i = 0; i < all.size(); ++i)
    for (const bool set : {true, false}) {
      std::vector<float> out(256);
      all[i].decode(block_of(all[i], set ? 255 : 0).data(), out.data());
      INFO(all[i].name << (set ? ", all bits set" : ", no bit set"));
      for (const float weight : out) REQUIRE(weight == ends[i][set ? 0 : 1]);
    }
}

TEST_CASE(
    "a block of a K type may lie anywhere, and nothing beside it or its 256 weights is touched") {
  for (const KType& type : all) {
    std::vector<std::byte> block = block_of(type, 0);
    for (std::size_t i = 0; i < block.size(); ++i)
      if (std::find(type.halves.begin(), type.halves.end(), i / 2 * 2) == type.halves.end())
        block[i] = static_cast<std::byte>(i * 37 + 11);
    const test::Guarded<std::byte> at_the_end(block.data(), block.size());
    const test::Guarded<float> expected(256);
    type.decode(at_the_end.data(), expected.data());
    std::vector<std::byte> odd(block.size() + 1);
    std::memcpy(odd.data() + 1, block.data(), block.size());
    std::vector<float> out(257, 7.f);
    type.decode(odd.data() + 1, out.data());
    INFO(type.name);
    REQUIRE(test::same_bits(out.data(), expected.data(), 256));
    REQUIRE(out[256] == 7.f);
    REQUIRE(std::count(out.begin(), out.end(), out[0]) < 100);
  }
}

TEST_CASE("a weight's product and difference are rounded one after the other") {
  // 3 (1 + 2^-23) lies half-way between two floats: 3 + 2^-21 is the even one.
  volatile float scale = 1 + 0x1p-23f, minimum = 3;
  REQUIRE(io::k_weight(scale, 3, minimum) == 0x1p-21f);
}

TEST_CASE("scales and minima of 6 bits come back from the 12 bytes that ggml packs them in") {
  test::law("scales", [](const std::array<std::uint8_t, 16>& drawn) {
    std::array<std::byte, 12> packed{};
    for (std::size_t j = 0; j < 8; ++j) {
      const unsigned scale = drawn[j] % 64u, minimum = drawn[8 + j] % 64u;
      if (j < 4) {
        packed[j] |= static_cast<std::byte>(scale);
        packed[j + 4] |= static_cast<std::byte>(minimum);
      } else {
        packed[j + 4] = static_cast<std::byte>((scale & 15u) | (minimum & 15u) << 4);
        packed[j - 4] |= static_cast<std::byte>(scale >> 4 << 6);
        packed[j] |= static_cast<std::byte>(minimum >> 4 << 6);
      }
    }
    for (int part = 0; part < 8; ++part) {
      unsigned scale = 0, minimum = 0;
      io::k_scale_and_minimum(packed.data(), part, scale, minimum);
      RC_ASSERT(scale == drawn[static_cast<std::size_t>(part)] % 64u);
      RC_ASSERT(minimum == drawn[static_cast<std::size_t>(8 + part)] % 64u);
    }
  });
}
