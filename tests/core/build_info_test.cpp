#include "qlora/core/build_info.hpp"

#include <algorithm>

#include "support/catch.hpp"
#include "support/threads.hpp"

namespace {

bool says(const std::vector<std::string>& sentences, const std::string& part) {
  return std::any_of(sentences.begin(), sentences.end(),
                     [&](const std::string& s) { return s.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("what was chosen is told, and slow paths in words") {
  const test::Threads three(3);
  const qlora::BuildInfo info = qlora::build_info();
  REQUIRE(info.version == QLORA_VERSION);
  REQUIRE((info.eigen.rfind("3.4", 0) == 0 || info.eigen.rfind("5.", 0) == 0));
  REQUIRE(info.threads == "a pool of 3");
#if defined(__AVX2__) && QLORA_HAS_HIGHWAY
  REQUIRE(info.vectors.rfind("AVX", 0) == 0);
  REQUIRE(info.highway.rfind("1.", 0) == 0);
  REQUIRE_FALSE(says(info.slow, "no vectors"));
#elif QLORA_HAS_HIGHWAY
  REQUIRE((info.vectors != "none" || says(info.slow, "-march=native")));
#endif
#if defined(QLORA_NO_HIGHWAY)
  REQUIRE(info.vectors == "none");
  REQUIRE(info.highway.empty());
  REQUIRE(says(info.slow, "QLORA_NO_HIGHWAY is defined"));
#endif
#if defined(__OPTIMIZE__)
  REQUIRE_FALSE(says(info.slow, "optimize"));
#else
  REQUIRE(says(info.slow, "optimize"));
#endif
  const std::string text = qlora::to_string(info);
  for (const std::string& part : {info.version, info.eigen, info.vectors, info.threads})
    REQUIRE(text.find(part) != std::string::npos);
  for (const std::string& sentence : info.slow) REQUIRE(text.find(sentence) != std::string::npos);
}
