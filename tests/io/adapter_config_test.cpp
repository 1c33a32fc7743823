#include "qlora/io/adapter_config.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/numbers.hpp"

using nlohmann::json;

namespace {

// A configuration with one thing changed.
qlora::AdapterConfig read(const std::string& more) {
  const test::TemporaryFolder folder;
  folder.write("adapter_config.json",
               R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"])" +
                   (more.empty() ? "" : ", " + more) + "}");
  return qlora::read_adapter_config(folder.path());
}

std::string refusal(const std::string& more) {
  return test::message_of<qlora::FormatError>([&] { (void)read(more); });
}

}  // namespace

TEST_CASE("the first pattern in the file that matches a module gives its rank and alpha") {
  const auto config = read(R"("rank_pattern": {"z.*_proj": 2, "q_proj": 8, "a": 3},
      "alpha_pattern": {"layers.1.*": 32, "q_proj": 16, "^model.layers.0.mlp.up_proj": 64})");
  REQUIRE(config.rank_of("model.layers.0.self_attn.q_proj") == 8);
  REQUIRE(config.rank_of("model.layers.0.self_attn.v_proj") == 4);
  REQUIRE(config.rank_of("q_proj") == 8);
  REQUIRE(config.rank_of("model.layers.0.self_attn.xq_proj") == 4);
  REQUIRE(config.alpha_of("model.layers.0.self_attn.q_proj") == 16);
  REQUIRE(config.alpha_of("model.layers.1.self_attn.q_proj") == 32);
  REQUIRE(config.alpha_of("model.layers.0.mlp.up_proj") == 64);
  REQUIRE(config.alpha_of("model.layers.2.mlp.up_proj") == 8);
}

TEST_CASE("target_modules is a list, one expression, or nothing") {
  REQUIRE(read("").target_modules == std::vector<std::string>{"q_proj"});
  const test::TemporaryFolder folder;
  for (const auto& [text, count] :
       {std::pair{R"("all-linear")", 1}, std::pair{"null", 0}, std::pair{R"(["a", "b"])", 2}}) {
    folder.write("adapter_config.json",
                 R"({"peft_type": "LORA", "target_modules": )" + std::string(text) + "}");
    const auto config = qlora::read_adapter_config(folder.path());
    REQUIRE(config.target_modules.size() == static_cast<std::size_t>(count));
    REQUIRE(config.rank == 8);  // PEFT's defaults
    REQUIRE(config.alpha == 8);
  }
}

TEST_CASE("everything that changes the numbers is read or refused by name") {
  for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "a_new_key"}) {
    INFO(key);
    REQUIRE(test::contains(refusal("\"" + std::string(key) + "\": true"), key));
    REQUIRE(read("\"" + std::string(key) + "\": null").rank == 4);
    REQUIRE(read("\"" + std::string(key) + "\": false").rank == 4);
  }
  for (const char* start : {"pissa", "olora", "loftq", "corda", "lora_ga", "tomorrow's"})
    REQUIRE(
        test::contains(refusal(R"("init_lora_weights": ")" + std::string(start) + "\""), start));
  REQUIRE(read(R"("init_lora_weights": "gaussian", "use_rslora": true)").rank_stabilized);
  REQUIRE(test::contains(refusal(R"("bias": "all")"), "bias: expected none, found all"));
  REQUIRE(test::contains(refusal(R"("alpha_pattern": {"a(": 1})"), "'a('"));
  REQUIRE(test::contains(refusal(R"("lora_dropout": 1)"), "lora_dropout"));
  const std::string deep = std::string(100000, '(') + std::string(100000, ')');
  REQUIRE(
      test::contains(refusal("\"rank_pattern\": {\"" + deep + "\": 1}"), "found one of 200000"));
}
