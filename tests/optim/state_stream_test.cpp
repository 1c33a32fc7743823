#include "qlora/optim/state_stream.hpp"

#include <sstream>

#include "support/catch.hpp"
#include "support/law.hpp"

using qlora::Index, qlora::optim_detail::StateHeader;

namespace {

StateHeader header(std::vector<Index> group_sizes, std::vector<Index> sizes) {
  return {"adamw", "numbers-4", 7, true, 99, std::move(group_sizes), std::move(sizes)};
}
std::string written(const StateHeader& h) {
  std::ostringstream out;
  qlora::optim_detail::write_state_header(out, h);
  return out.str();
}

}  // namespace

TEST_CASE("a header comes back as it was written, and the stream stands behind it") {
  test::law("header",
            [](const std::vector<std::uint16_t>& some, bool averaged, std::uint64_t seed) {
              StateHeader h = header({static_cast<Index>(some.size())}, {some.begin(), some.end()});
              h.averaged = averaged;
              h.seed = seed;
              std::istringstream in(written(h) + "rest");
              const StateHeader read = qlora::optim_detail::read_state_header(in, h, h.sizes);
              RC_ASSERT(read.rule == h.rule && read.state == h.state && read.steps == h.steps);
              RC_ASSERT(read.averaged == h.averaged && read.seed == h.seed);
              RC_ASSERT(read.group_sizes == h.group_sizes && read.sizes == h.sizes);
              // Without a parameter no size is expected, and the stream may be read to its end for it.
              std::string rest;
              in >> rest;
              RC_ASSERT(rest == "rest");
            });
}

TEST_CASE("another rule, state or size is refused by name, and nothing but whole headers is read") {
  const StateHeader h = header({2}, {5, 6});
  const std::string text = written(h);
  const auto read = [](const std::string& bytes, const StateHeader& own,
                       const std::vector<Index>& expected) {
    std::istringstream in(bytes);
    return qlora::optim_detail::read_state_header(in, own, expected);
  };
  StateHeader other = h;
  other.rule = "lion";
  REQUIRE_THROWS_WITH(read(text, other, h.sizes), test::contains("expected that of lion"));
  other = h;
  other.state = "codes-256";
  REQUIRE_THROWS_WITH(read(text, other, h.sizes), test::contains("in codes-256"));
  REQUIRE_THROWS_WITH(read(text, h, {5, 7}), test::contains("expected 7 numbers, found 6"));
  REQUIRE_THROWS_WITH(read(text, h, {5}), test::contains("expected 1 parameters, found 2"));
  for (std::size_t length = 0; length < text.size(); ++length)
    REQUIRE_THROWS_AS(read(text.substr(0, length), h, h.sizes), qlora::Error);
}
