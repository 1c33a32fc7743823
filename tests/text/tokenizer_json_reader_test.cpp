#include "qlora/text/tokenizer_json_reader.hpp"

#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/numbers.hpp"

using qlora::Token;
using PlainJson = nlohmann::json;
using Ids = std::vector<Token>;

namespace {

// The least that is read: two tokens and one split.
PlainJson least() {
  return PlainJson::parse(R"({"pre_tokenizer":{"type":"ByteLevel"},
                         "model":{"vocab":{"a":0,"b":1},"merges":[]}})");
}
qlora::TokenizerData read(const PlainJson& json) {
  return qlora::text_detail::TokenizerJson("t.json", json).read();
}
qlora::TokenizerData patched(const std::string& patch) {
  PlainJson json = least();
  json.merge_patch(PlainJson::parse(patch));
  return read(json);
}
std::string patch_refusal(const std::string& patch) {
  return test::message_of<qlora::FormatError>([&] { (void)patched(patch); });
}

// A post-processor of TemplateProcessing with these parts around a text.
std::string around(const std::string& parts, const std::string& ids = "[0]") {
  return R"({"post_processor":{"type":"TemplateProcessing","pair":[],"special_tokens":{)"
         R"("<s>":{"ids":)" +
         ids + R"(},"</s>":{"ids":[1]}},"single":[)" + parts + "]}}";
}
const std::string text = R"({"Sequence":{"id":"A","type_id":0}})",
                  begin = R"({"SpecialToken":{"id":"<s>"}})",
                  end = R"({"SpecialToken":{"id":"</s>"}})";

}  // namespace

TEST_CASE("a file without a type, added tokens, decoder and post-processor is read") {
  const auto data = read(least());
  REQUIRE(data.name == "t.json");
  REQUIRE(data.tokens == std::vector<std::string>{"a", "b"});
  REQUIRE((data.added.empty() && data.merges.empty() && !data.ignore_merges));
  REQUIRE(data.splits == std::vector<std::string>{qlora::gpt2_split});
  REQUIRE((data.before.empty() && data.after.empty() && data.warnings.empty()));
}

TEST_CASE("added tokens go beyond the vocabulary or stand in it, and come in order of id") {
  const auto data = patched(R"({"added_tokens":[
    {"id":3,"content":"<y>","special":true,"rstrip":true},{"id":1,"content":"b","normalized":true},
    {"id":2,"content":"<x>","single_word":null}]})");
  REQUIRE(data.tokens == std::vector<std::string>{"a", "b", "<x>", "<y>"});
  REQUIRE(data.added == std::vector<qlora::AddedToken>{
                            {.id = 1, .text = "b", .normalized = true},
                            {.id = 2, .text = "<x>"},
                            {.id = 3, .text = "<y>", .special = true, .rstrip = true}});
}

TEST_CASE("ids with a hole and ids of two texts are refused by id and text") {
  REQUIRE(patch_refusal(R"({"added_tokens":[{"id":3,"content":"<y>"}]})") ==
          "t.json: token '<y>': expected an id below 3, found 3");
  REQUIRE(patch_refusal(R"({"added_tokens":[{"id":3,"content":"<y>"},{"id":1,"content":"b"}]})") ==
          "t.json: no token has the id 2");
  REQUIRE(patch_refusal(R"({"added_tokens":[{"id":1,"content":"<y>"}]})") ==
          "t.json: the id 1 stands for 'b' and for '<y>'");
  REQUIRE(patch_refusal(R"({"added_tokens":[{"id":"1","content":"b"}]})") ==
          "t.json: the id of token 'b': expected a whole number of 0 or more, found \"1\"");
  REQUIRE(patch_refusal(R"({"added_tokens":{"b":1}})") ==
          "t.json: expected model.vocab as an object and added_tokens as a list");
  REQUIRE(patch_refusal(R"({"added_tokens":["b"]})") ==
          "t.json: added_tokens: expected an object, found string");
}

TEST_CASE("splits of nested sequences come one after the other, digits alone or together") {
  const auto splits = [](const std::string& parts) {
    PlainJson json = least();
    json["pre_tokenizer"] =
        PlainJson::parse(R"({"type":"Sequence","pretokenizers":[)" + parts + "]}");
    return read(json).splits;
  };
  REQUIRE(splits(R"({"type":"Digits"},{"type":"Sequence","pretokenizers":[
                     {"type":"Digits","individual_digits":true}]},
                    {"type":"ByteLevel","use_regex":null})") ==
          std::vector<std::string>{R"(\p{N}+)", qlora::digit_split, qlora::gpt2_split});
  REQUIRE(splits(R"({"type":"ByteLevel","use_regex":false})").empty());
}

TEST_CASE("tokens of a template stand before and after the text in their order") {
  const auto both = patched(around(begin + "," + end + "," + text + "," + end, "[1,0]"));
  REQUIRE(both.before == Ids{1, 0, 1});
  REQUIRE(both.after == Ids{1});
  REQUIRE(patched(around(text)).before.empty());
}

TEST_CASE("a template without its text, with two of them, and a second template are refused") {
  const std::string where = "t.json: post_processor TemplateProcessing: ";
  for (const std::string& parts :
       {std::string(), begin, text + "," + text, std::string(R"({"Sequence":{"id":"B"}})")})
    REQUIRE(patch_refusal(around(parts)) == where + "single: expected the text A once");
  REQUIRE(patch_refusal(around(begin + "," + text, "[-1]")) ==
          where + "<s>: expected a whole number of 0 or more, found -1");
  PlainJson twice = least();
  const PlainJson one = PlainJson::parse(around(text)).at("post_processor");
  twice["post_processor"] = {{"type", "Sequence"}, {"processors", PlainJson::array({one, one})}};
  REQUIRE(test::message_of<qlora::FormatError>([&] { (void)read(twice); }) ==
          where + "comes twice");
}

TEST_CASE("what happens to unknown bytes plays no role where every byte has a token") {
  const char* lenient = R"({"model":{"unk_token":"a","byte_fallback":true,"fuse_unk":true}})";
  REQUIRE(test::contains(patch_refusal(lenient), "where the vocabulary lacks a byte"));
  PlainJson json = least();
  PlainJson all = PlainJson::object();
  Token id = 0;
  for (const auto& each : qlora::text_detail::byte_stand_ins()) all[each] = id++;
  json["model"]["vocab"] = all;
  json.merge_patch(PlainJson::parse(lenient));
  REQUIRE(read(json).tokens.size() == 256);
}

TEST_CASE("merges are two parts, whichever way they are written") {
  REQUIRE(patched(R"({"model":{"merges":["a b",["a "," b"]]}})").merges ==
          std::vector<std::pair<std::string, std::string>>{{"a", "b"}, {"a ", " b"}});
  REQUIRE(patch_refusal(R"({"model":{"merges":[["a","b","c"]]}})") ==
          R"(t.json: merge ["a","b","c"]: expected two parts)");
}
