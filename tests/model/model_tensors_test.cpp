#include "qlora/model/model_tensors.hpp"

#include <algorithm>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"
#include "support/tiny_folder.hpp"

using qlora::ModelFile;
using qlora::ModelTensor;

namespace {

struct TinyTensors {
  test::TemporaryFolder folder;
  std::filesystem::path gguf = folder.write("m.gguf", test::TinyModel().bytes());
};

const ModelTensor& named(const std::vector<ModelTensor>& tensors, const std::string& name) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const auto& t) { return t.name == name; });
  REQUIRE(found != tensors.end());
  return *found;
}

}  // namespace

TEST_CASE("a GGUF file and a folder of its weights have the same tensors, each by its own name") {
  const TinyTensors tiny;
  const ModelFile file(tiny.gguf);
  test::write_float_folder(tiny.folder / "hf", *file.gguf);
  const ModelFile folder(tiny.folder / "hf");
  const auto ours = file.tensors(), theirs = folder.tensors();
  REQUIRE(ours.size() == theirs.size());
  for (const ModelTensor& tensor : ours) {
    const ModelTensor& other = named(theirs, qlora::hugging_face_name(tensor.name).value());
    REQUIRE(other.shape == tensor.shape);
    REQUIRE(other.dtype == "F32");
    REQUIRE(other.size == tensor.size);
    if (tensor.name.find("attn_q.") == std::string::npos &&
        tensor.name.find("attn_k.") == std::string::npos)  // whose rows are in another order
      REQUIRE(test::same_bits(other.dense(), tensor.dense()));
  }
}

TEST_CASE("a packed weight is one tensor, with the size of all its parts and its floats") {
  const TinyTensors tiny;
  const qlora::GgufSource source(tiny.gguf);
  test::write_packed_folder<qlora::formats::nf4_dq>(tiny.folder / "dq", source, "nf4-dq");
  const ModelFile folder(tiny.folder / "dq");
  const auto tensors = folder.tensors();
  REQUIRE(tensors.size() == source.file().tensors().size());
  const ModelTensor& up = named(tensors, "model.layers.0.mlp.up_proj.weight");
  REQUIRE(up.dtype == "packed");
  REQUIRE(up.shape == std::vector<qlora::Index>{48, 32});
  REQUIRE(up.size > up.bytes.size());
  const auto dense = source.dense("model.layers.0.mlp.up_proj.weight");
  REQUIRE(test::same_bits(up.dense(),
                          qlora::dequantize(qlora::quantize<qlora::formats::nf4_dq>(dense))));
}

TEST_CASE("matrices of numbered layers are weights of linear layers; tables and norms are not") {
  const TinyTensors tiny;
  const ModelFile file(tiny.gguf);
  const auto tensors = file.tensors();
  const qlora::LinearWeights linear(tensors);
  for (const ModelTensor& tensor : tensors) {
    const bool layer = tensor.name.starts_with("blk.");
    const bool norm = tensor.name.find("norm") != std::string::npos;
    INFO(tensor.name);
    REQUIRE(linear.contains(tensor) == (layer && !norm));
  }
  const auto matrix = [](const std::string& name) {
    return ModelTensor{name, {2, 2}, "F32", 16, {}, [] { return qlora::RowMatrixXf(2, 2); }};
  };
  // Without numbered layers every matrix but a table counts.
  const std::vector<ModelTensor> flat{matrix("fc.weight"), matrix("wte.weight"), matrix("w")};
  const qlora::LinearWeights of_flat(flat);
  REQUIRE(of_flat.contains(flat[0]));
  REQUIRE(!of_flat.contains(flat[1]));
  REQUIRE(of_flat.contains(flat[2]));
  REQUIRE(qlora::LinearWeights::parts_of("blk.0.attn_q") ==
          std::vector<std::string>{"blk", "0", "attn_q"});
}

TEST_CASE("what is no model's file is an error") {
  const test::TemporaryFolder folder;
  REQUIRE_THROWS_AS(ModelFile(folder / "none.gguf"), qlora::IoError);
  REQUIRE_THROWS_AS(ModelFile(folder.write("x.gguf", "text")), qlora::FormatError);
  REQUIRE_THROWS_AS(ModelFile(folder.write("x.safetensors", "text")), qlora::Error);
}
