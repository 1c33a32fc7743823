// Evaluation of the real model against transformers on the same weights (golden/evaluation.json).
#include <filesystem>
#include <iostream>

#include "qlora/eval/multiple_choice.hpp"
#include "qlora/eval/perplexity.hpp"
#include "qlora/eval/questions.hpp"
#include "qlora/model/gguf_source.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/load.hpp"

namespace {

const nlohmann::json& golden() {
  static const nlohmann::json all = test::golden("evaluation.json");
  return all;
}

struct Real {
  qlora::GgufSource source{QLORA_TEST_MODEL};
  qlora::Tokenizer tokenizer{source.tokenizer()};
  qlora::Llama<> model = test::load_model(source, "as-is");
};

Real& real() {
  static Real model;
  return model;
}

void require_close(const std::vector<double>& found, const nlohmann::json& expected) {
  for (std::size_t c = 0; c < found.size(); ++c)
    REQUIRE(found[c] == Approx(expected[c].get<double>()).margin(1e-2));
}

}  // namespace

TEST_CASE("MMLU: the letter of at least 99 % of 200 questions and their log-likelihoods") {
  const std::filesystem::path path =
      std::filesystem::path(QLORA_TEST_FOLDER) / "../../shared/data/mmlu/zero_shot_mmlu_val.json";
  if (!std::filesystem::exists(path)) {
    std::cout << "skipped: " << path.string() << " is not there\n";
    return;
  }
  qlora::QuestionNotes notes;
  const auto questions = qlora::read_mmlu(path, {}, notes);
  REQUIRE(questions.size() == 1531);
  const auto& lines = golden().at("mmlu_lines");
  const auto& expected = golden().at("mmlu");
  REQUIRE(lines.size() == 200);
  std::size_t same = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const auto score = qlora::score_choices(real().model, real().tokenizer,
                                            questions[lines[i].get<std::size_t>()]);
    require_close(score.log_likelihood, expected[i]);
    const auto values = expected[i].get<std::vector<double>>();
    same += std::max_element(values.begin(), values.end()) - values.begin() == score.best ? 1 : 0;
  }
  REQUIRE(same >= 198);
}

TEST_CASE("choices of many tokens have transformers' log-likelihoods") {
  const auto& questions = golden().at("questions");
  for (std::size_t q = 0; q < questions.size(); ++q) {
    qlora::ChoiceQuestion question{
        .prompt = questions[q].at("prompt").get<std::string>(),
        .choices = questions[q].at("choices").get<std::vector<std::string>>()};
    if (question.prompt.back() != ' ')
      for (auto& choice : question.choices) choice = " " + choice;
    const auto score = qlora::score_choices(real().model, real().tokenizer, question);
    require_close(score.log_likelihood, golden().at("own")[q]);
  }
}

TEST_CASE("perplexity with overlapping windows is transformers'") {
  const auto& text = golden().at("perplexity");
  double nats = 0;
  qlora::Index counted = 0;
  for (const auto& each : text.at("nats")) nats += each.get<double>();
  for (const auto& each : text.at("counted")) counted += each.get<qlora::Index>();
  const auto ids = text.at("ids").get<std::vector<qlora::Token>>();
  const auto result = qlora::perplexity(real().model, ids,
                                        {.window = text.at("window").get<qlora::Index>(),
                                         .stride = text.at("stride").get<qlora::Index>()});
  REQUIRE(result.tokens == counted);
  REQUIRE(result.per_token() ==
          Approx(std::exp(nats / static_cast<double>(counted))).epsilon(1e-3));
}
