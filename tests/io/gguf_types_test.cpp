#include "qlora/io/gguf_types.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::GgufTypeId;

namespace {

// A block made by hand: the scale 0.5 (half 0x3800), perhaps a minimum of -2 (half 0xc000), code i
// or its fifth bit as told.
std::vector<float> decode(GgufTypeId id, const std::string& bytes, std::size_t count) {
  std::vector<float> out(count);
  qlora::gguf_decode(id, std::as_bytes(std::span(bytes)), out);
  return out;
}

const std::string half("\x00\x38", 2), minus_two("\x00\xc0", 2);

// Codes 0..15 in the low nibbles and 15..0 in the high ones.
std::string nibbles() {
  std::string codes;
  for (int i = 0; i < 16; ++i) codes += static_cast<char>(i | ((15 - i) << 4));
  return codes;
}

}  // namespace

TEST_CASE("Q4_0 is (code - 8) * d, low nibbles first") {
  const auto w = decode(GgufTypeId::q4_0, half + nibbles(), 32);
  for (int i = 0; i < 16; ++i) {
    REQUIRE(w[static_cast<std::size_t>(i)] == 0.5f * static_cast<float>(i - 8));
    REQUIRE(w[static_cast<std::size_t>(16 + i)] == 0.5f * static_cast<float>(15 - i - 8));
  }
}

TEST_CASE("Q4_1 is code * d + m") {
  const auto w = decode(GgufTypeId::q4_1, half + minus_two + nibbles(), 32);
  for (int i = 0; i < 16; ++i)
    REQUIRE(w[static_cast<std::size_t>(i)] == 0.5f * static_cast<float>(i) - 2);
}

TEST_CASE("Q5_0 and Q5_1 take their fifth bits from a word of 32") {
  const std::string high("\x01\x00\x01\x80", 4);  // bits 0, 16 and 31
  const auto a = decode(GgufTypeId::q5_0, half + high + nibbles(), 32);
  REQUIRE(a[0] == 0.5f * (16 - 16));
  REQUIRE(a[1] == 0.5f * (1 - 16));
  REQUIRE(a[16] == 0.5f * (15 + 16 - 16));
  REQUIRE(a[31] == 0.5f * (0 + 16 - 16));
  const auto b = decode(GgufTypeId::q5_1, half + minus_two + high + nibbles(), 32);
  REQUIRE(b[0] == 0.5f * 16 - 2);
  REQUIRE(b[1] == 0.5f * 1 - 2);
}

TEST_CASE("Q8_0 is a signed byte times d; F32, F16 and BF16 are themselves") {
  std::string codes;
  for (int i = 0; i < 32; ++i) codes += static_cast<char>(i * 8 - 128);
  const auto w = decode(GgufTypeId::q8_0, half + codes, 32);
  for (int i = 0; i < 32; ++i)
    REQUIRE(w[static_cast<std::size_t>(i)] == 0.5f * static_cast<float>(i * 8 - 128));
  REQUIRE(decode(GgufTypeId::f16, half + minus_two, 2) == std::vector<float>{0.5f, -2.f});
  REQUIRE(decode(GgufTypeId::bf16, std::string("\x80\x3f\x00\xc0", 4), 2) ==
          std::vector<float>{1.f, -2.f});
  REQUIRE(decode(GgufTypeId::f32, std::string("\x00\x00\x80\x3f", 4), 1) ==
          std::vector<float>{1.f});
}

// ggml_e8m0_to_fp32_half and kvalues_mxfp4.
TEST_CASE("MXFP4 is ggml's for every exponent and code: 255 is 2^127, and no zero is negative") {
  constexpr float doubled[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  for (unsigned exponent = 0; exponent < 256; ++exponent) {
    const auto w = decode(GgufTypeId::mxfp4, static_cast<char>(exponent) + nibbles(), 32);
    const float half = std::ldexp(1.f, static_cast<int>(exponent) - 128);
    std::vector<float> expected;
    for (int i = 0; i < 16; ++i) expected.push_back(doubled[i] * half);
    for (int i = 0; i < 16; ++i) expected.push_back(doubled[15 - i] * half + 0.f);
    expected[8] = 0;
    INFO(exponent);
    REQUIRE(test::same_bits(w.data(), expected.data(), 32));
  }
}

TEST_CASE("unknown types and wrong sizes are refused by name") {
  REQUIRE(test::contains(
      test::message_of<qlora::FormatError>([] { (void)decode(GgufTypeId{99}, "x", 1); }),
      "the type 99 is not supported"));
  REQUIRE(test::contains(
      test::message_of<qlora::FormatError>([] { (void)decode(GgufTypeId::q4_0, "x", 32); }),
      "Q4_0"));
  REQUIRE_THROWS_AS(decode(GgufTypeId::q4_0, std::string(18, 'x'), 31), qlora::FormatError);
}

TEST_CASE("types that are stored and not decoded have a name and a size, found by either") {
  for (const char* name : {"I8", "I16", "I32", "I64", "F64", "IQ2_XXS", "TQ1_0", "Q4_0", "F32"}) {
    const auto layout = qlora::find_gguf_layout(std::string_view(name));
    REQUIRE(layout.has_value());
    REQUIRE(qlora::gguf_type_name(layout->id) == name);
    REQUIRE(qlora::find_gguf_layout(layout->id)->bytes == layout->bytes);
  }
  REQUIRE(!qlora::find_gguf_layout(GgufTypeId{99}));
  REQUIRE(!qlora::find_gguf_layout("Q9"));
  REQUIRE(qlora::gguf_type_name(GgufTypeId{99}) == "99");
  REQUIRE(test::contains(
      test::message_of<qlora::FormatError>([] { (void)decode(GgufTypeId::i32, "1234", 1); }),
      "the type I32 is not supported"));
}
