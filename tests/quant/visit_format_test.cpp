#include "qlora/quant/visit_format.hpp"

#include <type_traits>

#include "support/catch.hpp"
#include "support/numbers.hpp"

TEST_CASE("every listed name is visited, at every block size") {
  for (const auto name : qlora::format_names)
    for (const qlora::Index size : {32, 64, 128, 256, 512, 1024, 2048, 4096}) {
      int visits = 0;
      qlora::visit_format(name, size, [&]<class Format>() {
        ++visits;
        REQUIRE((Format::block_size == size || Format::block_size == qlora::Dynamic));
      });
      REQUIRE(visits == 1);
    }
}

TEST_CASE("a name stands for its type") {
  qlora::visit_format("nf4-dq", 64,
                      []<class Format>() { REQUIRE(std::is_same_v<Format, qlora::Nf4Dq>); });
  qlora::visit_format("nf4", 64,
                      []<class Format>() { REQUIRE(std::is_same_v<Format, qlora::Nf4>); });
}

TEST_CASE("other names and sizes are refused with those that exist") {
  const auto visit = []<class Format>() {};
  const auto name =
      test::message_of<qlora::FormatError>([&] { qlora::visit_format("nf5", 64, visit); });
  REQUIRE(test::contains(name, "'nf5'"));
  REQUIRE(test::contains(name, "nf4, nf4-dq, fp4, fp4-dq, int4"));
  for (const qlora::Index size : {0, 1, 48, 16, 8192, -64})
    REQUIRE_THROWS_AS(qlora::visit_format("nf4", size, visit), qlora::FormatError);
}
