#include "qlora/model/load_adapter.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/loaded_tiny.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXf;

namespace {

const std::vector<qlora::Token> tokens{70, 100, 3, 250};

// A saved adapter of rank 2 with random values, and the logits of the model that wrote it.
struct Saved {
  test::TemporaryFolder folder;
  test::LoadedTiny tiny;
  RowMatrixXf logits;

  explicit Saved(const qlora::LoraOptions& options, const qlora::AdapterConfig& config = {}) {
    tiny.model.adapt(options);
    std::uint64_t seed = 1;
    for (const auto& parameter : tiny.model.parameters())
      parameter.value() =
          test::normal_matrix(parameter.value().rows(), parameter.value().cols(), seed++, 0.1);
    qlora::AdapterConfig written = config;
    written.rank = options.rank;
    written.alpha = options.alpha;
    written.rank_stabilized = options.rank_stabilized;
    qlora::write_adapter(folder.path(), written, tiny.model.parameters());
    logits = tiny.model.logits(tokens);
  }

  std::string refusal(qlora::Llama<>& model) const {
    return test::message_of<qlora::Error>([&] { (void)qlora::load_adapter(model, folder.path()); });
  }
};

}  // namespace

TEST_CASE("a saved adapter gives the same logits in a fresh model, rank-stabilized or not") {
  for (const bool stabilized : {false, true}) {
    const Saved saved({.rank = 4, .alpha = 6, .rank_stabilized = stabilized});
    test::LoadedTiny fresh;
    const auto config = qlora::load_adapter(fresh.model, saved.folder.path());
    REQUIRE(config.rank_stabilized == stabilized);
    REQUIRE(fresh.model.blocks[0].projections[0].scaling() == (stabilized ? 3.f : 1.5f));
    REQUIRE(test::same_bits(fresh.model.logits(tokens), saved.logits));
  }
}

TEST_CASE("each module has the scale that its pattern gives") {
  const Saved saved({.rank = 2, .alpha = 4}, {.alpha_pattern = {{"layers.1.*", 8.0}}});
  test::LoadedTiny fresh;
  (void)qlora::load_adapter(fresh.model, saved.folder.path());
  REQUIRE(fresh.model.blocks[0].projections[0].scaling() == 2.f);
  REQUIRE(fresh.model.blocks[1].projections[0].scaling() == 4.f);
}

TEST_CASE("an adapter that does not fit is refused by tensor and changes nothing") {
  const Saved saved({.rank = 2, .alpha = 4});
  test::LoadedTiny fresh;
  fresh.model.adapt({.rank = 1});
  const RowMatrixXf before = fresh.model.logits(tokens);
  const RowMatrixXf a = RowMatrixXf::Ones(2, 32), b = RowMatrixXf::Ones(32, 2);
  const auto write = [&](const std::string& module, const RowMatrixXf& first,
                         const RowMatrixXf& second) {
    const std::string name = "base_model.model." + module;
    qlora::write_safetensors(
        saved.folder / "adapter_model.safetensors",
        {{name + ".lora_A.weight", &first}, {name + ".lora_B.weight", &second}});
  };
  write("model.layers.7.self_attn.q_proj", a, b);
  REQUIRE(test::contains(saved.refusal(fresh.model), "layers.7.self_attn.q_proj"));
  write("model.layers.0.self_attn.k_proj", a, b);
  REQUIRE(test::contains(saved.refusal(fresh.model), "a weight [16, 32], found one of [32, 32]"));
  const RowMatrixXf more = RowMatrixXf::Ones(3, 32), wide = RowMatrixXf::Ones(32, 3);
  write("model.layers.0.self_attn.q_proj", more, wide);
  REQUIRE(test::contains(saved.refusal(fresh.model), "expected rank 2"));
  qlora::write_safetensors(saved.folder / "adapter_model.safetensors", {});
  REQUIRE(test::contains(saved.refusal(fresh.model), "expected the tensors of an adapter"));
  REQUIRE(test::same_bits(fresh.model.logits(tokens), before));
  REQUIRE(fresh.model.blocks[0].projections[0].rank() == 1);
}

TEST_CASE("modules that the file does not name get no adapter") {
  const Saved saved({.rank = 2, .alpha = 4});
  const RowMatrixXf a = RowMatrixXf::Ones(2, 32), b = RowMatrixXf::Ones(32, 2);
  const std::string name = "base_model.model.model.layers.1.self_attn.q_proj.";
  qlora::write_safetensors(saved.folder / "adapter_model.safetensors",
                           {{name + "lora_A.weight", &a}, {name + "lora_B.weight", &b}});
  test::LoadedTiny fresh;
  (void)qlora::load_adapter(fresh.model, saved.folder.path());
  REQUIRE(fresh.model.parameters().size() == 2);
  REQUIRE(fresh.model.blocks[1].projections[0].adapted());
}
