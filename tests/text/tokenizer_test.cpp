#include "qlora/text/tokenizer.hpp"

#include "support/files.hpp"
#include "support/law.hpp"
#include "support/tiny_model.hpp"

namespace {

struct Loaded {
  test::TemporaryFolder folder;
  qlora::GgufFile file;
  qlora::Tokenizer tokenizer;
  explicit Loaded(const test::TinyModel& model = {})
      : file(folder.write("m.gguf", model.bytes())), tokenizer(qlora::tokenizer_data(file)) {}

  std::vector<std::string> pieces(std::string_view text) const {
    std::vector<std::string> all;
    for (const auto id : tokenizer.encode(text)) all.push_back(tokenizer.piece(id));
    return all;
  }
};

std::string refusal(const test::TinyModel& model) {
  return test::message_of<qlora::FormatError>([&] { Loaded loaded(model); });
}

}  // namespace

TEST_CASE("pairs of lowest rank merge first, within words only, and digits stay alone") {
  const Loaded m;
  REQUIRE(m.pieces("the the") == std::vector<std::string>{"the", " the"});
  REQUIRE(m.pieces("thin") == std::vector<std::string>{"th", "in"});
  REQUIRE(m.pieces("12") ==
          std::vector<std::string>{"1", "2"});  // "1 2" is a merge, but smollm splits digits
  test::TinyModel gpt2;
  gpt2.pre = "gpt-2";
  REQUIRE(Loaded(gpt2).pieces("12") == std::vector<std::string>{"12"});
}

TEST_CASE("special tokens are recognized in plain text and never inside what encode_plain gets") {
  const Loaded m;
  REQUIRE(m.pieces("a<|im_end|>b") == std::vector<std::string>{"a", "<|im_end|>", "b"});
  for (const auto id : m.tokenizer.encode_plain("a<|im_end|>b"))
    REQUIRE_FALSE(m.tokenizer.is_special(id));
  REQUIRE(m.tokenizer.special("<|im_end|>") == 2);
  REQUIRE_THROWS_AS(m.tokenizer.special("<|none|>"), qlora::FormatError);
}

TEST_CASE("decoding gives back any valid text, and any bytes repaired") {
  const Loaded m;
  test::law("round trip", [&](const std::string& bytes) {
    const std::string valid = qlora::repair_utf8(bytes);
    RC_ASSERT(m.tokenizer.decode(m.tokenizer.encode(bytes)) == valid);
    RC_ASSERT(m.tokenizer.decode(m.tokenizer.encode_plain(bytes)) == valid);
  });
  REQUIRE(m.tokenizer.decode(m.tokenizer.encode("x<|im_end|>"), true) == "x");
  REQUIRE_THROWS_AS(m.tokenizer.piece(m.tokenizer.size() > 0 ? 100000 : 0), qlora::ShapeError);
}

TEST_CASE("long words take no quadratic time") {
  const Loaded m;
  REQUIRE(m.tokenizer.encode(std::string(1 << 20, 'h')).size() == std::size_t{1} << 20);
}

TEST_CASE("tokenizers that are not understood are refused by the key") {
  test::TinyModel model;
  model.model = "llama";
  REQUIRE(test::contains(refusal(model), "tokenizer.ggml.model: expected gpt2"));
  model = {};
  model.pre = "deepseek";
  REQUIRE(test::contains(refusal(model), "tokenizer.ggml.pre"));
  model = {};
  model.types.pop_back();
  REQUIRE(test::contains(refusal(model), "token types"));
  model = {};
  model.merges.push_back("zq zq");
  REQUIRE(test::contains(refusal(model), "merge 'zq zq'"));
}
