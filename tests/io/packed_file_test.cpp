#include "qlora/io/packed_file.hpp"

#include <limits>
#include <string>
#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/formats.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

template <class F>
qlora::QuantizedMatrix<F> through_a_file(const test::TemporaryFolder& folder,
                                         const qlora::QuantizedMatrix<F>& w) {
  const auto path = folder / "w.safetensors";
  qlora::SafetensorsWriter file(path, qlora::packed_names<F>("a.weight", "it"));
  qlora::write_packed(file, "a.weight", "it", w, "bfloat16");
  file.commit();
  const qlora::Checkpoint read(path);
  const auto state = qlora::find_packed_state(read, "a.weight");
  REQUIRE(state);
  REQUIRE(state->packer == "qlora");
  REQUIRE(state->format == "it");
  REQUIRE(state->dtype == "bfloat16");
  return qlora::read_packed<F>(read, *state);
}

template <class F>
void round_trip(const test::TemporaryFolder& folder, Index rows, Index cols, Index block_size = 0) {
  const auto w = qlora::quantize<F>(test::normal_matrix(rows, cols, 9), {.block_size = block_size});
  const auto back = through_a_file(folder, w);
  REQUIRE(back.rows() == rows);
  REQUIRE(back.bytes() == w.bytes());
  REQUIRE(test::same_bits(qlora::dequantize(back), qlora::dequantize(w)));
}

using LearnedByRow =
    qlora::BlockFormat<qlora::Learned<3, qlora::OneTable::per_row>, 20, qlora::DoubleQuant<>>;

// A scale of a user's own: one number for the whole matrix.
struct OneScale {
  static constexpr double bits_per_scale = 0;
  struct View {
    float value = 0;
    float operator()(Index) const { return value; }
  };
  struct Storage {
    float value = 0;
    Index count = 0;
    View view() const { return {value}; }
    Index size() const { return count; }
    Index bytes() const { return 4; }
    template <class Archive>
    void describe(Archive& archive, Index blocks) {
      archive.number("scale", value);
      count = blocks;
    }
  };
  static Storage store(std::span<const float> references, float value = 1) {
    float largest = 0;
    for (const float r : references) largest = std::max(largest, r);
    return {largest / value, static_cast<Index>(references.size())};
  }
};

}  // namespace

TEST_CASE("every named format comes back from its file as it was") {
  const test::TemporaryFolder folder;
  test::for_each_format([&]<class F>(const std::string& name) {
    INFO(name);
    round_trip<F>(folder, 6, 320);
    round_trip<F>(folder, 3, 37);
    round_trip<F>(folder, 0, 5);
  });
}

TEMPLATE_TEST_CASE("a user's own formats come back too", "", QLORA_TEST_FORMATS, LearnedByRow,
                   (qlora::BlockFormat<test::Ternary, 20, OneScale>)) {
  const test::TemporaryFolder folder;
  round_trip<TestType>(folder, 5, 83);
}

TEST_CASE("the block size of a format that takes any comes back from the file") {
  const test::TemporaryFolder folder;
  round_trip<test::Int4Dynamic>(folder, 7, 96, 48);
}

TEST_CASE("a tensor that is not packed has no state") {
  const test::TemporaryFolder folder;
  const RowMatrixXf x = RowMatrixXf::Ones(2, 2);
  qlora::write_safetensors(folder / "w.safetensors", {{"a.weight", &x}, {"a.weights", &x}});
  REQUIRE(!qlora::find_packed_state(qlora::Checkpoint(folder / "w.safetensors"), "a.weight"));
}

TEST_CASE(
    "parts that are missing, too long, of another kind or another table are refused by name") {
  const test::TemporaryFolder folder;
  const auto w = qlora::quantize<qlora::formats::nf4_dq2>(test::normal_matrix(4, 640, 1));
  // Writes the parts of `w` but for what `change` does to one of them, and gives the refusal.
  struct Part {
    std::string dtype;
    std::vector<Index> shape;
    std::vector<std::byte> bytes;
  };
  const auto path = folder / "w.safetensors";
  {
    qlora::SafetensorsWriter file(path, qlora::packed_names<qlora::formats::nf4_dq2>("a", "x"));
    qlora::write_packed(file, "a", "x", w);
    file.commit();
  }
  const auto refusal = [&](const std::string& name, auto change) {
    std::map<std::string, Part> parts;
    {
      const qlora::SafetensorsFile whole(path);
      for (const auto& [key, t] : whole.tensors())
        parts[key] = {t.dtype, t.shape, {t.bytes.begin(), t.bytes.end()}};
    }
    change(parts, parts.at(name));
    std::vector<std::string> names;
    for (const auto& [key, part] : parts) names.push_back(key);
    qlora::SafetensorsWriter file(folder / "broken.safetensors", names);
    for (const auto& [key, part] : parts) file.add(key, part.dtype, part.shape, part.bytes);
    file.commit();
    return test::message_of<qlora::Error>([&] {
      const qlora::Checkpoint broken(folder / "broken.safetensors");
      const auto state = qlora::find_packed_state(broken, "a");
      if (!state) throw qlora::Error("no state");
      (void)qlora::read_packed<qlora::formats::nf4_dq2>(broken, *state);
    });
  };
  const auto text = [](Part& part, const std::string& json) {
    const auto bytes = std::as_bytes(std::span(json));
    part.bytes.assign(bytes.begin(), bytes.end());
    part.shape = {static_cast<Index>(json.size())};
  };
  const std::string state = "a.quant_state.qlora__x";
  const auto expect = [](const std::string& found, const std::string& part) {
    INFO(found);
    REQUIRE(test::contains(found, part));
  };
  for (const std::string part : {"a.absmax", "a.nested_absmax", "a.nested_nested_absmax",
                                 "a.quant_map", "a.nested_quant_map"})
    expect(refusal(part, [&](auto& parts, Part&) { parts.erase(part); }), "'" + part + "'");
  expect(refusal("a.absmax",
                 [](auto&, Part& part) {
                   part.bytes.push_back({});
                   part.shape = {static_cast<Index>(part.bytes.size())};
                 }),
         "a.absmax': expected 40 times 1 bytes of U8, found 41");
  expect(refusal("a.nested_absmax", [](auto&, Part& part) { part.dtype = "I8"; }), "of I8");
  expect(refusal("a.quant_map", [](auto&, Part& part) { part.bytes[0] ^= std::byte{1}; }),
         "not this format's");
  expect(refusal("a",
                 [](auto&, Part& part) {
                   part.bytes.pop_back();
                   part.shape = {static_cast<Index>(part.bytes.size())};
                 }),
         "expected 1280 bytes of codes");
  expect(refusal(state, [&](auto&, Part& part) { text(part, "{"); }), "broken.safetensors");
  expect(refusal(state, [&](auto&, Part& part) { text(part, "[1]"); }), "JSON object");
  expect(refusal(state, [&](auto&, Part& part) { text(part, R"({"shape":[4,640]})"); }),
         "blocksize");
  expect(
      refusal(state, [&](auto&, Part& part) { text(part, R"({"blocksize":0,"shape":[4,640]})"); }),
      "blocksize: expected 1 or more");
  expect(refusal(state,
                 [&](auto&, Part& part) { text(part, R"({"blocksize":64,"shape":[-4,640]})"); }),
         "whole number of 0 or more, found -4");
  expect(refusal(state,
                 [&](auto&, Part& part) {
                   text(part, R"({"blocksize":64,"shape":[4294967296,4294967296]})");
                 }),
         "out of range");
  expect(
      refusal(state, [&](auto&, Part& part) { text(part, R"({"blocksize":64,"shape":[4,640]})"); }),
      "nested_offset");
  expect(
      refusal(state, [&](auto&, Part& part) { text(part, R"({"blocksize":32,"shape":[4,640]})"); }),
      "block size of 64");
}

TEST_CASE("a table given at run time comes back with its matrix, and a broken one is refused") {
  using Mine = qlora::BlockFormat<qlora::RuntimeTable<3>, 16, qlora::DoubleQuant<>>;
  const test::TemporaryFolder folder;
  const auto w = qlora::quantize<Mine>(test::normal_matrix(5, 33, 2),
                                       std::vector<float>{-3.f, -1.f, 0.f, 0.5f, 2.f});
  const auto back = through_a_file(folder, w);
  REQUIRE(back.codebook().values == w.codebook().values);
  REQUIRE(test::same_bits(qlora::dequantize(back), qlora::dequantize(w)));
  auto table = w.codebook();
  table.values[3] = std::numeric_limits<float>::quiet_NaN();
  using Matrix = qlora::QuantizedMatrix<Mine>;
  REQUIRE_THROWS_AS(Matrix(w.codes(), w.scale(), 5, 33, 16, table), qlora::ShapeError);
}
