#include "qlora/text/tokenizer.hpp"

#include <thread>

#include "qlora/text/tokenizer_gguf.hpp"
#include "qlora/text/tokenizer_json.hpp"
#include "support/files.hpp"
#include "support/golden.hpp"
#include "support/law.hpp"
#include "support/tiny_model.hpp"

namespace {

struct GgufPair {
  test::TemporaryFolder folder;
  qlora::GgufFile file;
  qlora::Tokenizer tokenizer;
  explicit GgufPair(const test::TinyModel& model = {})
      : file(folder.write("m.gguf", model.bytes())), tokenizer(qlora::tokenizer_data(file)) {}

  std::vector<std::string> pieces(std::string_view text) const {
    std::vector<std::string> all;
    for (const auto id : tokenizer.encode(text)) all.push_back(tokenizer.piece(id));
    return all;
  }
};

}  // namespace

TEST_CASE("pairs of lowest rank merge first, within words only, and digits stay alone") {
  const GgufPair m;
  REQUIRE(m.pieces("the the") == std::vector<std::string>{"the", " the"});
  REQUIRE(m.pieces("thin") == std::vector<std::string>{"th", "in"});
  REQUIRE(m.pieces("12") ==
          std::vector<std::string>{"1", "2"});  // "1 2" is a merge, but smollm splits digits
  test::TinyModel gpt2;
  gpt2.pre = "gpt-2";
  REQUIRE(GgufPair(gpt2).pieces("12") == std::vector<std::string>{"12"});
}

TEST_CASE("special tokens are recognized in plain text and never inside what encode_plain gets") {
  const GgufPair m;
  REQUIRE(m.pieces("a<|im_end|>b") == std::vector<std::string>{"a", "<|im_end|>", "b"});
  for (const auto id : m.tokenizer.encode_plain("a<|im_end|>b"))
    REQUIRE_FALSE(m.tokenizer.is_special(id));
  REQUIRE(m.tokenizer.special("<|im_end|>") == 2);
  REQUIRE_THROWS_AS(m.tokenizer.special("<|none|>"), qlora::FormatError);
}

TEST_CASE("decoding gives back any valid text, and any bytes repaired") {
  const GgufPair m;
  test::law("round trip", [&](const std::string& bytes) {
    const std::string valid = qlora::repair_utf8(bytes);
    RC_ASSERT(m.tokenizer.decode(m.tokenizer.encode(bytes)) == valid);
    RC_ASSERT(m.tokenizer.decode(m.tokenizer.encode_plain(bytes)) == valid);
  });
  REQUIRE(m.tokenizer.decode(m.tokenizer.encode("x<|im_end|>"), true) == "x");
}

TEST_CASE("an id without a token stands for nothing, as in models with a padded vocabulary") {
  const GgufPair m;
  const auto beyond = static_cast<qlora::Token>(m.tokenizer.size());
  REQUIRE(m.tokenizer.piece(beyond).empty());
  REQUIRE(m.tokenizer.decode(std::vector<qlora::Token>{100000, 2}) == "<|im_end|>");
  REQUIRE_FALSE(m.tokenizer.is_special(beyond));
  REQUIRE_FALSE(m.tokenizer.is_special(-1));
  REQUIRE_THROWS_AS(m.tokenizer.piece(-1), qlora::ShapeError);
}

TEST_CASE("ids are those of Hugging Face's tokenizers") {
  const auto golden = test::golden("tokenizers.json");
  const auto texts = golden["texts"].get<std::vector<std::string>>();
  REQUIRE(golden["cases"].size() > 15);
  for (const auto& each : golden["cases"]) {
    auto json = golden["base"];
    for (const auto& [key, value] : each["change"].items()) {
      if (key == "model") {
        json[key].update(value);
      } else {
        json[key] = value;
      }
    }
    const qlora::Tokenizer tokenizer(qlora::read_tokenizer_json("t.json", json.dump()));
    for (std::size_t i = 0; i < texts.size(); ++i) {
      INFO(each["name"] << ": " << texts[i]);
      const auto ids = each["ids"][i].get<std::vector<std::vector<qlora::Token>>>();
      CHECK(tokenizer.encode(texts[i]) == ids[0]);
      CHECK(tokenizer.encode_document(texts[i]) == ids[1]);
      CHECK(tokenizer.encode_plain(texts[i]) == ids[2]);
    }
  }
}

TEST_CASE("threads share one tokenizer") {
  const GgufPair m;
  std::string text;
  for (int i = 0; i < 300; ++i) text += "the thin 12 <|im_end|> Ж🚀 ";
  const auto expected = m.tokenizer.encode(text), plain = m.tokenizer.encode_plain(text);
  std::vector<std::vector<qlora::Token>> found(8);
  {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < found.size(); ++i)
      threads.emplace_back([&, i] {
        for (int j = 0; j < 5; ++j)
          found[i] = i % 2 == 0 ? m.tokenizer.encode(text) : m.tokenizer.encode_plain(text);
      });
    for (auto& thread : threads) thread.join();
  }
  for (std::size_t i = 0; i < found.size(); ++i)
    REQUIRE(found[i] == (i % 2 == 0 ? expected : plain));
}

TEST_CASE("long words take no quadratic time") {
  const GgufPair m;
  REQUIRE(m.tokenizer.encode(std::string(1 << 20, 'h')).size() == std::size_t{1} << 20);
}
