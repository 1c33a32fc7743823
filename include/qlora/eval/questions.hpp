/// Files of multiple-choice questions: one's own, and MMLU's with worked examples before each.
///
///     qlora::QuestionNotes notes;
///     auto questions = qlora::read_mmlu("zero_shot_mmlu_val.json", {.shots = 5}, notes);
///
/// Several threads may read at once, each with notes of its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/random.hpp"
#include "qlora/eval/multiple_choice.hpp"
#include "qlora/text/data_file.hpp"

namespace qlora::inline QLORA_ABI {

/// What was seen while reading.
struct QuestionNotes {
  std::vector<std::string> broken_lines;  ///< left out; each names file, line and reason
  Index fewer_shots = 0;  ///< questions whose subject has fewer other questions than shots
};

namespace eval_detail {

/// Calls body(object) for each object of JSON lines or of one JSON list, and notes what body or the
/// parser refuses.
template <class Body>
void for_each_question(const std::filesystem::path& path, QuestionNotes& notes, Body body) {
  std::size_t line = 1;
  const auto where = [&] { return message(path.filename().string(), ":", line, ": "); };
  const std::string text = read_data_text(path);
  try {
    for_each_json_value(text, line, [&](std::size_t, std::string_view part) {
      try {
        body(parse_json_object(part));
      } catch (const FormatError& failure) {
        notes.broken_lines.push_back(where() + failure.what());
      }
    });
  } catch (const FormatError& failure) {
    throw FormatError(message(path.string(), ":", line, ": ", failure.what()));
  }
}

/// The texts of the list under a key. Throws FormatError.
inline std::vector<std::string> text_list(const nlohmann::ordered_json& object, const char* key) {
  const auto place = object.find(key);
  require<FormatError>(place != object.end() && place->is_array(), key,
                       ": expected a list of texts, found ",
                       place == object.end() ? "no such key" : json_kind(*place));
  std::vector<std::string> texts;
  for (const auto& each : *place) {
    require<FormatError>(each.is_string(), key, "[", texts.size(), "]: expected a text, found ",
                         json_kind(each));
    texts.push_back(each.get<std::string>());
  }
  return texts;
}

/// The number of the right choice, from a number or from the choice's text. Throws FormatError.
inline Index answer_of(const nlohmann::ordered_json& answer,
                       const std::vector<std::string>& choices) {
  Index index = -1;
  if (answer.is_number_integer()) index = answer.get<Index>();
  if (answer.is_string())
    index = std::find(choices.begin(), choices.end(), answer.get<std::string>()) - choices.begin();
  require<FormatError>(index >= 0 && index < static_cast<Index>(choices.size()),
                       "answer: expected a number below ", choices.size(),
                       " or one of the choices, found ", answer.dump());
  return index;
}

}  // namespace eval_detail

/// Reads JSON lines, or one JSON list, of {prompt, choices[], answer}. The answer is a number from
/// 0 or the text of a choice; a subject may be there. Where neither the prompt ends nor a choice
/// begins with a blank, the choice gets one. Throws IoError for a file that can't be read,
/// FormatError for one without a question.
inline std::vector<ChoiceQuestion> read_questions(const std::filesystem::path& path,
                                                  QuestionNotes& notes) {
  std::vector<ChoiceQuestion> questions;
  eval_detail::for_each_question(path, notes, [&](const nlohmann::ordered_json& line) {
    ChoiceQuestion question{.prompt = json_text(line, "prompt"),
                            .choices = eval_detail::text_list(line, "choices"),
                            .subject = line.contains("subject") ? json_text(line, "subject") : ""};
    require<FormatError>(line.contains("answer"),
                         "answer: expected a number or one of the choices, found no such key");
    question.answer = eval_detail::answer_of(line["answer"], question.choices);
    require<FormatError>(!question.prompt.empty() && question.choices.size() >= 2,
                         "expected a prompt and at least 2 choices");
    const std::string_view blanks = " \t\n";
    for (std::string& choice : question.choices) {
      require<FormatError>(!choice.empty(), "choices: expected a text, found an empty one");
      if (blanks.find(question.prompt.back()) == std::string_view::npos &&
          blanks.find(choice.front()) == std::string_view::npos)
        choice = std::string(" ").append(choice);
    }
    questions.push_back(std::move(question));
  });
  require<FormatError>(!questions.empty(), path.string(),
                       ": expected JSON lines {prompt, choices, answer}, found no question");
  return questions;
}

/// What stands before each question.
struct MmluOptions {
  Index shots = 0;         ///< worked examples before each question, of its own subject
  std::uint64_t seed = 0;  ///< decides which examples
};

/// Reads JSON lines, or one JSON list, of {subject, input, output}. The input is a headline, a
/// blank line and the question up to "Answer:"; the output is the letter. Shots are other questions
/// of the same subject. Throws IoError for a file that can't be read, FormatError for one without a
/// question.
inline std::vector<ChoiceQuestion> read_mmlu(const std::filesystem::path& path,
                                             const MmluOptions& options, QuestionNotes& notes) {
  const std::vector<std::string> letters{" A", " B", " C", " D"};
  std::vector<ChoiceQuestion> questions;
  std::map<std::string, std::vector<std::size_t>> of_subject;
  eval_detail::for_each_question(path, notes, [&](const nlohmann::ordered_json& line) {
    const auto letter = json_text(line, "output");
    const Index answer = std::find(letters.begin(), letters.end(), " " + letter) - letters.begin();
    require<FormatError>(answer < static_cast<Index>(letters.size()),
                         "output: expected A, B, C or D, found '", letter, "'");
    ChoiceQuestion question{json_text(line, "input"), letters, answer, json_text(line, "subject")};
    require<FormatError>(!question.prompt.empty(), "input: expected a question");
    of_subject[question.subject].push_back(questions.size());
    questions.push_back(std::move(question));
  });
  require<FormatError>(!questions.empty(), path.string(),
                       ": expected JSON lines {subject, input, output}, found no question");
  if (options.shots == 0) return questions;
  const auto body = [](const std::string& prompt) {
    const std::size_t headline = prompt.find("\n\n");
    return headline == std::string::npos ? 0 : headline + 2;
  };
  std::vector<ChoiceQuestion> with_shots = questions;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const std::string& prompt = questions[q].prompt;
    std::string shown = prompt.substr(0, body(prompt));
    const auto& others = of_subject[questions[q].subject];
    Index left = options.shots;
    for (const Index i : permutation(static_cast<Index>(others.size()),
                                     derive_key(options.seed, static_cast<std::uint64_t>(q)))) {
      const std::size_t other = others[static_cast<std::size_t>(i)];
      if (other == q || left == 0) continue;
      const ChoiceQuestion& shot = questions[other];
      shown += shot.prompt.substr(body(shot.prompt)) +
               shot.choices[static_cast<std::size_t>(shot.answer)] + "\n\n";
      --left;
    }
    notes.fewer_shots += left > 0 ? 1 : 0;
    with_shots[q].prompt = shown + prompt.substr(body(prompt));
  }
  return with_shots;
}

}  // namespace qlora::inline QLORA_ABI
