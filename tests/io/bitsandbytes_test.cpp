#include "qlora/io/bitsandbytes.hpp"

#include <string>
#include <type_traits>
#include <vector>

#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

template <class C, class S>
using AnySize = qlora::BlockFormat<C, qlora::any_size, S>;

template <class F>
void write(const std::filesystem::path& path, const qlora::QuantizedMatrix<F>& w) {
  qlora::SafetensorsWriter file(path, qlora::bitsandbytes_names<F>("a.weight"));
  qlora::write_bitsandbytes(file, "a.weight", w);
  file.commit();
}

// What comes back, decoded, and whether it came in format F.
template <class F>
RowMatrixXf read_as(const std::filesystem::path& path, std::string* warning = nullptr) {
  const qlora::Checkpoint file(path);
  const auto state = qlora::find_packed_state(file, "a.weight");
  REQUIRE(state);
  RowMatrixXf dense;
  bool same = false;
  qlora::read_bitsandbytes(
      file, *state,
      [&]<class G>(const qlora::QuantizedMatrix<G>& w) {
        same = std::is_same_v<F, G>;
        dense = qlora::dequantize(w);
      },
      [&](const std::string& text) {
        if (warning) *warning = text;
      });
  REQUIRE(same);
  return dense;
}

// The file's tensors with some of them changed, written again.
template <class Change>
void rewrite(const std::filesystem::path& from, const std::filesystem::path& to, Change&& change) {
  const qlora::SafetensorsFile file(from);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : file.tensors()) names.push_back(name);
  qlora::SafetensorsWriter written(to, names);
  for (const auto& [name, tensor] : file.tensors()) {
    std::vector<std::byte> bytes(tensor.bytes.begin(), tensor.bytes.end());
    std::vector<Index> shape = tensor.shape;
    change(name, bytes, shape);
    written.add(name, tensor.dtype, shape, bytes);
  }
  written.commit();
}

void set_text(std::vector<std::byte>& bytes, std::vector<Index>& shape, const std::string& text) {
  const auto view = std::as_bytes(std::span(text));
  bytes.assign(view.begin(), view.end());
  shape = {static_cast<Index>(text.size())};
}

}  // namespace

TEMPLATE_TEST_CASE("what is written is read in the same format, bit for bit", "",
                   qlora::formats::nf4, qlora::formats::nf4_dq, qlora::formats::fp4,
                   qlora::formats::fp4_dq, (AnySize<qlora::NF4, qlora::FloatScale<float>>),
                   (AnySize<qlora::FP4, qlora::DoubleQuant<>>)) {
  const test::TemporaryFolder folder;
  for (const Index rows : {1, 3, 40}) {
    const auto w = qlora::quantize<TestType>(
        test::normal_matrix(rows, 321, 2),
        {.block_size = TestType::block_size == qlora::any_size ? 128 : 0});
    write(folder / "w.safetensors", w);
    REQUIRE(test::same_bits(read_as<TestType>(folder / "w.safetensors"), qlora::dequantize(w)));
  }
}

TEST_CASE("the tensors have bitsandbytes' names, types and shapes") {
  const test::TemporaryFolder folder;
  write(folder / "w.safetensors",
        qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(8, 128, 1)));
  const qlora::SafetensorsFile file(folder / "w.safetensors");
  const auto expect = [&](const std::string& name, const std::string& dtype,
                          const std::vector<Index>& shape) {
    REQUIRE(file.tensor("a.weight" + name).dtype == dtype);
    REQUIRE(file.tensor("a.weight" + name).shape == shape);
  };
  REQUIRE(file.tensors().size() == 6);
  expect("", "U8", {512, 1});
  expect(".absmax", "U8", {16});
  expect(".quant_map", "F32", {16});
  expect(".nested_absmax", "F32", {1});
  expect(".nested_quant_map", "F32", {256});
  const auto& state = file.tensor("a.weight.quant_state.bitsandbytes__nf4");
  const auto json = nlohmann::json::parse(
      std::string(reinterpret_cast<const char*>(state.bytes.data()), state.bytes.size()));
  REQUIRE(json["quant_type"] == "nf4");
  REQUIRE(json["blocksize"] == 64);
  REQUIRE(json["shape"] == std::vector<int>{8, 128});
  REQUIRE(json["nested_blocksize"] == 256);
  REQUIRE(json["nested_dtype"] == "float32");
  REQUIRE(json.contains("nested_offset"));
}

TEST_CASE("a quant_map of another's becomes a run-time codebook, with a warning") {
  const test::TemporaryFolder folder;
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(8, 128, 1));
  write(folder / "w.safetensors", w);
  rewrite(folder / "w.safetensors", folder / "own.safetensors",
          [](const std::string& name, auto& bytes, auto&) {
            const float two = 2;
            if (name == "a.weight.quant_map") std::memcpy(bytes.data() + 15 * 4, &two, 4);
          });
  std::string warning;
  const auto dense = read_as<AnySize<qlora::Learned<4>, qlora::FloatScale<float>>>(
      folder / "own.safetensors", &warning);
  REQUIRE(test::contains(warning, "quant_map"));
  const RowMatrixXf before = qlora::dequantize(w);
  for (Index i = 0; i < dense.size(); ++i) {
    const bool last = qlora::read_code<4>(w.codes().data(), i) == 15;
    REQUIRE(dense.data()[i] == (last ? 2 : 1) * before.data()[i]);
  }
}

TEST_CASE("scales nested in another way are decoded to float, with the same values") {
  const test::TemporaryFolder folder;
  const auto w = qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(64, 256, 1));
  write(folder / "w.safetensors", w);
  using Floats = qlora::BlockFormat<qlora::NF4, 64, qlora::FloatScale<float>>;
  // The same map but for a value that no code uses here: -1 times nested_absmax is met or not.
  rewrite(folder / "w.safetensors", folder / "map.safetensors",
          [&](const std::string& name, auto& bytes, auto&) {
            if (name != "a.weight.nested_quant_map") return;
            std::vector<bool> used(256);
            for (const auto code : w.scale().codes) used[code] = true;
            std::size_t free = 0;
            while (used[free]) ++free;
            const float other = 0.123f;
            std::memcpy(bytes.data() + 4 * free, &other, 4);
          });
  REQUIRE(test::same_bits(read_as<Floats>(folder / "map.safetensors"), qlora::dequantize(w)));
  // Blocks of 128: each nested scale twice.
  rewrite(folder / "w.safetensors", folder / "size.safetensors",
          [&](const std::string& name, auto& bytes, auto& shape) {
            if (name == "a.weight.nested_absmax") {
              bytes.insert(bytes.end(), bytes.begin(), bytes.end());
              shape = {2};
            }
            if (name.find("quant_state") != std::string::npos) {
              std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
              text.replace(text.find("\"nested_blocksize\":256"), 22, "\"nested_blocksize\":128");
              set_text(bytes, shape, text);
            }
          });
  REQUIRE(w.scale().codes.size() == 256);
  REQUIRE(test::same_bits(read_as<Floats>(folder / "size.safetensors"), qlora::dequantize(w)));
}

TEST_CASE("codes stored as another element type are the same bytes") {
  const test::TemporaryFolder folder;
  const auto w = qlora::quantize<qlora::formats::nf4>(test::normal_matrix(8, 128, 1));
  qlora::SafetensorsWriter file(folder / "w.safetensors",
                                qlora::bitsandbytes_names<qlora::formats::nf4>("a.weight"));
  write(folder / "u8.safetensors", w);
  const qlora::SafetensorsFile plain(folder / "u8.safetensors");
  for (const auto& [name, tensor] : plain.tensors()) {
    if (name == "a.weight") {
      file.add(name, "BF16", {256, 1}, tensor.bytes);
    } else {
      file.add(name, tensor.dtype, tensor.shape, tensor.bytes);
    }
  }
  file.commit();
  REQUIRE(test::same_bits(read_as<qlora::formats::nf4>(folder / "w.safetensors"),
                          qlora::dequantize(w)));
}

TEST_CASE("broken weights are refused by file and tensor") {
  const test::TemporaryFolder folder;
  write(folder / "w.safetensors",
        qlora::quantize<qlora::formats::nf4_dq>(test::normal_matrix(8, 128, 1)));
  const auto refusal = [&](const std::string& part, auto change) {
    rewrite(folder / "w.safetensors", folder / "broken.safetensors",
            [&](const std::string& name, auto& bytes, auto& shape) {
              if (name == part) change(bytes, shape);
            });
    const qlora::Checkpoint file(folder / "broken.safetensors");
    return test::message_of<qlora::Error>([&] {
      const auto state = qlora::find_packed_state(file, "a.weight");
      qlora::read_bitsandbytes(file, state.value(), [](auto&&) {});
    });
  };
  const auto drop = [](auto& bytes, auto& shape) {
    bytes.resize(bytes.size() - 4);
    shape = {shape[0] - 1};
  };
  const std::string state = "a.weight.quant_state.bitsandbytes__nf4";
  REQUIRE(test::contains(refusal("a.weight.quant_map", drop), "quant_map"));
  REQUIRE(test::contains(refusal("a.weight.nested_absmax", drop), "nested_absmax"));
  REQUIRE(test::contains(refusal("a.weight.nested_quant_map", drop), "nested_quant_map"));
  REQUIRE(test::contains(refusal("a.weight.quant_map",
                                 [](auto& bytes, auto&) {
                                   const std::uint32_t nan = 0x7fc00000;
                                   std::memcpy(bytes.data(), &nan, 4);
                                 }),
                         "finite"));
  REQUIRE(test::contains(refusal(state,
                                 [](auto& bytes, auto& shape) {
                                   set_text(bytes, shape, R"({"blocksize":64,"shape":[8,128]})");
                                 }),
                         "nested_offset"));
  REQUIRE(test::contains(
      refusal(state,
              [](auto& bytes, auto& shape) {
                set_text(bytes, shape,
                         R"({"blocksize":64,"shape":[8,128],"nested_blocksize":"many"})");
              }),
      "broken.safetensors"));
}
