#include "qlora/io/json_keys.hpp"

#include <limits>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using nlohmann::json;
using qlora::JsonKeys;

namespace {

template <class Read>
std::string refusal(const json& object, Read&& read) {
  return test::message_of<qlora::FormatError>([&] {
    JsonKeys keys("c.json", object);
    read(keys);
  });
}

}  // namespace

TEST_CASE("keys are read by kind, and a null is as absent") {
  const json object = {{"size", 3}, {"real", 0.5}, {"on", true}, {"name", "x"}, {"none", nullptr}};
  JsonKeys keys("c.json", object);
  REQUIRE(keys.size("size") == 3);
  REQUIRE(keys.number("real") == 0.5);
  REQUIRE(keys.number("size") == 3.0);
  REQUIRE(keys.flag("on"));
  REQUIRE(keys.text("name") == "x");
  REQUIRE(keys.size("none", 7) == 7);
  REQUIRE(keys.text("absent", "y") == "y");
  REQUIRE(keys.find("none") == nullptr);
  REQUIRE(keys.contains("none"));
  REQUIRE(!keys.contains("absent"));
  keys.refuse_rest();
}

TEST_CASE("a key that nobody read is refused by name, with its value") {
  const json object = {{"a", 1}, {"b", {{"c", true}}}, {"d", nullptr}};
  REQUIRE(test::contains(refusal(object, [](JsonKeys& keys) { keys.refuse_rest(); }),
                         "c.json: a: 1 is not supported"));
  REQUIRE(test::contains(refusal(object,
                                 [](JsonKeys& keys) {
                                   (void)keys.size("a");
                                   keys.refuse_rest();
                                 }),
                         R"(c.json: b: {"c":true} is not supported)"));
  JsonKeys keys("c.json", object);
  keys.changes_nothing({"a", "b", "e"});
  keys.refuse_rest();
}

TEST_CASE("what is off is let pass where that is asked for, and nowhere else") {
  const json off = {{"a", false}, {"b", json::array()}, {"c", json::object()}, {"d", ""}};
  JsonKeys keys("c.json", off);
  for (const char* key : {"a", "b", "c", "d", "e"}) keys.off(key);
  JsonKeys others("c.json", off);
  others.refuse_rest_that_is_on();
  REQUIRE(test::contains(refusal(off, [](JsonKeys& k) { k.refuse_rest(); }), "a: false"));
  for (const json& on : {json(true), json(0), json("x"), json{1}, json{{"x", 1}}}) {
    const json object = {{"a", on}};
    INFO(on);
    REQUIRE(test::contains(refusal(object, [](JsonKeys& k) { k.off("a", ": why"); }),
                           "is not supported: why"));
    REQUIRE(
        test::contains(refusal(object, [](JsonKeys& k) { k.refuse_rest_that_is_on(); }), "a: "));
  }
}

TEST_CASE("a value of another kind is refused with what was expected and found") {
  const json object = {{"a", "text"}, {"b", -1}, {"c", 1.5}, {"d", {1, 2}}, {"e", true}};
  const auto expect = [&](auto read, const std::string& said) {
    const std::string found = refusal(object, read);
    INFO(found);
    REQUIRE(test::contains(found, said));
  };
  expect([](JsonKeys& k) { (void)k.size("a"); }, "c.json: a: expected a whole number");
  expect([](JsonKeys& k) { (void)k.size("b"); }, "found -1");
  expect([](JsonKeys& k) { (void)k.size("c"); }, "found 1.5");
  expect([](JsonKeys& k) { (void)k.number("d"); }, "c.json: d: expected a number, found [1,2]");
  expect([](JsonKeys& k) { (void)k.flag("a"); }, "expected true or false, found text");
  expect([](JsonKeys& k) { (void)k.text("e"); }, "c.json: e: expected a text, found true");
  expect([](JsonKeys& k) { (void)k.size("z"); }, "c.json: expected the key 'z', found none");
  expect([](JsonKeys& k) { k.only("e", false, ": why"); }, "e: expected false, found true: why");
  REQUIRE(test::contains(
      test::message_of<qlora::FormatError>([] { JsonKeys keys("c.json", json::array()); }),
      "c.json: expected an object, found []"));
}

TEST_CASE("sizes and numbers have bounds, and long values are cut in messages") {
  REQUIRE(qlora::checked_size(qlora::largest_size, "x") == qlora::largest_size);
  REQUIRE_THROWS_AS(qlora::checked_size(0, "x"), qlora::FormatError);
  REQUIRE_THROWS_AS(qlora::checked_size(qlora::largest_size + 1, "x"), qlora::FormatError);
  REQUIRE(qlora::checked_positive(1e-30, "x") == 1e-30);
  for (const double bad : {0.0, -1.0, std::numeric_limits<double>::infinity(),
                           std::numeric_limits<double>::quiet_NaN()})
    REQUIRE_THROWS_AS(qlora::checked_positive(bad, "x"), qlora::FormatError);
  REQUIRE(JsonKeys::shown(json(std::string(500, 'x'))).size() == 80);
}
