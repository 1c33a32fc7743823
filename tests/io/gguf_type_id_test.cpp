#include "qlora/io/gguf_type_id.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <type_traits>

#include "qlora/io/gguf_types.hpp"
#include "support/catch.hpp"

using qlora::GgufTypeId;

// As wide as the number in the file.
static_assert(std::is_same_v<std::underlying_type_t<GgufTypeId>, std::uint32_t>);

TEST_CASE("a type's number in GGUF is its place in ggml's list, and gaps have no name") {
  // ggml.h; "" where a type was taken out again.
  constexpr std::array ggml{"F32",   "F16",   "Q4_0",    "Q4_1",   "",        "",      "Q5_0",
                            "Q5_1",  "Q8_0",  "Q8_1",    "Q2_K",   "Q3_K",    "Q4_K",  "Q5_K",
                            "Q6_K",  "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL",
                            "IQ3_S", "IQ2_S", "IQ4_XS",  "I8",     "I16",     "I32",   "I64",
                            "F64",   "IQ1_M", "BF16",    "",       "",        "",      "TQ1_0",
                            "TQ2_0", "",      "",        "",       "MXFP4"};
  for (std::uint32_t number = 0; number < ggml.size(); ++number) {
    const std::string name = ggml[number];
    INFO(number << ": " << name);
    REQUIRE(qlora::find_gguf_layout(GgufTypeId{number}).has_value() == !name.empty());
    REQUIRE(qlora::gguf_type_name(GgufTypeId{number}) ==
            (name.empty() ? std::to_string(number) : name));
  }
  REQUIRE(!qlora::find_gguf_layout(GgufTypeId{ggml.size()}));
  REQUIRE(GgufTypeId::bf16 == GgufTypeId{30});
  REQUIRE(GgufTypeId::mxfp4 == GgufTypeId{39});
}
