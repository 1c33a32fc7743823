#include "qlora/model/write_model.hpp"

#include <algorithm>

#include "qlora/quant/quantize.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"
#include "support/tiny_folder.hpp"

using qlora::ModelFile;
using qlora::ModelTensor;
using qlora::RowMatrixXf;

namespace {

struct TinyWritten {
  test::TemporaryFolder folder;
  std::filesystem::path gguf = folder.write("m.gguf", test::TinyModel().bytes());
  ModelFile input{gguf};

  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(
        std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator{}));
  }
};

bool is_packed(const ModelTensor& tensor) {
  return tensor.name.find("ffn_") != std::string::npos && tensor.shape.size() == 2;
}

// Writes all tensors, those of the feed-forward in format F.
template <class F, class Writer>
void write(const ModelFile& input, Writer& output, const std::string& format,
           const nlohmann::json& quantization = nullptr) {
  const auto tensors = input.tensors();
  for (const ModelTensor& tensor : tensors)
    if (is_packed(tensor)) {
      output.template plan_packed<F>(tensor, format);
    } else {
      output.plan_copy(tensor);
    }
  output.open();
  REQUIRE(std::filesystem::exists(output.temporary()));
  for (const ModelTensor& tensor : tensors)
    if (is_packed(tensor)) {
      const auto w = qlora::quantize<F>(output.weights(tensor));
      REQUIRE(output.template write_packed<F>(tensor, format, w) ==
              static_cast<std::size_t>(w.bytes()));
    } else {
      REQUIRE(output.copy(tensor) == tensor.size);
    }
  output.commit(quantization);
}

}  // namespace

TEST_CASE("a folder made from a GGUF file holds the same weights, copied and packed") {
  const TinyWritten tiny;
  {
    qlora::SafetensorsModelWriter output(tiny.input, tiny.folder / "out",
                                         {.whole_model = true, .packs = true});
    write<qlora::formats::nf4>(tiny.input, output, "nf4",
                               qlora::quantization_config("nf4", 64, {}, {"lm_head"}));
  }
  const qlora::FolderSource made(tiny.folder / "out");
  for (const auto& name : made.weights()) {
    const RowMatrixXf original = tiny.input.gguf->dense(name), written = made.dense(name);
    INFO(name);
    if (name.find(".mlp.") == std::string::npos) {
      REQUIRE(test::same_bits(written, original));
    } else {
      REQUIRE(test::same_bits(written,
                              qlora::dequantize(qlora::quantize<qlora::formats::nf4>(original))));
    }
  }
  const auto& quantization = made.config_json().at("quantization_config");
  REQUIRE(quantization.at("quant_method") == "bitsandbytes");
  REQUIRE(quantization.at("bnb_4bit_quant_type") == "nf4");
  REQUIRE(quantization.at("bnb_4bit_use_double_quant") == false);
  REQUIRE(tiny.files() == 2);
}

TEST_CASE("a format of this library is written under its name and read back") {
  const TinyWritten tiny;
  {
    qlora::SafetensorsModelWriter output(tiny.input, tiny.folder / "nf3.safetensors",
                                         {.packs = true});
    write<qlora::formats::nf3>(tiny.input, output, "nf3");
  }
  const qlora::Checkpoint made(tiny.folder / "nf3.safetensors");
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const auto state = qlora::find_packed_state(made, name);
  REQUIRE(state);
  REQUIRE(state->format == "nf3");
  REQUIRE(test::same_bits(
      qlora::decode_packed(made, *state),
      qlora::dequantize(qlora::quantize<qlora::formats::nf3>(tiny.input.gguf->dense(name)))));
}

TEST_CASE("a GGUF file made from a folder has GGUF's names and order of rows") {
  const TinyWritten tiny;
  test::write_float_folder(tiny.folder / "hf", *tiny.input.gguf);
  const ModelFile folder(tiny.folder / "hf");
  qlora::GgufModelWriter output(folder, tiny.folder / "out.gguf", {});
  const auto tensors = folder.tensors();
  for (const auto& tensor : tensors) output.plan_copy(tensor);
  output.open();
  for (const auto& tensor : tensors) output.copy(tensor);
  output.commit({});
  const qlora::GgufFile written((tiny.folder / "out.gguf").string());
  REQUIRE(written.tensors().size() == tiny.input.gguf->file().tensors().size());
  for (const auto& [name, tensor] : tiny.input.gguf->file().tensors())
    REQUIRE(test::same_bits(written.dense(name), tiny.input.gguf->file().dense(name)));
}

TEST_CASE(
    "a single safetensors file becomes a GGUF file of the same names; what is no float is left "
    "out") {
  const test::TemporaryFolder folder;
  const RowMatrixXf weight = test::normal_matrix(4, 32, 1);
  {
    qlora::SafetensorsWriter file(folder / "m.safetensors",
                                  {"model.layers.0.self_attn.q_proj.weight", "position_ids"});
    file.add("model.layers.0.self_attn.q_proj.weight", weight);
    file.add("position_ids", "I64", {2}, std::vector<std::byte>(16));
    file.commit();
  }
  std::vector<ModelFile> inputs;
  inputs.emplace_back(folder / "m.safetensors");
  std::vector<std::string> warnings;
  qlora::GgufModelWriter output(
      inputs[0], folder / "m.gguf",
      {.warn = [&](const std::string& text) { warnings.push_back(text); }});
  for (const auto& tensor : inputs[0].tensors()) output.plan_copy(tensor);
  output.open();
  for (const auto& tensor : inputs[0].tensors()) output.copy(tensor);
  output.commit({});
  REQUIRE(warnings == std::vector<std::string>{"tensor 'position_ids': I64 data is left out"});
  const qlora::GgufFile written((folder / "m.gguf").string());
  REQUIRE(written.tensors().size() == 1);
  REQUIRE(test::same_bits(written.dense("model.layers.0.self_attn.q_proj.weight"), weight));
}

TEST_CASE("blocks of a GGUF file go to a GGUF file in a type of GGUF") {
  const TinyWritten tiny;
  test::TinyModel whole_blocks;
  whole_blocks.hidden = 64;
  const ModelFile input(tiny.folder.write("w.gguf", whole_blocks.bytes()));
  qlora::GgufModelWriter output(input, tiny.folder / "out.gguf", {});
  write<qlora::formats::q8_0>(input, output, "q8_0");
  const qlora::GgufFile written((tiny.folder / "out.gguf").string());
  for (const ModelTensor& tensor : input.tensors()) {
    const RowMatrixXf expected =
        is_packed(tensor) ? qlora::dequantize(qlora::quantize<qlora::formats::q8_0>(tensor.dense()))
                          : tensor.dense();
    REQUIRE(test::same_bits(written.dense(tensor.name), expected));
  }
}

TEST_CASE("copied floats take another type when it is asked for") {
  const TinyWritten tiny;
  qlora::SafetensorsModelWriter output(tiny.input, tiny.folder / "half.safetensors",
                                       {.copied = qlora::CopiedType::bfloat16});
  const auto tensors = tiny.input.tensors();
  for (const auto& tensor : tensors) output.plan_copy(tensor);
  output.open();
  for (const auto& tensor : tensors) REQUIRE(output.copy(tensor) == tensor.size / 2);
  output.commit(nullptr);
  const qlora::Checkpoint written(tiny.folder / "half.safetensors");
  REQUIRE(written.tensor("model.norm.weight").dtype == "BF16");
}

TEST_CASE("config.json names the type that most of the copied weights have") {
  const auto dtype_of = [](const ModelFile& input, qlora::CopiedType copied) {
    const test::TemporaryFolder folder;
    qlora::SafetensorsModelWriter output(input, folder / "out",
                                         {.whole_model = true, .copied = copied});
    const auto tensors = input.tensors();
    for (const auto& tensor : tensors) output.plan_copy(tensor);
    output.open();
    for (const auto& tensor : tensors) output.copy(tensor);
    output.commit(nullptr);
    return qlora::FolderSource(folder / "out").config_json().at("torch_dtype").get<std::string>();
  };
  const TinyWritten tiny;
  REQUIRE(dtype_of(tiny.input, qlora::CopiedType::as_it_is) == "float32");
  REQUIRE(dtype_of(tiny.input, qlora::CopiedType::float16) == "float16");
  test::write_float_folder(tiny.folder / "hf", *tiny.input.gguf);
  const ModelFile folder(tiny.folder / "hf");
  REQUIRE(dtype_of(folder, qlora::CopiedType::bfloat16) == "bfloat16");
}

TEST_CASE("without commit nothing is left, and an earlier folder stays unless it is replaced") {
  const TinyWritten tiny;
  const auto begin = [&](const std::filesystem::path& target, qlora::WriteModelOptions options) {
    qlora::SafetensorsModelWriter output(tiny.input, target, std::move(options));
    for (const auto& tensor : tiny.input.tensors()) output.plan_copy(tensor);
    output.open();
    REQUIRE(tiny.files() > 1);
  };
  begin(tiny.folder / "out", {.whole_model = true});
  begin(tiny.folder / "out.safetensors", {});
  REQUIRE(tiny.files() == 1);
  std::filesystem::create_directory(tiny.folder / "out");
  tiny.folder.write("out/old", "kept");
  REQUIRE_THROWS_AS(begin(tiny.folder / "out", {.whole_model = true}), qlora::IoError);
  begin(tiny.folder / "out", {.whole_model = true, .existing = qlora::Existing::replace});
  REQUIRE(std::filesystem::exists(tiny.folder / "out/old"));
  REQUIRE(tiny.files() == 2);
}

TEST_CASE("what has no place in the other kind of file is named") {
  const TinyWritten tiny;
  auto builder = test::TinyModel().builder();
  builder.tensor("rope_freqs.weight", test::normal_matrix(1, 8, 1, 1.0));
  const ModelFile scaled(tiny.folder.write("scaled.gguf", builder.bytes()));
  REQUIRE_THROWS_WITH(qlora::SafetensorsModelWriter(scaled, tiny.folder / "out",
                                                    qlora::WriteModelOptions{.whole_model = true}),
                      test::contains("rope_freqs.weight"));
  REQUIRE(!std::filesystem::exists(tiny.folder / "out"));
}

TEST_CASE("an adapter in a model's folder is warned of, and its configuration is not copied") {
  const TinyWritten tiny;
  test::write_float_folder(tiny.folder / "hf", *tiny.input.gguf);
  tiny.folder.write("hf/adapter_config.json", "{}");
  tiny.folder.write("hf/LICENSE", "free");
  std::vector<std::string> said;
  const qlora::Warn warn = [&](const std::string& text) { said.push_back(text); };
  const ModelFile folder(tiny.folder / "hf");
  (void)qlora::require_llama_weights(*folder.folder, warn);
  REQUIRE(said.size() == 1);
  REQUIRE_THAT(said[0], test::contains("hf/adapter_config.json") && test::contains("left out"));
  qlora::SafetensorsModelWriter output(folder, tiny.folder / "out", {.whole_model = true});
  write<qlora::formats::nf4>(folder, output, "nf4");
  REQUIRE(std::filesystem::exists(tiny.folder / "out/LICENSE"));
  REQUIRE(!std::filesystem::exists(tiny.folder / "out/adapter_config.json"));
}
