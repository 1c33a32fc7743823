#include "qlora/eval/multiple_choice.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/loaded_tiny.hpp"

using qlora::ChoiceQuestion;
using qlora::Index;

namespace {

struct Tiny : test::LoadedTiny {
  // Everything at once, without a cache.
  double after(const std::string& prompt, const std::string& choice) const {
    const auto ids = tokenizer.encode(prompt + choice);
    const std::size_t before = tokenizer.encode(prompt).size();
    const auto logits = model.logits(ids);
    double sum = 0;
    for (std::size_t i = before; i < ids.size(); ++i) {
      const auto row = logits.row(static_cast<Index>(i) - 1).cast<double>().eval();
      sum += row(ids[i]) - std::log(row.array().exp().sum());
    }
    return sum;
  }
};

}  // namespace

TEST_CASE("log-likelihoods of choices of one and of many tokens are the whole sequence's") {
  Tiny tiny;
  const ChoiceQuestion question{.prompt = "What is in the inn?",
                                .choices = {" A", " thin hats", " the", " 12 hats"}};
  const auto score = qlora::score_choices(tiny.model, tiny.tokenizer, question);
  Index best = 0, best_normalized = 0;
  const double lengths[] = {1, 9, 3, 7};
  std::vector<double> expected;
  for (const auto& choice : question.choices)
    expected.push_back(tiny.after(question.prompt, choice));
  for (std::size_t c = 0; c < 4; ++c) {
    REQUIRE(score.log_likelihood[c] == Approx(expected[c]).epsilon(1e-4));
    if (expected[c] > expected[static_cast<std::size_t>(best)]) best = static_cast<Index>(c);
    if (expected[c] / lengths[c] > expected[static_cast<std::size_t>(best_normalized)] /
                                       lengths[static_cast<std::size_t>(best_normalized)])
      best_normalized = static_cast<Index>(c);
  }
  REQUIRE(score.best == best);
  REQUIRE(score.best_normalized == best_normalized);
  REQUIRE(score.cut == 0);
}

TEST_CASE("blanks at the prompt's end belong to the choice") {
  Tiny tiny;
  const auto with = qlora::score_choices(tiny.model, tiny.tokenizer,
                                         {.prompt = "in ", .choices = {"the", "that"}});
  const auto without = qlora::score_choices(tiny.model, tiny.tokenizer,
                                            {.prompt = "in", .choices = {" the", " that"}});
  REQUIRE(with.log_likelihood == without.log_likelihood);
}

TEST_CASE("prompts beyond the context are cut at their start, and counted") {
  Tiny tiny;
  std::string prompt;
  for (int i = 0; i < 600; ++i) prompt += 'x';
  const auto score = qlora::score_choices(tiny.model, tiny.tokenizer,
                                          {.prompt = prompt, .choices = {" A", " thin hats"}});
  REQUIRE(score.cut > 0);
  for (const double value : score.log_likelihood) REQUIRE(std::isfinite(value));
}

TEST_CASE("accuracy has the harness' standard error") {
  qlora::Accuracy accuracy;
  for (int i = 0; i < 10; ++i) accuracy.add(i < 3);
  REQUIRE(accuracy.value() == 0.3);
  REQUIRE(accuracy.standard_error() == Approx(std::sqrt(0.3 * 0.7 / 9)));
}

TEST_CASE("characters of a choice are counted, not bytes") {
  REQUIRE(qlora::eval_detail::choice_length(" français") == 8);
  REQUIRE(qlora::eval_detail::choice_length("中文") == 2);
  REQUIRE(qlora::eval_detail::choice_length("  ") == 0);
}

TEST_CASE("questions without a choice to make are errors; progress stops") {
  Tiny tiny;
  const auto score = [&](const ChoiceQuestion& question) {
    return qlora::score_choices(tiny.model, tiny.tokenizer, question);
  };
  REQUIRE_THROWS_AS(score({.prompt = "a", .choices = {" b"}}), qlora::FormatError);
  REQUIRE_THROWS_AS(score({.prompt = "a", .choices = {" b", " c"}, .answer = 2}),
                    qlora::FormatError);
  REQUIRE_THROWS_AS(score({.prompt = "", .choices = {"b", "c"}}), qlora::FormatError);
  REQUIRE_THROWS_AS(score({.prompt = "a", .choices = {" b", ""}}), qlora::FormatError);
  REQUIRE_THROWS_AS(score({.prompt = "a", .choices = {" b", std::string(600, 'x')}}),
                    qlora::FormatError);
  const std::vector<ChoiceQuestion> two(2, {.prompt = "a", .choices = {" b", " c"}});
  Index done = 0;
  const auto scores =
      qlora::score_all(tiny.model, tiny.tokenizer, two, [&](const qlora::ChoiceProgress& now) {
        done = now.done;
        return now.total == 2 && now.last.log_likelihood.size() == 2;
      });
  REQUIRE(scores.size() == 2);
  REQUIRE(done == 2);
  REQUIRE_THROWS_AS(qlora::score_all(tiny.model, tiny.tokenizer, two,
                                     [](const qlora::Progress&) { return false; }),
                    qlora::Cancelled);
}
