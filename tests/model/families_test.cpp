// Tiny models of every family beside transformers' numbers, and every part of a configuration left out.
#include "qlora/model/families.hpp"

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "qlora/io/safetensors_writer.hpp"
#include "qlora/io/sha256.hpp"
#include "qlora/model/llama_names.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/gguf_builder.hpp"
#include "support/golden.hpp"
#include "support/load.hpp"
#include "support/named_numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXf;

namespace {

// A model of tests/golden/families.json in a folder.
struct GoldenModel {
  const nlohmann::json& golden;
  test::TemporaryFolder folder;

  explicit GoldenModel(const nlohmann::json& one) : golden(one) {
    folder.write("config.json", one["config"].dump());
    std::vector<std::string> names;
    for (const auto& [name, shape] : one["shapes"].items()) names.push_back(name);
    qlora::SafetensorsWriter file(folder / "model.safetensors", names);
    const bool adds_one = one["config"]["model_type"].get<std::string>().starts_with("gemma");
    for (const auto& [name, shape] : one["shapes"].items()) {
      const auto sizes = shape.get<std::vector<Index>>();
      const auto values = test::named_weight(name, sizes, adds_one);
      std::vector<std::byte> bytes(values.size() * sizeof(float));
      std::memcpy(bytes.data(), values.data(), bytes.size());
      file.add(name, "F32", sizes, bytes);
    }
    file.commit();
  }
  qlora::Llama<> load() const {
    return test::load_model(*test::open_model(folder.path()), "float");
  }
  std::vector<qlora::Token> tokens(const char* which) const {
    return golden[which].get<std::vector<qlora::Token>>();
  }
};

// The largest difference of logits from the golden ones, over the largest of those.
double logit_error(const qlora::Llama<>& model, const GoldenModel& one, Index every) {
  const RowMatrixXf logits = model.logits(one.tokens("ids"));
  double largest = 0, error = 0;
  Index row = 0;
  for (const auto& expected : one.golden["logits"]) {
    for (Index col = 0; col < logits.cols(); ++col) {
      const double value = expected[static_cast<std::size_t>(col)].get<double>();
      largest = std::max(largest, std::abs(value));
      error = std::max(error, std::abs(static_cast<double>(logits(row, col)) - value));
    }
    row += every;
  }
  return error / largest;
}

constexpr double tolerance = 1e-4;

const nlohmann::json& all_cases() {
  static const nlohmann::json all = test::golden("families.json");
  return all;
}

}  // namespace

TEST_CASE("logits and greedy text of every family are those of transformers") {
  for (const auto& [name, golden] : all_cases()["cases"].items()) {
    INFO(name);
    const GoldenModel one(golden);
    const auto model = one.load();
    REQUIRE(logit_error(model, one, all_cases()["every"].get<Index>()) < tolerance);
    const auto greedy = one.tokens("greedy");
    std::vector<qlora::Token> said(greedy.begin(), greedy.begin() + 6);
    auto cache = model.make_cache(32);
    auto logits = model.next_logits(said, cache);
    while (said.size() < greedy.size()) {
      Index best = 0;
      logits.maxCoeff(&best);
      said.push_back(static_cast<qlora::Token>(best));
      logits = model.next_logits(std::span(said).last(1), cache);
    }
    REQUIRE(said == greedy);
  }
}

TEST_CASE("the GGUF files that llama.cpp's converter writes hold the same models") {
  int files = 0;
  for (const auto& [name, golden] : all_cases()["cases"].items()) {
    const auto& made = golden["gguf"];
    if (made.is_null()) continue;
    INFO(name);
    test::GgufBuilder file;
    for (const auto& [key, typed] : made["keys"].items()) {
      const auto& value = typed[1];
      if (typed[0] == "STRING") {
        file.key(key, value.get<std::string>());
      } else if (typed[0] == "UINT32") {
        file.key(key, value.get<std::uint32_t>());
      } else {
        REQUIRE(typed[0] == "FLOAT32");
        file.key(key, value.get<float>());
      }
    }
    const auto architecture = made["keys"]["general.architecture"][1].get<std::string>();
    const qlora::Family& family = *qlora::family_of_architecture(architecture);
    const auto& heads = golden["config"]["num_attention_heads"];
    const Index head_width =
        golden["config"].contains("head_dim") && !golden["config"]["head_dim"].is_null()
            ? golden["config"]["head_dim"].get<Index>()
            : golden["config"]["hidden_size"].get<Index>() / heads.get<Index>();
    for (const auto& [tensor, entry] : made["tensors"].items()) {
      INFO(tensor);
      const auto shape = entry[0].get<std::vector<Index>>();
      const Index cols = shape.back(), rows = shape.size() == 2 ? shape[0] : 1;
      RowMatrixXf values(rows, cols);
      if (tensor == qlora::rotary_divisors_name) {
        const auto numbers = entry[1].get<std::vector<float>>();
        std::copy(numbers.begin(), numbers.end(), values.data());
      } else {
        const auto theirs = qlora::hugging_face_name(tensor, family);
        REQUIRE(theirs);
        const auto numbers = test::named_weight(*theirs, shape, family.norms_add_one);
        std::copy(numbers.begin(), numbers.end(), values.data());
        if (family.norms_add_one && theirs->ends_with("norm.weight")) values.array() += 1.f;
        const auto order = qlora::row_order(*theirs, head_width, family);
        values = tensor.ends_with(".bias")
                     ? RowMatrixXf(qlora::rows_in_gguf_order(values.transpose(), order).transpose())
                     : qlora::rows_in_gguf_order(values, order);
        REQUIRE(qlora::sha256(std::as_bytes(std::span(
                    values.data(), static_cast<std::size_t>(values.size())))) == entry[1]);
      }
      file.tensor(tensor, values);
    }
    const GoldenModel one(golden);
    const auto path = one.folder.write("m.gguf", file.bytes());
    const auto model = test::load_model(*test::open_model(path), "float");
    REQUIRE(logit_error(model, one, all_cases()["every"].get<Index>()) < tolerance);
    ++files;
  }
  REQUIRE(files >= 11);
}

TEST_CASE("loss and adapter gradients of every family are those of transformers") {
  const double scaling = all_cases()["scaling"].get<double>();
  const auto rank = all_cases()["rank"].get<Index>();
  for (const auto& [name, golden] : all_cases()["cases"].items()) {
    const GoldenModel one(golden);
    auto model = one.load();
    model.adapt({.rank = rank, .alpha = static_cast<float>(scaling * static_cast<double>(rank))});
    for (const auto& p : model.parameters()) {
      const auto values = test::named_weight(p.name(), {p.value().rows(), p.value().cols()}, false);
      std::copy(values.begin(), values.end(), p.value().data());
    }
    const auto ids = one.tokens("ids");
    std::vector<qlora::Token> targets(ids.begin() + 1, ids.end());
    targets.push_back(qlora::ignored);
    const auto layout = qlora::uniform_layout(1, static_cast<Index>(ids.size()));
    const float scale = 1.f / static_cast<float>(ids.size() - 1);
    for (const bool checkpoint : {false, true}) {
      INFO(name << (checkpoint ? ", checkpointing" : ""));
      qlora::zero_gradients(model.parameters());
      const auto loss =
          model.loss(ids, targets, layout,
                     {.scale = scale, .backward = true, .gradient_checkpoint = checkpoint});
      REQUIRE(loss.mean() == Approx(golden["adapted_loss"].get<double>()).epsilon(1e-4));
      for (const auto& p : model.parameters()) {
        INFO(p.name());
        const auto& expected = golden["gradients"].at(p.name());
        const double norm = expected[0].get<double>();
        REQUIRE(static_cast<double>(p.grad().norm()) == Approx(norm).epsilon(1e-3));
        for (std::size_t i = 0; i < 2; ++i) {
          const auto along = test::named_numbers(p.name() + " " + std::to_string(i),
                                                 static_cast<std::size_t>(p.grad().size()));
          double sum = 0;
          for (std::size_t j = 0; j < along.size(); ++j)
            sum += static_cast<double>(along[j]) * static_cast<double>(p.grad().data()[j]);
          REQUIRE(std::abs(sum - expected[i + 1].get<double>()) <
                  1e-3 * norm * std::sqrt(static_cast<double>(along.size())));
        }
      }
    }
  }
}

TEST_CASE("every part of a configuration moves the logits, so that none was left out") {
  using Change = std::function<void(qlora::Llama<>&)>;
  const auto set = [](auto change) {
    return Change([change](qlora::Llama<>& model) {
      change(model.config);
      for (std::size_t layer = 0; layer < model.blocks.size(); ++layer)
        model.blocks[layer].shape = model.config.attention(static_cast<Index>(layer));
      model.finish();
    });
  };
  const auto in_blocks = [](auto change) {
    return Change([change](qlora::Llama<>& model) {
      for (auto& block : model.blocks) change(block);
    });
  };
  const auto no_bias = [&](qlora::Projection which) {
    return in_blocks([which](auto& block) { block.biases[which].resize(0); });
  };
  const Change no_scaling =
      set([](auto& config) { config.rotary.scaling = qlora::RotaryScaling::none; });
  const Change no_window = set([](auto& config) { config.window = 0; });
  const Change plain_scores = set([](auto& config) { config.attention_scale = 0; });
  const Change no_post_norms = in_blocks([](auto& block) {
    block.attention_post_norm.weight.resize(0);
    block.feed_forward_post_norm.weight.resize(0);
  });
  const Change no_head_norms = in_blocks([](auto& block) {
    block.query_norm.weight.resize(0);
    block.key_norm.weight.resize(0);
  });
  const Change all_turn = in_blocks([](auto& block) { block.turns = true; });
  const Change silu =
      in_blocks([](auto& block) { block.gate_function = qlora::GateFunction::silu; });
  const Change plain_embedding = set([](auto& config) { config.embedding_scale = 1; });
  const std::vector<std::pair<std::string, Change>> changes{
      {"llama 3", no_scaling},
      {"llama, linear", no_scaling},
      {"llama, yarn", no_scaling},
      {"llama, yarn", set([](auto& config) { config.rotary.magnitude = 1; })},
      {"llama, biases", no_bias(qlora::q_proj)},
      {"llama, biases", no_bias(qlora::v_proj)},
      {"llama, biases", no_bias(qlora::o_proj)},
      {"llama, biases", no_bias(qlora::gate_proj)},
      {"llama, biases", no_bias(qlora::down_proj)},
      {"mistral", no_window},
      {"mistral", set([](auto& config) { config.window += 1; })},
      {"qwen2", no_bias(qlora::q_proj)},
      {"qwen2", no_bias(qlora::v_proj)},
      {"qwen2, upper windows", no_window},
      {"qwen2, upper windows",
       set([](auto& config) { config.kinds[0].sliding = config.kinds[1].sliding = true; })},
      {"qwen3", no_head_norms},
      {"gemma2", no_window},
      {"gemma2", no_post_norms},
      {"gemma2", silu},
      {"gemma2", plain_embedding},
      {"gemma2", plain_scores},
      {"gemma2", set([](auto& config) { config.attention_soft_cap = 0; })},
      {"gemma2", set([](auto& config) { config.logit_soft_cap = 0; })},
      {"gemma3", no_window},
      {"gemma3", no_head_norms},
      {"gemma3", no_scaling},
      {"gemma3", set([](auto& config) { config.local_rotary = config.rotary; })},
      {"olmo2", no_post_norms},
      {"olmo2", no_head_norms},
      {"granite", plain_scores},
      {"granite", plain_embedding},
      {"granite", in_blocks([](auto& block) { block.residual_scale = 1; })},
      {"granite", set([](auto& config) { config.logit_scale = 1; })},
      {"smollm3", all_turn}};
  std::size_t number = 0;
  for (const auto& [name, change] : changes) {
    INFO(name << ", change " << number++);
    const GoldenModel one(all_cases()["cases"].at(name));
    auto model = one.load();
    change(model);
    REQUIRE(logit_error(model, one, all_cases()["every"].get<Index>()) > 100 * tolerance);
  }
}

TEST_CASE("each family has names of its own for what it has, and an unknown one is refused") {
  for (const qlora::Family& family : qlora::families) {
    REQUIRE(&qlora::find_family(family.model_type) == &family);
    REQUIRE(qlora::family_of_architecture(family.architecture) != nullptr);
    const bool after = family.norm_place != qlora::NormPlace::before;
    const bool before = family.norm_place != qlora::NormPlace::after;
    REQUIRE(family.norms.after_attention.gguf.empty() == !after);
    REQUIRE(family.norms.before_attention.gguf.empty() == !before);
  }
  REQUIRE(qlora::family_of_architecture("gemma3")->model_type == "gemma3_text");
  REQUIRE(qlora::family_of_type("mamba") == nullptr);
  REQUIRE_THROWS_WITH(qlora::find_family("mamba"), test::contains("'mamba'"));
  REQUIRE(qlora::joined_families(&qlora::Family::architecture).starts_with("llama, qwen2, "));
}
