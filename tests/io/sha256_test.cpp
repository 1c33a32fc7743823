#include "qlora/io/sha256.hpp"

#include <string_view>

#include "support/catch.hpp"

TEST_CASE("SHA-256 gives the standard's examples") {
  const auto hash = [](std::string_view text) {
    return qlora::sha256(std::as_bytes(std::span(text)));
  };
  // FIPS 180-2, appendix B, and the empty message.
  REQUIRE(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  REQUIRE(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  REQUIRE(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
