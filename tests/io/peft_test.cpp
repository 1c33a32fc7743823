#include "qlora/io/peft.hpp"

#include <filesystem>
#include <limits>

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
  REQUIRE(test::contains(count, "lora_B.weight"));
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
  REQUIRE(test::contains(refusal("{" + rest + "}"), "'peft_type'"));
  REQUIRE(test::contains(
      refusal(R"({"peft_type":"LORA","r":0,"lora_alpha":8,"target_modules":[]})"), "found 0"));
  REQUIRE(
      test::contains(refusal(R"({"peft_type":"LORA","r":"x","lora_alpha":8,"target_modules":[]})"),
                     "adapter_config.json"));
  const test::TemporaryFolder empty;
  REQUIRE_THROWS_AS(qlora::read_adapter_config(empty.path()), qlora::IoError);
}

TEST_CASE("a parameter without a name, and two of one name, are refused and not lost") {
  const test::TemporaryFolder folder;
  Adapter first, second;
  const qlora::AdapterConfig config{.rank = 2, .target_modules = {"q_proj"}};
  const auto twice = test::message_of<qlora::FormatError>([&] {
    qlora::write_adapter(folder.path(), config, {&first.a, &first.b, &second.a, &second.b});
  });
  REQUIRE(test::contains(twice, "two parameters are named 'model.layers.0.self_attn.q_proj"));
  first.b.name.clear();
  const auto unnamed = test::message_of<qlora::FormatError>(
      [&] { qlora::write_adapter(folder.path(), config, first.list()); });
  REQUIRE(test::contains(unnamed, "shape [4, 2] has no name"));
  REQUIRE(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("patterns of ranks and alphas are written in their order and read back") {
  const test::TemporaryFolder folder;
  Adapter adapter;
  const qlora::AdapterConfig written{.rank = 2,
                                     .target_modules = {"q_proj"},
                                     .rank_pattern = {{"z", 3}, {"a", 4}},
                                     .alpha_pattern = {{"y", 1.5}, {"b", 2.0}}};
  qlora::write_adapter(folder.path(), written, adapter.list());
  const auto read = qlora::read_adapter_config(folder.path());
  REQUIRE(read.rank_pattern == written.rank_pattern);
  REQUIRE(read.alpha_pattern == written.alpha_pattern);
}

TEST_CASE("adapters come by module, whatever else is in the tensors' names") {
  const test::TemporaryFolder folder;
  const RowMatrixXf a = test::normal_matrix(2, 5, 1), b = test::normal_matrix(4, 2, 2);
  const auto pairs_of = [&](const std::string& name_a, const std::string& name_b) {
    qlora::write_safetensors(folder / "adapter_model.safetensors", {{name_a, &a}, {name_b, &b}});
    return qlora::read_adapter_pairs(folder.path());
  };
  for (const auto& [start, end] : {std::pair{"base_model.model.", ".weight"},
                                   std::pair{"base_model.model.", ".default.weight"},
                                   std::pair{"base_model.model._orig_mod.", ".weight"},
                                   std::pair{"_orig_mod.base_model.model.", ".default.weight"}}) {
    const std::string module = start + std::string("layers.0.q");
    const auto pairs = pairs_of(module + ".lora_A" + end, module + ".lora_B" + end);
    REQUIRE(pairs.size() == 1);
    REQUIRE(pairs.begin()->first == "layers.0.q");
    REQUIRE(test::same_bits(pairs.begin()->second.a, a));
    REQUIRE(test::same_bits(pairs.begin()->second.b, b));
  }
  const auto refusal = [&](const std::string& name_a, const std::string& name_b) {
    return test::message_of<qlora::FormatError>([&] { (void)pairs_of(name_a, name_b); });
  };
  const std::string q = "base_model.model.q";
  REQUIRE(test::contains(refusal(q + ".lora_A.weight", q + ".lora_B.bias"), ".lora_B.bias"));
  REQUIRE(test::contains(refusal(q + ".lora_A.weight", "base_model.model.k.lora_B.weight"),
                         "its other half"));
  REQUIRE(
      test::contains(refusal(q + ".lora_B.weight", q + ".lora_A.weight"), "of 4 columns, found 5"));
}

TEST_CASE("an adapter's value that is not finite is refused by place") {
  const test::TemporaryFolder folder;
  Adapter adapter;
  adapter.a.value.setZero();
  adapter.b.value.setZero();
  adapter.b.value(3, 1) = std::numeric_limits<float>::quiet_NaN();
  qlora::write_adapter(folder.path(), {.rank = 2}, adapter.list());
  const auto text = test::message_of<qlora::NumericError>(
      [&] { qlora::read_adapter_weights(folder.path(), adapter.list()); });
  REQUIRE(test::contains(text, "lora_B.weight': row 3, column 1"));
}
