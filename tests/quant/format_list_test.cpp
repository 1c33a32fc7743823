#include "qlora/quant/format_list.hpp"

#include <array>
#include <string_view>
#include <vector>

#include "qlora/quant/visit_format.hpp"
#include "support/catch.hpp"
#include "support/numbers.hpp"

namespace {

struct Ternary {
  static constexpr std::array values{-1.f, 0.f, 1.f};
};
using Tern32 = qlora::BlockFormat<Ternary, 32, qlora::FloatScale<float>>;
using NoName = qlora::BlockFormat<Ternary, 16, qlora::FloatScale<float>>;

}  // namespace

template <>
inline constexpr std::string_view qlora::format_name<Tern32> = "tern32";

namespace {

using OwnFormats = qlora::FormatList<qlora::formats::nf4_dq, Tern32,
                                     qlora::AnyBlockSize<qlora::formats::int4>, NoName>;

// The type that a list finds by name and block size, by its block size and bits a code.
template <class Formats>
std::array<int, 2> found(std::string_view name, qlora::Index block_size = 0) {
  std::array<int, 2> sizes{};
  qlora::visit_format<Formats>(name, block_size, [&]<class F>() {
    sizes = {F::block_size, F::code_bits};
  });
  return sizes;
}

}  // namespace

TEST_CASE("a list finds a user's own format by the name given to it") {
  REQUIRE(found<OwnFormats>("tern32") == std::array{32, 2});
  REQUIRE(found<OwnFormats>("nf4-dq") == std::array{64, 4});
}

TEST_CASE("a list takes other block sizes only where it says so") {
  REQUIRE(found<OwnFormats>("int4", 128) == std::array{qlora::any_size, 4});
  REQUIRE(found<OwnFormats>("int4", 64) == std::array{64, 4});
  const auto text =
      test::message_of<qlora::OptionError>([] { (void)found<OwnFormats>("nf4-dq", 128); });
  REQUIRE(text == "format 'nf4-dq': its block size is 64, found 128");
}

TEST_CASE("what is not in a list is refused, with the names that are") {
  const auto text = test::message_of<qlora::OptionError>([] { (void)found<OwnFormats>("nf4"); });
  REQUIRE(text == "format 'nf4': expected one of nf4-dq, tern32, int4");
  REQUIRE_THROWS_AS(found<OwnFormats>(""), qlora::OptionError);
  REQUIRE_THROWS_AS(found<qlora::FormatList<>>("nf4"), qlora::OptionError);
}

TEST_CASE("a list knows its formats and its names") {
  using qlora::ListedFormat;
  STATIC_REQUIRE(ListedFormat<Tern32, OwnFormats>);
  STATIC_REQUIRE(ListedFormat<NoName, OwnFormats>);
  STATIC_REQUIRE(ListedFormat<qlora::WithAnySize<qlora::formats::int4>, OwnFormats>);
  STATIC_REQUIRE_FALSE(ListedFormat<qlora::WithAnySize<qlora::formats::nf4_dq>, OwnFormats>);
  STATIC_REQUIRE_FALSE(ListedFormat<qlora::formats::nf4, OwnFormats>);
  STATIC_REQUIRE(OwnFormats::count == 4);
  REQUIRE(std::vector(qlora::format_names_of<OwnFormats>.begin(),
                      qlora::format_names_of<OwnFormats>.end()) ==
          std::vector<std::string_view>{"nf4-dq", "tern32", "int4"});
}

TEST_CASE("a walk through a list ends with the first that says true") {
  int seen = 0;
  const bool stopped = OwnFormats::any([&]<class Entry>() { return ++seen == 2; });
  REQUIRE(stopped);
  REQUIRE(seen == 2);
  REQUIRE_FALSE(OwnFormats::any([&]<class Entry>() { return false; }));
}
