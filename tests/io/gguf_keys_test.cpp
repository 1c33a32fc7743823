#include "qlora/io/gguf_keys.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/gguf_builder.hpp"
#include "support/numbers.hpp"

using qlora::GgufKeys;

namespace {

struct File {
  test::TemporaryFolder folder;
  qlora::GgufFile file = [&] {
    test::GgufBuilder builder;
    builder.key("llama.size", 3u).key("llama.real", 0.5f).key("llama.name", "x").key("other.a", 1u);
    builder.key("llama.equal", std::vector<std::int32_t>{4, 4, 4})
        .key("llama.mixed", std::vector<std::int32_t>{4, 2})
        .key("llama.words", std::vector<std::string>{"a", "b"});
    builder.number("llama.on", 7, std::uint8_t{1})
        .number("llama.minus", 5, std::int32_t{-2})
        .number("llama.huge", 10, ~std::uint64_t{0});
    return qlora::GgufFile(folder.write("f.gguf", builder.bytes()));
  }();
  GgufKeys keys{file, "llama."};

  template <class Read>
  std::string refusal(Read&& read) {
    return test::message_of<qlora::FormatError>([&] { read(keys); });
  }
};

}  // namespace

TEST_CASE("keys of one prefix are read by kind, and a list of one number is that number") {
  File f;
  REQUIRE(f.keys.size("size") == 3);
  REQUIRE(f.keys.size("equal") == 4);
  REQUIRE(f.keys.number("real") == 0.5);
  REQUIRE(f.keys.number("size") == 3.0);
  REQUIRE(f.keys.text("name") == "x");
  REQUIRE(f.keys.size("absent", 7) == 7);
  f.keys.only("on", true);
  f.keys.only("size", 3.0);
  f.keys.only("absent", false);
  REQUIRE(f.keys.rest() == std::set<std::string>{"huge", "minus", "mixed", "words"});
}

TEST_CASE("a key of the prefix that nobody read is refused by its whole name") {
  File f;
  f.keys.changes_nothing({"huge", "minus", "mixed", "words", "size", "real", "name", "on"});
  REQUIRE(test::contains(f.refusal([](GgufKeys& keys) { keys.refuse_rest(); }),
                         "f.gguf: llama.equal: a list of 3 is not supported"));
  (void)f.keys.find("equal");
  f.keys.refuse_rest();  // other.a is another prefix's
}

TEST_CASE("a GGUF value of another kind is refused with what was expected and found") {
  File f;
  const auto expect = [&](auto read, const std::string& said) {
    const std::string found = f.refusal(read);
    INFO(found);
    REQUIRE(test::contains(found, said));
  };
  expect([](GgufKeys& k) { (void)k.size("mixed"); }, "llama.mixed: expected one number for all");
  expect([](GgufKeys& k) { (void)k.size("real"); }, "expected a whole number, found 0.5");
  expect([](GgufKeys& k) { (void)k.size("minus"); }, "found -2");
  expect([](GgufKeys& k) { (void)k.size("huge"); }, "from 1 to 2147483647");
  expect([](GgufKeys& k) { (void)k.size("on"); }, "found true");
  expect([](GgufKeys& k) { (void)k.number("words"); }, "expected a number, found a list of 2");
  expect([](GgufKeys& k) { (void)k.text("size"); }, "llama.size: expected a text, found 3");
  expect([](GgufKeys& k) { (void)k.size("no"); }, "expected the key 'llama.no', found none");
  expect([](GgufKeys& k) { k.only("on", false, ": why"); }, "expected false, found true: why");
  expect([](GgufKeys& k) { k.only("real", 1.0, ": why"); }, "expected 1, found 0.5: why");
}
