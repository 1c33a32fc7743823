#include "qlora/quant/visit_format.hpp"

#include <string>
#include <string_view>
#include <type_traits>

#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace {

// The block size of the format that a name and a size stand for; 0 for one that takes any size.
qlora::Index visited_size(std::string_view name, qlora::Index size) {
  qlora::Index found = -7;
  qlora::visit_format(name, size, [&]<class Format>() {
    REQUIRE(found == -7);
    found = Format::block_size == qlora::any_size ? 0 : Format::block_size;
  });
  return found;
}

}  // namespace

TEST_CASE("every listed name is visited once, with its own block size") {
  for (const auto name : qlora::format_names) REQUIRE(visited_size(name, 0) > 0);
  REQUIRE(visited_size("mxfp4", 0) == 32);
  REQUIRE(visited_size("nvfp4", 16) == 16);
}

TEST_CASE("five names come in blocks of 32 to 4096, the others in one size") {
  for (const auto name : {"nf4", "nf4-dq", "fp4", "fp4-dq", "int4"})
    for (const qlora::Index size : {32, 64, 128, 256, 512, 1024, 2048, 4096})
      REQUIRE(visited_size(name, size) == (size == 64 ? 64 : 0));
  for (const auto name : {"nf3", "af4", "bof4-s-opq", "learned4", "mxfp4", "nvfp4", "q4_0"}) {
    const auto text = test::message_of<qlora::OptionError>([&] { (void)visited_size(name, 128); });
    REQUIRE(test::contains(text, std::string(name) + "': its block size is"));
  }
}

TEST_CASE("a name stands for its type") {
  qlora::visit_format("nf4-dq", 64, []<class Format>() {
    REQUIRE(std::is_same_v<Format, qlora::formats::nf4_dq>);
  });
  qlora::visit_format("nf4", 64,
                      []<class Format>() { REQUIRE(std::is_same_v<Format, qlora::formats::nf4>); });
}

TEST_CASE("other names and sizes are refused with those that exist") {
  const auto visit = []<class Format>() {};
  const auto name =
      test::message_of<qlora::OptionError>([&] { qlora::visit_format("nf5", 64, visit); });
  REQUIRE(test::contains(name, "'nf5'"));
  REQUIRE(test::contains(name, "nf4, nf4-dq, nf4-dq2, fp4"));
  for (const qlora::Index size : {1, 48, 16, 8192, -64})
    REQUIRE_THROWS_AS(qlora::visit_format("nf4", size, visit), qlora::OptionError);
}
