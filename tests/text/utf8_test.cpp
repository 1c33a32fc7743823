#include "qlora/text/utf8.hpp"

#include "support/golden.hpp"
#include "support/law.hpp"

TEST_CASE("invalid bytes become U+FFFD as in Python's errors='replace'") {
  const auto cases = test::golden("tokenizer.json")["invalid_bytes"];
  REQUIRE(cases.size() > 60);
  for (const auto& each : cases) {
    std::string bytes;
    for (const auto& byte : each["bytes"]) bytes += static_cast<char>(byte.get<int>());
    REQUIRE(qlora::repair_utf8(bytes) == each["text"].get<std::string>());
  }
}

TEST_CASE("repairing twice changes nothing") {
  test::law("idempotent", [](const std::string& bytes) {
    const std::string once = qlora::repair_utf8(bytes);
    RC_ASSERT(qlora::repair_utf8(once) == once);
  });
}

TEST_CASE(
    "a stream prints whole characters and hopeless bytes, and waits for the rest of a character") {
  REQUIRE(qlora::utf8_complete_prefix("ab\xe2\x82") == 2);
  REQUIRE(qlora::utf8_complete_prefix("ab\xe2\x82\xac") == 5);
  REQUIRE(qlora::utf8_complete_prefix("\xff") == 1);
  REQUIRE(qlora::utf8_complete_prefix("\xf0\x9f\x98") == 0);
  REQUIRE(qlora::utf8_complete_prefix("") == 0);
}
