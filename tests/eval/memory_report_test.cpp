#include "qlora/eval/memory_report.hpp"

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/load.hpp"
#include "support/tiny_model.hpp"

using qlora::Index;

namespace {

double part(const std::vector<qlora::MemoryPart>& parts, const std::string& name) {
  for (const auto& each : parts)
    if (each.name == name) return each.bytes;
  FAIL("no part is named " << name);
  return 0;
}

// As the paper's runs keep it: 16 bits, gradient checkpointing, rank 64 on all projections.
qlora::MemoryOptions as_the_paper() {
  return {.rank = 64,
          .adapter_bits = 16,
          .keeps_good_parameters = false,
          .activation_bits = 16,
          .gradient_checkpoint = true};
}

}  // namespace

TEST_CASE("shapes have the parameters that are published") {
  // Projections, embedding, head and norms: 6.7, 13.0, 32.5 and 65.2 billion.
  for (const auto& [name, billions] : std::vector<std::pair<std::string, double>>{
           {"7b", 6.738}, {"13b", 13.016}, {"33b", 32.529}, {"65b", 65.286}}) {
    const auto config = qlora::llama_shape(name);
    const double all = qlora::count_llama(config, 0, {}).projections +
                       static_cast<double>(2 * config.vocabulary * config.width +
                                           (2 * config.layers + 1) * config.width);
    REQUIRE(all / 1e9 == Approx(billions).epsilon(1e-3));
  }
  REQUIRE(qlora::count_llama(qlora::llama_shape("smollm2-135m"), 16, qlora::target_modules("all"))
              .adapters == 4884480);
  REQUIRE_THROWS_AS(qlora::llama_shape("8b"), qlora::OptionError);
}

TEST_CASE("the paper's claims: 65B in less than 48 GB, 0.373 bits saved by double quantization") {
  const auto config = qlora::llama_shape("65b");
  REQUIRE(qlora::total_bytes(qlora::memory_report(config, as_the_paper())) < 48e9);
  REQUIRE(qlora::format_bits("nf4").total() - qlora::format_bits("nf4-dq").total() ==
          Approx(0.373).margin(5e-4));
  auto sixteen = as_the_paper();
  sixteen.format = {16, 0};
  REQUIRE(qlora::total_bytes(qlora::memory_report(config, sixteen)) > 130e9);
}

TEST_CASE("bits follow the block size") {
  REQUIRE(qlora::format_bits("nf4", 64).total() == 4.5);
  REQUIRE(qlora::format_bits("nf4", 256).total() == 4.125);
  REQUIRE(qlora::format_bits("nf4-dq", 128).scales == Approx(8.0 / 128 + 32.0 / (128 * 256)));
  REQUIRE(qlora::format_bits("q4_1").total() == 5);
  REQUIRE_THROWS_AS(qlora::format_bits("nf5"), qlora::OptionError);
  REQUIRE_THROWS_AS(qlora::format_bits("nf4", 65), qlora::OptionError);
}

TEST_CASE("activations and adapters are what a block saves and trains") {
  const test::TemporaryFolder folder;
  const auto source = test::open_model(folder.write("tiny.gguf", test::TinyModel().bytes()));
  qlora::Llama<> model = test::load_model(*source, "nf4");
  for (const char* targets : {"all", "attention"}) {
    const auto modules = qlora::target_modules(targets);
    model.adapt({.rank = 3}, modules);
    const Index tokens = 10;
    const auto layout = qlora::uniform_layout(2, tokens / 2);
    qlora::LlamaBlock<float>::Saved saved;
    qlora::RowMatrixXf x = qlora::RowMatrixXf::Ones(tokens, model.config.width);
    const qlora::Rope<float> rope(model.config.head_width(), 10000, 512);
    model.blocks[0].forward(x, saved, layout, rope, {true, 1});
    Index numbers = 0;
    for (const auto* each : {&saved.x, &saved.q, &saved.k, &saved.v, &saved.attended, &saved.middle,
                             &saved.gate, &saved.up, &saved.log_sums})
      numbers += each->size();
    for (const auto& kept : saved.kept) numbers += kept.low.size();
    const auto parts = qlora::memory_report(
        model.config,
        {.rank = 3, .targets = modules, .keeps_good_parameters = false, .tokens = tokens});
    REQUIRE(part(parts, "activations") == static_cast<double>(4 * numbers * model.config.layers));
    REQUIRE(part(parts, "adapters") ==
            4.0 * static_cast<double>(qlora::parameter_count(model.parameters())));
    REQUIRE(part(parts, "optimizer_state") == 2 * part(parts, "gradients"));
  }
}

TEST_CASE("checkpointing, fewer bits and smaller ranks cost less") {
  const auto config = qlora::llama_shape("7b");
  const auto total = [&](const qlora::MemoryOptions& options) {
    return qlora::total_bytes(qlora::memory_report(config, options));
  };
  REQUIRE(total({.gradient_checkpoint = true}) < total({}));
  REQUIRE(total({.rank = 8}) < total({}));
  REQUIRE(total({.state_bytes = 2}) < total({}));
  REQUIRE(total({.targets = qlora::target_modules("attention")}) < total({}));
  REQUIRE(total({.format = qlora::format_bits("nf4")}) > total({}));
}
