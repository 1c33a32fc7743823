#include "qlora/model/generate.hpp"

#include <array>
#include <cmath>

#include "qlora/model/gguf_source.hpp"
#include "support/files.hpp"
#include "support/law.hpp"
#include "support/load.hpp"
#include "support/tiny_model.hpp"

using qlora::Token;

namespace {

qlora::ColumnVector<float> logits_of(std::initializer_list<float> values) {
  qlora::ColumnVector<float> v(static_cast<qlora::Index>(values.size()));
  std::copy(values.begin(), values.end(), v.data());
  return v;
}

}  // namespace

TEST_CASE("temperature 0, top-k 1 and a tiny top-p are greedy; ties go to the lower id") {
  const auto logits = logits_of({0.f, 3.f, 1.f, 3.f});
  REQUIRE(qlora::sample(logits, {.temperature = 0}, 0) == 1);
  for (std::uint64_t i = 0; i < 50; ++i) {
    REQUIRE(qlora::sample(logits, {.temperature = 2, .top_k = 1}, i) == 1);
    REQUIRE(qlora::sample(logits, {.temperature = 2, .top_p = 1e-6f}, i) == 1);
  }
}

TEST_CASE("samples follow softmax of logits / temperature") {
  const auto logits = logits_of({0.f, 1.f, -1.f, 2.f});
  constexpr int draws = 40000;
  std::array<int, 4> seen{};
  for (std::uint64_t i = 0; i < draws; ++i)
    ++seen[static_cast<std::size_t>(qlora::sample(logits, {.temperature = 0.7f, .seed = 9}, i))];
  double total = 0, chi_square = 0;
  for (int k = 0; k < 4; ++k) total += std::exp(static_cast<double>(logits(k)) / 0.7);
  for (int k = 0; k < 4; ++k) {
    const double expected = draws * std::exp(static_cast<double>(logits(k)) / 0.7) / total;
    chi_square += (seen[static_cast<std::size_t>(k)] - expected) *
                  (seen[static_cast<std::size_t>(k)] - expected) / expected;
  }
  REQUIRE(chi_square < 16.3);  // 3 degrees of freedom, p = 0.001
}

TEST_CASE("top-k and top-p keep what they say and nothing else") {
  test::law("kept", [](std::uint64_t seed, std::uint64_t position) {
    const auto logits = logits_of({0.f, 1.f, -1.f, 2.f, 1.5f});
    const Token k = qlora::sample(logits, {.temperature = 3, .top_k = 2, .seed = seed}, position);
    RC_ASSERT(k == 3 || k == 4);
    // Probabilities at temperature 1: id 3 has 0.45, id 4 0.27, id 1 0.17: 0.8 is reached with the
    // third.
    const Token p =
        qlora::sample(logits, {.temperature = 1, .top_p = 0.8f, .seed = seed}, position);
    RC_ASSERT(p == 3 || p == 4 || p == 1);
  });
}

TEST_CASE("a seed gives the same answer, another seed another one, and accept stops it") {
  const test::TemporaryFolder folder;
  const qlora::GgufSource file(folder.write("m.gguf", test::TinyModel().bytes()));
  const auto model = test::load_model(file);
  const std::vector<Token> prompt{5, 6, 7};
  const qlora::SampleOptions options{.new_tokens = 30, .temperature = 1, .seed = 1};
  auto other = options;
  other.seed = 2;
  const auto answer = qlora::generate(model, prompt, options);
  REQUIRE(answer.size() == 30);
  REQUIRE(answer == qlora::generate(model, prompt, options));
  REQUIRE(answer != qlora::generate(model, prompt, other));
  int left = 4;
  REQUIRE(qlora::generate(model, prompt, options, [&](Token) { return --left > 0; }).size() == 4);
}

TEST_CASE("an answer ends with the context; a prompt that fills it is refused") {
  const test::TemporaryFolder folder;
  const qlora::GgufSource file(folder.write("m.gguf", test::TinyModel().bytes()));
  const auto model = test::load_model(file);
  const auto context = static_cast<std::size_t>(model.config.context);
  const auto answer_to = [&](std::size_t length) {
    return qlora::generate(model, std::vector<Token>(length, 5), {.new_tokens = 20}).size();
  };
  REQUIRE(answer_to(context - 20) == 20);
  REQUIRE(answer_to(context - 3) == 3);
  REQUIRE(answer_to(context - 1) == 1);
  REQUIRE_THROWS_AS(answer_to(context), qlora::ShapeError);
  REQUIRE_THROWS_AS(answer_to(0), qlora::ShapeError);
}

TEST_CASE("nothing is sampled from logits that are not finite") {
  for (const float broken : {std::nanf(""), HUGE_VALF})
    REQUIRE_THROWS_AS(qlora::sample(logits_of({0.f, broken, 1.f}), {}, 0), qlora::NumericError);
}
