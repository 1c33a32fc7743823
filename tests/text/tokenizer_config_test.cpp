#include "qlora/text/tokenizer_config.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Token, qlora::TokenizerData;
using Ids = std::vector<Token>;

namespace {

// Four tokens, of which the last is added with flags of its own.
TokenizerData tokens() {
  TokenizerData data;
  data.tokens = {"a", "b", "c", "<end>"};
  data.added = {{.id = 3, .text = "<end>", .lstrip = true}};
  return data;
}
TokenizerData with(const std::string& json, TokenizerData data = tokens()) {
  const std::string name = "c.json";
  const auto config = nlohmann::json::parse(json);
  qlora::text_detail::TokenizerConfig(name, config, data).read();
  return data;
}
std::string config_refusal(const std::string& json) {
  return test::message_of<qlora::FormatError>([&] { (void)with(json); });
}

}  // namespace

TEST_CASE("a token that is named is special, keeps its flags and stands in order of id") {
  const auto data = with(R"({"unk_token":"a","pad_token":{"content":"c","lstrip":true},
                             "eos_token":"<end>"})");
  REQUIRE((data.unknown == 0 && data.padding == 2 && data.end == 3 && !data.begin));
  REQUIRE(data.added == std::vector<qlora::AddedToken>{
                            {.id = 0, .text = "a", .special = true},
                            {.id = 2, .text = "c", .special = true},
                            {.id = 3, .text = "<end>", .special = true, .lstrip = true}});
}

TEST_CASE("names that are null or empty are as absent, and every list of special tokens counts") {
  const auto none = with(R"({"bos_token":null,"eos_token":"","unk_token":{"content":""}})");
  REQUIRE((!none.begin && !none.end && !none.unknown));
  REQUIRE(none.added == tokens().added);
  const auto some = with(R"({"additional_special_tokens":[{"content":"a"}],
                             "extra_special_tokens":{"image_token":"b"}})");
  REQUIRE((some.is_special(0) && some.is_special(1) && !some.is_special(2)));
}

TEST_CASE("the config's flags of an added token replace those of tokenizer.json, in any order") {
  const auto data = with(R"({"added_tokens_decoder":{
    "3":{"content":"<end>","rstrip":true},"4":{"content":"<x>","special":true},
    "1":{"content":"b","single_word":true,"normalized":true}}})");
  REQUIRE(data.added == std::vector<qlora::AddedToken>{
                            {.id = 1, .text = "b", .single_word = true, .normalized = true},
                            {.id = 3, .text = "<end>", .rstrip = true},
                            {.id = 4, .text = "<x>", .special = true}});
  REQUIRE(data.tokens.back() == "<x>");
  // A new token may be named beside.
  REQUIRE(with(R"({"added_tokens_decoder":{"4":{"content":"<x>"}},"bos_token":"<x>"})").begin == 4);
}

TEST_CASE("flags that say what tokenizer.json says give no warning") {
  auto data = tokens();
  data.before = {3};
  const std::string named = R"("bos_token":"<end>","eos_token":"a")";
  REQUIRE(with("{\"add_bos_token\":true," + named + "}", data).warnings.empty());
  const auto other = with("{\"add_eos_token\":true," + named + "}", data);
  REQUIRE(other.before.empty());
  REQUIRE(other.after == Ids{0});
  REQUIRE(other.warnings.size() == 1);
  REQUIRE(test::contains(other.warnings[0], "c.json: add_bos_token and add_eos_token"));
  REQUIRE(with("{" + named + "}", data).before == Ids{3});
}

TEST_CASE("what a tokenizer's config can't mean is refused by key, expected and found") {
  REQUIRE(config_refusal("[]") == "c.json: expected an object, found array");
  REQUIRE(config_refusal(R"({"add_eos_token":true})") ==
          "c.json: add_eos_token: expected an eos_token, found none");
  REQUIRE(config_refusal(R"({"split_special_tokens":1})") ==
          "c.json: split_special_tokens: expected true or false, found 1");
  REQUIRE(config_refusal(R"({"pad_token":{"text":"a"}})") ==
          R"(c.json: pad_token: expected the text of a token, found {"text":"a"})");
  REQUIRE(config_refusal(R"({"extra_special_tokens":[["a"]]})") ==
          R"(c.json: extra_special_tokens: expected the text of a token, found ["a"])");
  REQUIRE(config_refusal(R"({"added_tokens_decoder":{"4":"<x>"}})") ==
          "c.json: added_tokens_decoder: 4: expected an id and its token");
  for (const char* id : {"", "-1", "1e3", "1000000000"})
    REQUIRE(test::contains(config_refusal("{\"added_tokens_decoder\":{\"" + std::string(id) +
                                          "\":{\"content\":\"x\"}}}"),
                           "expected an id and its token"));
}

TEST_CASE("ids that end an answer are a number or a list of them, none beyond 32 bits") {
  const auto ids = [](const std::string& json) {
    return qlora::text_detail::end_ids("g.json", nlohmann::json::parse(json));
  };
  REQUIRE(ids("{}").empty());
  REQUIRE(ids(R"({"eos_token_id":null})").empty());
  REQUIRE(ids(R"({"eos_token_id":[]})").empty());
  REQUIRE(ids(R"({"eos_token_id":0})") == Ids{0});
  REQUIRE(ids(R"({"eos_token_id":[5,2147483647,5]})") == Ids{5, 2147483647, 5});
  const auto refused = [&](const std::string& value) {
    return test::message_of<qlora::FormatError>(
        [&] { (void)ids("{\"eos_token_id\":" + value + "}"); });
  };
  REQUIRE(refused("2147483648") == "g.json: eos_token_id: 2147483648 is no token's id");
  for (const char* value : {"1.0", "true", "\"2\"", "[[2]]", "{}"})
    REQUIRE(test::contains(refused(value), "eos_token_id: expected a whole number of 0 or more"));
}
