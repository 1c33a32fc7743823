#include "qlora/io/gguf_blocks.hpp"

#include <cmath>
#include <string>
#include <vector>

#include "qlora/io/gguf.hpp"
#include "qlora/io/sha256.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

std::vector<std::byte> bytes_of_hex(const std::string& text) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

qlora::GgufTypeId id_of(const std::string& name) {
  const auto layout = qlora::find_gguf_layout(name);
  REQUIRE(layout.has_value());
  return layout->id;
}

}  // namespace

TEST_CASE("every type decodes to the gguf package's values bit for bit") {
  const auto golden = test::golden("gguf_blocks.json");
  int types = 0;
  for (const auto& each : golden["cases"]) {
    const auto name = each["type"].get<std::string>();
    const auto packed = bytes_of_hex(each["packed"].get<std::string>());
    const auto expected = test::floats_of_bits(each["decoded"]);
    std::vector<float> decoded(expected.size());
    qlora::gguf_decode(id_of(name), packed, decoded);
    INFO(name);
    REQUIRE(test::same_bits(decoded.data(), expected.data(), static_cast<Index>(expected.size())));
    ++types;
  }
  REQUIRE(types == 13);
}

TEST_CASE("blocks become a matrix of the same values, whose blocks are the same bytes") {
  const auto golden = test::golden("gguf_blocks.json");
  int formats = 0;
  for (const auto& each : golden["cases"]) {
    const auto packed = bytes_of_hex(each["packed"].get<std::string>());
    const auto expected = test::floats_of_bits(each["decoded"]);
    const auto count = static_cast<Index>(expected.size());
    qlora::visit_gguf_format(id_of(each["type"].get<std::string>()), [&]<class F>() {
      ++formats;
      for (const Index cols : {count, Index{qlora::GgufTypeOf<F>::weights}}) {
        const auto w = qlora::from_gguf_blocks<F>(packed, count / cols, cols);
        const RowMatrixXf back = qlora::dequantize(w);
        for (Index i = 0; i < count; ++i)
          REQUIRE(back.data()[i] == expected[static_cast<std::size_t>(i)]);
        REQUIRE(qlora::to_gguf_blocks(w) == packed);
      }
    });
  }
  REQUIRE(formats == 13);
}

TEST_CASE("weights get the bytes that ggml's quantizers give them") {
  const auto golden = test::golden("gguf_blocks.json");
  const auto input = test::floats_of_bits(golden["input"]);
  const auto count = static_cast<Index>(input.size());
  int formats = 0;
  const auto compare = [&](const nlohmann::json& each) {
    qlora::visit_gguf_format(id_of(each["type"].get<std::string>()), [&]<class F>() {
      if (std::is_same_v<F, qlora::formats::iq4_nl> || std::is_same_v<F, qlora::formats::mxfp4>)
        return;  // of those the golden blocks are random
      ++formats;
      REQUIRE(qlora::to_gguf_blocks(qlora::quantize<F>(input.data(), 1, count)) ==
              bytes_of_hex(each["packed"].get<std::string>()));
    });
  };
  for (const auto& each : golden["five_bits"]) compare(each);
  for (const auto& each : golden["cases"])
    if (each["type"] == "Q4_0" || each["type"] == "Q4_1" || each["type"] == "Q8_0") compare(each);
  REQUIRE(formats == 5);
}

TEST_CASE("weights get the bytes that ggml itself gives them in the K types, or its values") {
  const auto golden = test::golden("ggml_quantized.json");
  const auto input = test::floats_of_bits(golden["input"]);
  const auto cols = golden["cols"].get<Index>();
  const auto rows = static_cast<Index>(input.size()) / cols;
  int formats = 0;
  for (const auto& [name, packed] : golden["types"].items())
    qlora::visit_gguf_format(id_of(name), [&]<class F>() {
      INFO(name);
      ++formats;
      const auto expected = bytes_of_hex(packed.template get<std::string>());
      const auto found = qlora::to_gguf_blocks(qlora::quantize<F>(input.data(), rows, cols));
      REQUIRE(found.size() == expected.size());
      int others = 0;
      for (std::size_t at = 0; at < found.size(); at += qlora::GgufTypeOf<F>::bytes) {
        if (std::equal(&found[at], &found[at] + qlora::GgufTypeOf<F>::bytes, &expected[at]))
          continue;
        // Of parts whose scale is 0, ggml leaves the codes as they were.
        float ours[256], ggmls[256];
        qlora::decode_gguf_block<F>(&found[at], ours);
        qlora::decode_gguf_block<F>(&expected[at], ggmls);
        REQUIRE(test::same_bits(ours, ggmls, 256));
        ++others;
      }
      REQUIRE(others <= 1);
    });
  REQUIRE(formats == 5);
}

TEST_CASE("rows move whole") {
  const RowMatrixXf x = test::normal_matrix(4, 64, 3);
  const auto w = qlora::quantize<qlora::formats::q4_0>(x);
  const auto bytes = qlora::to_gguf_blocks(w);
  const auto turned = qlora::from_gguf_blocks<qlora::formats::q4_0>(
      bytes, 4, 64, [](Index row) { return 3 - row; });
  const RowMatrixXf a = qlora::dequantize(w), b = qlora::dequantize(turned);
  for (Index row = 0; row < 4; ++row) REQUIRE(a.row(row) == b.row(3 - row));
  REQUIRE(qlora::to_gguf_blocks(turned, [](Index row) { return 3 - row; }) == bytes);
}

TEST_CASE("wrong sizes and scales that are not finite are refused") {
  const std::vector<std::byte> block(18);
  REQUIRE_THROWS_AS(qlora::from_gguf_blocks<qlora::formats::q4_0>(block, 2, 32),
                    qlora::FormatError);
  REQUIRE_THROWS_AS(qlora::from_gguf_blocks<qlora::formats::q4_0>(block, 1, 33),
                    qlora::FormatError);
  REQUIRE_THROWS_AS(
      qlora::from_gguf_blocks<qlora::formats::q4_0>(std::span(block).first(17), 1, 32),
      qlora::FormatError);
  auto infinite = block;
  infinite[1] = std::byte{0x7c};
  REQUIRE(test::contains(test::message_of<qlora::NumericError>([&] {
                           (void)qlora::from_gguf_blocks<qlora::formats::q4_0>(infinite, 1, 32);
                         }),
                         "row 0, block 0"));
  std::vector<std::byte> nan(17, std::byte{255});
  REQUIRE_THROWS_AS(qlora::from_gguf_blocks<qlora::formats::mxfp4>(nan, 1, 32),
                    qlora::NumericError);
  REQUIRE_THROWS_AS(
      qlora::to_gguf_blocks(qlora::quantize<qlora::formats::q4_0>(RowMatrixXf::Ones(2, 33))),
      qlora::ShapeError);
}

TEST_CASE("the model's own tensors decode to the gguf package's values") {
  if (!std::filesystem::exists(QLORA_TEST_MODEL)) {
    WARN("skipped: no " QLORA_TEST_MODEL);
    return;
  }
  const qlora::GgufFile model(QLORA_TEST_MODEL);
  const auto golden = test::golden("gguf_blocks.json")["model"];
  REQUIRE(golden.size() == 19);
  for (const auto& [name, hash] : golden.items()) {
    const RowMatrixXf w = model.dense(name);
    INFO(name);
    REQUIRE(qlora::sha256(std::as_bytes(std::span(w.data(), static_cast<std::size_t>(w.size()))))
                .substr(0, 16) == hash.get<std::string>());
  }
}
