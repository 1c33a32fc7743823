#include "qlora/text/byte_level.hpp"

#include <cstdint>
#include <set>
#include <string>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::text_detail::bytes_of_stand_ins;

TEST_CASE("every byte has a stand-in of its own that is neither white space nor a control") {
  const auto points = qlora::text_detail::byte_code_points();
  const std::set<std::uint32_t> different(points.begin(), points.end());
  REQUIRE(different.size() == 256);
  // 188 bytes stand for themselves, 68 for the numbers from 256 up.
  REQUIRE(*different.begin() == 33);
  REQUIRE(*different.rbegin() == 256 + 67);
  for (const std::uint32_t hidden : {32u, 127u, 160u, 173u}) REQUIRE(!different.contains(hidden));
}

TEST_CASE("stand-ins are those of GPT-2's vocabulary") {
  const auto texts = qlora::text_detail::byte_stand_ins();
  REQUIRE(texts['a'] == "a");
  REQUIRE(texts[' '] == "\xc4\xa0");   // U+0120
  REQUIRE(texts['\n'] == "\xc4\x8a");  // U+010A
  REQUIRE(texts[0] == "\xc4\x80");     // U+0100
  REQUIRE(texts[0xe9] == "\xc3\xa9");  // itself, as Latin-1
  REQUIRE(texts[0xad] == "\xc5\x83");  // the last one, U+0143
  REQUIRE(bytes_of_stand_ins("\xc4\xa0the") == " the");
  REQUIRE(bytes_of_stand_ins("") == "");
}

TEST_CASE("any bytes come back from their stand-ins") {
  const auto texts = qlora::text_detail::byte_stand_ins();
  test::law("bytes", [&](const std::string& bytes) {
    std::string written;
    for (const char byte : bytes) written += texts[static_cast<unsigned char>(byte)];
    RC_ASSERT(bytes_of_stand_ins(written) == bytes);
  });
}

TEST_CASE("a text that holds any other character stands for no bytes") {
  for (const char* other :
       {" ", "\n", "\x7f", "a b", "\xc2\xa0", "\xc2\xad", "\xc5\x84", "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        // no UTF-8: bytes that stand alone, or go on with another, or are longer than they need be
        "\xe9", "\xc4", "\xc4\x20", "\xc4\xc4", "\x80", "\xc1\x81"}) {
    INFO(other);
    REQUIRE(!bytes_of_stand_ins(other));
    REQUIRE(!bytes_of_stand_ins("a" + std::string(other)));
  }
}
