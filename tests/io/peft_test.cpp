#include "qlora/io/peft.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXf;

namespace {

struct Adapter {
  qlora::Parameter<> a{"model.layers.0.self_attn.q_proj.lora_A.weight", 2, 5};
  qlora::Parameter<> b{"model.layers.0.self_attn.q_proj.lora_B.weight", 4, 2};
  qlora::ParameterList<> list() { return {&a, &b}; }
};

}  // namespace

TEST_CASE("an adapter is written in PEFT's layout and read back bit for bit") {
  const test::TemporaryFolder folder;
  Adapter written, read;
  written.a.value = test::normal_matrix(2, 5, 1);
  written.b.value = test::normal_matrix(4, 2, 2);
  qlora::write_adapter(folder.path(),
                       {.rank = 2,
                        .alpha = 8,
                        .dropout = 0.25,
                        .target_modules = {"q_proj"},
                        .base_model = "m.gguf"},
                       written.list());
  const auto json = qlora::read_json_file(folder / "adapter_config.json");
  REQUIRE(json["peft_type"] == "LORA");
  REQUIRE(json["r"] == 2);
  REQUIRE(json["lora_alpha"] == 8.0);
  REQUIRE(json["target_modules"] == nlohmann::json{"q_proj"});
  const qlora::SafetensorsFile file(folder / "adapter_model.safetensors");
  REQUIRE(
      file.tensors().contains("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"));
  const auto config = qlora::read_adapter_config(folder.path());
  REQUIRE(config.rank == 2);
  REQUIRE(config.alpha == 8);
  REQUIRE(config.dropout == 0.25);
  REQUIRE(config.base_model == "m.gguf");
  qlora::read_adapter_weights(folder.path(), read.list());
  REQUIRE(test::same_bits(read.a.value, written.a.value));
  REQUIRE(test::same_bits(read.b.value, written.b.value));
}

TEST_CASE("weights that do not fit the model are refused and change nothing") {
  const test::TemporaryFolder folder;
  Adapter written;
  qlora::write_adapter(folder.path(), {.rank = 2, .target_modules = {"q_proj"}}, written.list());
  Adapter other;
  other.a.value = RowMatrixXf::Constant(2, 5, 3.f);
  other.b = qlora::Parameter<>(other.b.name, 4, 3);
  const auto shape = test::message_of<qlora::FormatError>(
      [&] { qlora::read_adapter_weights(folder.path(), other.list()); });
  REQUIRE(test::contains(shape, "expected shape [4, 3], found [4, 2]"));
  REQUIRE(other.a.value == RowMatrixXf::Constant(2, 5, 3.f));
  const auto count = test::message_of<qlora::FormatError>(
      [&] { qlora::read_adapter_weights(folder.path(), {&other.a}); });
  REQUIRE(test::contains(count, "expected 1 tensors"));
  other.a.name = "model.layers.7.self_attn.q_proj.lora_A.weight";
  REQUIRE_THROWS_AS(qlora::read_adapter_weights(folder.path(), {&other.a}), qlora::FormatError);
}

TEST_CASE("configurations that are no plain LoRA are refused by the field") {
  const test::TemporaryFolder folder;
  const auto refusal = [&](const std::string& json) {
    folder.write("adapter_config.json", json);
    return test::message_of<qlora::FormatError>(
        [&] { (void)qlora::read_adapter_config(folder.path()); });
  };
  const std::string rest = R"("r":4,"lora_alpha":8,"target_modules":["q_proj"])";
  REQUIRE(test::contains(refusal(R"({"peft_type":"IA3",)" + rest + "}"), "found IA3"));
  REQUIRE(
      test::contains(refusal(R"({"peft_type":"LORA","use_dora":true,)" + rest + "}"), "use_dora"));
  REQUIRE(test::contains(refusal(R"({"peft_type":"LORA","rank_pattern":{"a":1},)" + rest + "}"),
                         "rank_pattern"));
  REQUIRE(
      test::contains(refusal(R"({"peft_type":"LORA","lora_alpha":8,"target_modules":[]})"), "'r'"));
  REQUIRE(test::contains(
      refusal(R"({"peft_type":"LORA","r":0,"lora_alpha":8,"target_modules":[]})"), "found 0"));
  REQUIRE(
      test::contains(refusal(R"({"peft_type":"LORA","r":"x","lora_alpha":8,"target_modules":[]})"),
                     "adapter_config.json"));
  const test::TemporaryFolder empty;
  REQUIRE_THROWS_AS(qlora::read_adapter_config(empty.path()), qlora::IoError);
}
