/// Multiple choice by log-likelihood, as the EleutherAI harness defines it: the answer is the
/// choice that the model finds likeliest after the prompt (acc), or likeliest per character
/// (acc_norm).
///
///     auto score = qlora::score_choices(model, tokenizer, {.prompt = "...\nAnswer:",
///                                       .choices = {" A", " B"}, .answer = 1});
///     score.best == question.answer;
///
/// A model may be scored in several threads at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/progress.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/text/tokenizer.hpp"

namespace qlora::inline QLORA_ABI {

/// A question and what may follow it.
struct ChoiceQuestion {
  std::string prompt;
  std::vector<std::string> choices;  ///< at least two; a leading blank belongs to the choice
  Index answer = 0;                  ///< the number of the right choice
  std::string subject = {};          ///< empty: none
};

/// What a model makes of one question.
struct ChoiceScore {
  std::vector<double> log_likelihood;  ///< of each choice after the prompt, in nats
  Index best = 0;                      ///< the likeliest choice
  Index best_normalized = 0;           ///< the likeliest choice per character
  Index cut = 0;                       ///< tokens cut from the prompt's start to fit the context
};

/// How many answers are right, and the standard error of their share.
struct Accuracy {
  Index count = 0, right = 0;

  /// Counts one more answer.
  void add(bool is_right) {
    ++count;
    right += is_right ? 1 : 0;
  }
  /// The share of right answers; NaN without any.
  double value() const { return static_cast<double>(right) / static_cast<double>(count); }
  /// The sample's deviation over the root of the count; NaN for fewer than two answers.
  double standard_error() const {
    return std::sqrt(value() * (1 - value()) / static_cast<double>(count - 1));
  }
};

namespace eval_detail {

/// The number of characters of UTF-8 text without its leading blanks.
inline Index choice_length(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

/// log softmax(logits)[id].
template <class Row>
double log_probability(const Row& logits, Token id) {
  const double largest = static_cast<double>(logits.maxCoeff());
  double total = 0;
  for (Index i = 0; i < logits.size(); ++i)
    total += std::exp(static_cast<double>(logits(i)) - largest);
  return static_cast<double>(logits(id)) - largest - std::log(total);
}

/// The tokens of a prompt and of one of its choices.
struct EncodedChoice {
  std::vector<Token> ids;
  std::size_t prompt = 0;  // how many of them are the prompt; the rest is the choice
  Index cut = 0;           // tokens cut from the start
};

inline std::vector<EncodedChoice> encode_choices(const Tokenizer& tokenizer,
                                                 const ChoiceQuestion& question, Index context) {
  const std::size_t end = question.prompt.find_last_not_of(' ') + 1;
  const std::string prompt = question.prompt.substr(0, end);
  const std::vector<Token>& before = tokenizer.before_text();
  const std::size_t prompt_tokens = before.size() + tokenizer.encode(prompt).size();
  std::vector<EncodedChoice> all;
  for (const std::string& choice : question.choices) {
    EncodedChoice each{before, prompt_tokens, 0};
    const std::vector<Token> said = tokenizer.encode(question.prompt + choice);
    each.ids.insert(each.ids.end(), said.begin(), said.end());
    require<FormatError>(each.ids.size() > prompt_tokens && prompt_tokens > 0,
                         "multiple choice: expected a prompt and a choice of at least one token "
                         "each, found '",
                         prompt, "' and '", choice, "'");
    const auto over = static_cast<Index>(each.ids.size()) - context;
    require<FormatError>(over < static_cast<Index>(prompt_tokens), "multiple choice: a choice of ",
                         each.ids.size() - prompt_tokens, " tokens: the model's context is ",
                         context);
    if (over > 0) {
      each.ids.erase(each.ids.begin(), each.ids.begin() + over);
      each.prompt -= static_cast<std::size_t>(over);
      each.cut = over;
    }
    all.push_back(std::move(each));
  }
  return all;
}

}  // namespace eval_detail

/// Scores the choices of one question. Prompt and choice are tokenized together, behind what the
/// tokenizer puts before a text. The choice's tokens are those beyond the number that the prompt
/// without its final blanks has. The prompt is computed once for all choices that follow the same
/// tokens. Throws FormatError for fewer than two choices, for a choice that adds no token or does
/// not fit in the context, and for an answer that is not the number of a choice.
template <Scalar T>
ChoiceScore score_choices(const Llama<T>& model, const Tokenizer& tokenizer,
                          const ChoiceQuestion& question) {
  const auto count = static_cast<Index>(question.choices.size());
  require<FormatError>(count >= 2, "multiple choice: expected at least 2 choices, found ", count);
  require<FormatError>(question.answer >= 0 && question.answer < count,
                       "multiple choice: expected an answer below ", count, ", found ",
                       question.answer);
  const auto encoded = eval_detail::encode_choices(tokenizer, question, model.config.context);
  std::size_t longest = 0;
  for (const auto& each : encoded) longest = std::max(longest, each.ids.size());
  ChoiceScore score;
  std::span<const Token> known;  // the tokens in the cache, and what they make of the next
  ColumnVector<T> next;
  auto cache = model.make_cache(static_cast<Index>(longest));
  std::vector<double> normalized;
  for (std::size_t c = 0; c < encoded.size(); ++c) {
    const std::span<const Token> ids(encoded[c].ids), before = ids.first(encoded[c].prompt);
    if (!std::ranges::equal(before, known)) {
      cache.length = 0;
      next = model.next_logits(before, cache);
      known = before;
    }
    double sum = eval_detail::log_probability(next, ids[before.size()]);
    if (const auto fed = ids.subspan(before.size(), ids.size() - before.size() - 1); !fed.empty()) {
      const RowMatrix<T> logits = model.all_logits(fed, cache);
      for (std::size_t i = 0; i < fed.size(); ++i)
        sum += eval_detail::log_probability(logits.row(static_cast<Index>(i)),
                                            ids[before.size() + i + 1]);
      cache.length = static_cast<Index>(before.size());
    }
    score.log_likelihood.push_back(sum);
    normalized.push_back(sum / static_cast<double>(std::max<Index>(
                                   1, eval_detail::choice_length(question.choices[c]))));
    score.cut = std::max(score.cut, encoded[c].cut);
  }
  const auto best_of = [](const std::vector<double>& values) {
    return std::max_element(values.begin(), values.end()) - values.begin();
  };
  score.best = best_of(score.log_likelihood);
  score.best_normalized = best_of(normalized);
  return score;
}

/// How far score_all is.
struct ChoiceProgress : Progress {
  const ChoiceScore& last;  ///< of question `done` - 1; valid during the call
};

/// Scores all questions, in their order. `progress` is called after each. Throws what score_choices
/// throws, and Cancelled.
template <Scalar T>
std::vector<ChoiceScore> score_all(const Llama<T>& model, const Tokenizer& tokenizer,
                                   const std::vector<ChoiceQuestion>& questions,
                                   const ProgressCallback<ChoiceProgress>& progress = {}) {
  std::vector<ChoiceScore> scores;
  scores.reserve(questions.size());
  for (const ChoiceQuestion& question : questions) {
    scores.push_back(score_choices(model, tokenizer, question));
    const Progress now{static_cast<Index>(scores.size()), static_cast<Index>(questions.size())};
    if (progress && !progress({now, scores.back()})) throw Cancelled("multiple choice: stopped");
  }
  return scores;
}

}  // namespace qlora::inline QLORA_ABI
