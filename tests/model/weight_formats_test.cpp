// Loading with a list of formats of one's own.
#include "qlora/model/weight_formats.hpp"

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/model/open_model.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/load.hpp"
#include "support/numbers.hpp"
#include "support/tiny_folder.hpp"

using qlora::RowMatrixXf;

namespace {

struct Ternary {
  static constexpr std::array values{-1.f, 0.f, 1.f};
};
using Tern32 = qlora::BlockFormat<Ternary, 32, qlora::FloatScale<float>>;

}  // namespace

template <>
inline constexpr std::string_view qlora::format_name<Tern32> = "tern32";

namespace {

using Own = qlora::FormatList<Tern32, qlora::formats::nf4_dq>;
const std::vector<qlora::Token> six_tokens{70, 100, 3, 250, 70, 71};

}  // namespace

TEST_CASE("a model is quantized to a format of the user's own, found by its name") {
  const test::TinyFile tiny;
  const auto source = qlora::open_model<Own>(tiny.path);
  const qlora::Llama<> model = qlora::load_llama(*source, {.format = "tern32"});
  const std::string name = qlora::projection_weight_name(1, qlora::up_proj);
  const RowMatrixXf expected = qlora::dequantize(qlora::quantize<Tern32>(tiny.source.dense(name)));
  const auto& base = model.blocks[1].projections[qlora::up_proj].base();
  REQUIRE(test::same_bits(base.rows_of(0, base.rows()), expected));
}

TEST_CASE("a format of the library gives the same bits from a short list") {
  const test::TinyFile tiny;
  const auto few = qlora::load_llama(*qlora::open_model<Own>(tiny.path), {.format = "nf4-dq"});
  const auto all = qlora::load_llama(tiny.path, {.format = "nf4-dq"});
  REQUIRE(test::same_bits(few.logits(six_tokens), all.logits(six_tokens)));
}

TEST_CASE("a format that is not in the list is refused with those that are") {
  const test::TinyFile tiny;
  const auto source = qlora::open_model<Own>(tiny.path);
  const auto text = test::message_of<qlora::OptionError>(
      [&] { (void)qlora::load_llama(*source, {.format = "nf4"}); });
  REQUIRE(text == "format 'nf4': expected one of tern32, nf4-dq");
}

TEST_CASE("a GGUF tensor of a type that is not in the list becomes the same floats") {
  const test::TinyFile tiny;
  test::write_packed_gguf<qlora::formats::q4_0>(tiny.folder / "p.gguf", tiny.source.file());
  const qlora::GgufSource all(tiny.folder / "p.gguf");
  const qlora::GgufSource few(tiny.folder / "p.gguf", qlora::weight_formats<Own>);
  const std::string name = qlora::projection_weight_name(0, qlora::q_proj);
  const auto packed = all.as_is(name, {}), floats = few.as_is(name, {});
  REQUIRE(floats.bytes() == floats.rows() * floats.cols() * 4);
  REQUIRE(packed.bytes() < floats.bytes() / 4);
  REQUIRE(test::same_bits(floats.rows_of(0, floats.rows()), packed.rows_of(0, packed.rows())));
}

TEST_CASE("a packed weight of a folder whose format is not in the list is refused by name") {
  const test::TinyFile tiny;
  test::write_packed_folder<qlora::formats::fp4>(tiny.folder / "fp4", tiny.source, "fp4");
  test::write_packed_folder<qlora::formats::nf3>(tiny.folder / "nf3", tiny.source, "nf3");
  for (const std::string format : {"fp4", "nf3"}) {
    const auto source = qlora::open_model<Own>(tiny.folder / format);
    const auto text = test::message_of<qlora::FormatError>(
        [&] { (void)qlora::load_llama(*source, {.format = "as-is"}); });
    INFO(text);
    REQUIRE(test::contains(text, format));
    REQUIRE(test::contains(text, "tern32, nf4-dq"));
    REQUIRE(test::contains(text, "model.safetensors"));
  }
}

TEST_CASE("packed weights in a format of the list load as they are") {
  const test::TinyFile tiny;
  test::write_packed_folder<qlora::formats::nf4_dq>(tiny.folder / "dq", tiny.source, "nf4-dq");
  test::write_packed_folder<Tern32>(tiny.folder / "own", tiny.source, "tern32");
  const auto logits = [&](const char* folder, const char* format) {
    return qlora::load_llama(*qlora::open_model<Own>(tiny.folder / folder), {.format = format})
        .logits(six_tokens);
  };
  REQUIRE(test::same_bits(logits("dq", "as-is"), logits("m.gguf", "nf4-dq")));
  REQUIRE(test::same_bits(logits("own", "as-is"), logits("m.gguf", "tern32")));
}
