// Evaluates a Llama model, with or without an adapter, on one task:
//
//   evaluate --model F.gguf --task perplexity --data jargon.txt --stride 256
//   evaluate --model F.gguf --task mmlu --data zero_shot_mmlu_val.json --shots 5
//   evaluate --model F.gguf --task questions.jsonl
//   evaluate --model F.gguf --adapter out --task generation --data asked.jsonl
//
// perplexity: of a text, for each token, word and byte. mmlu: JSON lines {subject, input, output}.
// A file: JSON lines {prompt, choices[], answer}. generation: the answers of the model without and
// with the adapter to the first message of each chat, side by side. DIR gets JSON, CSV and
// pictures.
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qlora/eval/multiple_choice.hpp"
#include "qlora/eval/perplexity.hpp"
#include "qlora/eval/questions.hpp"
#include "qlora/model/answer.hpp"
#include "qlora/text/dataset.hpp"
#include "support/chat_option.hpp"
#include "support/checks.hpp"
#include "support/format_check.hpp"
#include "support/model.hpp"
#include "support/picture.hpp"
#include "support/progress.hpp"
#include "support/report.hpp"
#include "support/table.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using qlora::Index;

struct Settings {
  program::ModelOptions model;
  program::ChatOption chat;
  std::string task, data;
  program::ReportOptions report;
  qlora::PerplexityOptions perplexity;
  qlora::MmluOptions mmlu;
  qlora::SampleOptions sample;
  Index limit = 0;
  std::uint64_t seed = 0;

  void add_to(CLI::App& app) {
    model.add_to(app);
    chat.add_to(app);
    app.add_option("--task", task,
                   "perplexity, mmlu, generation, or a file of questions {prompt, choices, answer}")
        ->required();
    app.add_option("--data", data,
                   "the text, MMLU's questions, or the chats whose first message is answered");
    app.add_option("--shots", mmlu.shots, "worked examples before each question of mmlu")
        ->check(program::between<Index>(0, 5))
        ->capture_default_str();
    app.add_option("--limit", limit,
                   "questions, spread over the file, or windows of a text; 0: all")
        ->check(program::at_least<Index>(0))
        ->capture_default_str();
    app.add_option("--seed", seed, "of the choice of shots, and of sampling")
        ->check(program::any_number<std::uint64_t>())
        ->capture_default_str();
    app.add_option("--seq-len", perplexity.window, "tokens a window of perplexity")
        ->check(program::between<Index>(2, 1 << 24))
        ->capture_default_str();
    app.add_option("--stride", perplexity.stride,
                   "tokens from window to window [--seq-len, and a last short one is dropped]")
        ->check(program::at_least<Index>(1));
    app.add_option("--max-tokens", sample.new_tokens, "tokens an answer of generation at most")
        ->check(program::at_least<Index>(1))
        ->capture_default_str();
    app.add_option("--temperature", sample.temperature, "of generation; 0: greedy")
        ->check(program::at_least<float>(0))
        ->capture_default_str();
    report.add_to(app, "evaluation");
    program::check_block_size(app, model);
    app.final_callback([this] {
      if (is_named_task() && data.empty()) throw CLI::RequiredError("--data for --task " + task);
      if (!is_named_task() && !data.empty())
        throw CLI::ValidationError("--data", "only with --task perplexity, mmlu or generation");
      if (perplexity.stride > perplexity.window)
        throw CLI::ValidationError("--stride", "expected at most --seq-len");
    });
    app.footer(
        "Tasks and their data:\n"
        "  perplexity   a plain text\n"
        "  mmlu         JSON lines {\"subject\": ..., \"input\": ..., \"output\": \"B\"}\n"
        "  generation   chats, as finetune reads them; the first message of each is answered\n"
        "  FILE         JSON lines {\"prompt\": ..., \"choices\": [...], \"answer\": 0}\n\n"
        "Examples:\n"
        "  evaluate --model F.gguf --task perplexity --data jargon.txt --stride 256\n"
        "  evaluate --model F.gguf --adapter out --task questions.jsonl --json result.json");
  }

  bool is_named_task() const {
    return task == "perplexity" || task == "mmlu" || task == "generation";
  }
};

// What a task comes to: the whole for JSON, one table for CSV, what is drawn, and how.
struct Result {
  json all;
  program::Table table;
  std::optional<program::Table> drawn;  // as evaluation-drawn.csv; else the table
  std::string picture;                  // gnuplot; none if empty
};

Result measure_perplexity(const Settings& settings, const qlora::ModelSource& source) {
  program::require_context(source, settings.perplexity.window);
  const qlora::Tokenizer tokenizer(program::tokenizer_data(source));
  const std::string text = qlora::read_data_text(settings.data);
  const auto ids = tokenizer.encode_document(text);
  const Index least = settings.perplexity.stride > 0 ? 2 : settings.perplexity.window;
  qlora::require<qlora::FormatError>(static_cast<Index>(ids.size()) >= least, settings.data,
                                     ": expected at least ", least, " tokens, found ", ids.size());
  qlora::Llama<> model = settings.model.load(source);
  qlora::PerplexityOptions options = settings.perplexity;
  options.max_windows = settings.limit;
  std::optional<program::ProgressBar> bar;
  program::Table along({{"window"}, {"perplexity", 4}, {"so_far", 4}});
  qlora::Perplexity before;
  options.progress = [&](const qlora::PerplexityProgress& now) {
    const qlora::Perplexity& so_far = now.so_far;
    const double own =
        std::exp((so_far.nats - before.nats) / static_cast<double>(so_far.tokens - before.tokens));
    along.add({now.done, own, so_far.per_token()});
    before = so_far;
    if (!bar) bar.emplace(now.total, stderr);
    if (bar->terminal() || now.done % 64 == 0)
      bar->show(now.done, "window " + std::to_string(now.done) + "/" + std::to_string(now.total) +
                              "  perplexity " + std::to_string(so_far.per_token()));
    return true;
  };
  const qlora::Perplexity result =
      qlora::perplexity(model, ids, options, qlora::token_extents(ids, tokenizer));
  program::Table table({{"of_a", 0}, {"count"}, {"perplexity", 4}, {"bits", 4}});
  const auto add = [&](const char* what, Index count, double value) {
    table.add({what, count, value, std::log2(value)});
  };
  add("token", result.tokens, result.per_token());
  add("word", result.words, result.per_word());
  add("byte", result.bytes, result.per_byte());
  table.print(std::cout);
  const double error = result.standard_error * result.per_token();
  std::cout << "\nperplexity " << result.per_token() << " +- " << error << " tokens "
            << result.tokens << "\n";
  return {{{"task", "perplexity"},
           {"nats", result.nats},
           {"tokens", result.tokens},
           {"words", result.words},
           {"bytes", result.bytes},
           {"perplexity", result.per_token()},
           {"perplexity_standard_error", program::number(error)},
           {"word_perplexity", program::number(result.per_word())},
           {"byte_perplexity", program::number(result.per_byte())},
           {"bits_per_byte", program::number(result.bits_per_byte())},
           {"window", options.window},
           {"stride", options.stride > 0 ? options.stride : options.window},
           {"windows", along.json()}},
          table,
          along,
          "set logscale y; set grid; set xlabel 'window'; set ylabel "
          "'perplexity'; plot "
          "'evaluation-drawn.csv' using 1:2 skip 1 with points pointtype 7 pointsize 0.5 title 'of "
          "the window', 'evaluation-drawn.csv' using 1:3 skip 1 with lines linewidth 2 title 'so "
          "far'"};
}

void warn(const qlora::QuestionNotes& notes) {
  for (const auto& line : notes.broken_lines) program::warn("left out: " + line);
  if (notes.fewer_shots > 0)
    program::warn(std::to_string(notes.fewer_shots) +
                  " questions have fewer others of their subject than shots");
}

// `limit` of them, evenly spread.
std::vector<qlora::ChoiceQuestion> spread(std::vector<qlora::ChoiceQuestion> questions,
                                          Index limit) {
  const auto count = static_cast<Index>(questions.size());
  if (limit <= 0 || limit >= count) return questions;
  std::vector<qlora::ChoiceQuestion> some;
  for (Index i = 0; i < limit; ++i)
    some.push_back(std::move(questions[static_cast<std::size_t>(i * count / limit)]));
  return some;
}

Result answer_questions(const Settings& settings, const qlora::ModelSource& source) {
  const bool mmlu = settings.task == "mmlu";
  qlora::QuestionNotes notes;
  auto questions =
      mmlu ? qlora::read_mmlu(settings.data, {settings.mmlu.shots, settings.seed}, notes)
           : qlora::read_questions(settings.task, notes);
  warn(notes);
  questions = spread(std::move(questions), settings.limit);
  const qlora::Tokenizer tokenizer(program::tokenizer_data(source));
  const qlora::Llama<> model = settings.model.load(source);
  program::ProgressBar bar(static_cast<Index>(questions.size()), stderr);
  qlora::Accuracy plain, normalized;
  Index cut = 0;
  const auto scores =
      qlora::score_all(model, tokenizer, questions, [&](const qlora::ChoiceProgress& now) {
        const Index answer = questions[static_cast<std::size_t>(now.done - 1)].answer;
        plain.add(now.last.best == answer);
        normalized.add(now.last.best_normalized == answer);
        cut += now.last.cut > 0 ? 1 : 0;
        if (bar.terminal() || now.done % 50 == 0)
          bar.show(now.done, "question " + std::to_string(now.done) + "/" +
                                 std::to_string(now.total) + "  right " +
                                 std::to_string(plain.right));
        return true;
      });
  if (cut > 0)
    program::warn(std::to_string(cut) + " prompts were cut at their start to fit the context");
  struct Subject {
    qlora::Accuracy plain, normalized;
  };
  std::map<std::string, Subject> subjects;
  json each = json::array();
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const auto& question = questions[q];
    const std::string name = question.subject.empty() ? "all" : question.subject;
    subjects[name].plain.add(scores[q].best == question.answer);
    subjects[name].normalized.add(scores[q].best_normalized == question.answer);
    each.push_back({{"subject", question.subject},
                    {"answer", question.answer},
                    {"chosen", scores[q].best},
                    {"chosen_normalized", scores[q].best_normalized},
                    {"log_likelihood", scores[q].log_likelihood}});
  }
  program::Table table({{"subject"},
                        {"questions"},
                        {"acc", 4},
                        {"acc_stderr", 4},
                        {"acc_norm", 4},
                        {"acc_norm_stderr", 4}});
  const auto add = [&](const std::string& name, const qlora::Accuracy& a,
                       const qlora::Accuracy& n) {
    table.add({name, a.count, a.value(), a.standard_error(), n.value(), n.standard_error()});
  };
  if (subjects.size() > 1)
    for (const auto& [name, subject] : subjects) add(name, subject.plain, subject.normalized);
  add("all", plain, normalized);
  table.print(std::cout);
  return {{{"task", settings.task},
           {"shots", mmlu ? settings.mmlu.shots : 0},
           {"seed", settings.seed},
           {"questions", plain.count},
           {"acc", plain.value()},
           {"acc_stderr", program::number(plain.standard_error())},
           {"acc_norm", normalized.value()},
           {"acc_norm_stderr", program::number(normalized.standard_error())},
           {"subjects", table.json()},
           {"broken_lines", notes.broken_lines},
           {"each", std::move(each)}},
          table,
          {},
          "set style data histograms; set style fill solid 0.6; set "
          "key off; set grid y; "
          "set xtics rotate by 60 right font ',7'; set ylabel 'share of right answers'; set yrange "
          "[0:1]; plot 'evaluation.csv' using 3:xtic(1) skip 1"};
}

Result generate_side_by_side(const Settings& settings, const qlora::ModelSource& source) {
  const qlora::TokenizerData data = program::tokenizer_data(source);
  const qlora::Tokenizer tokenizer(data);
  const qlora::ChatTemplate chat = settings.chat.get(data, tokenizer, settings.model.adapter);
  std::vector<qlora::ChatMessage> asked;
  for (const auto& messages : qlora::read_chats(settings.data))
    for (const auto& message : messages)
      if (message.role == "user") {
        asked.push_back(message);
        break;
      }
  if (settings.limit > 0 && settings.limit < static_cast<Index>(asked.size()))
    asked.resize(static_cast<std::size_t>(settings.limit));
  qlora::require<qlora::FormatError>(!asked.empty(), settings.data,
                                     ": expected chats with a user's message, found none");
  const bool tuned = !settings.model.adapter.empty();
  program::Table table(tuned ? std::vector<program::Table::Column>{{"prompt"}, {"base"}, {"tuned"}}
                             : std::vector<program::Table::Column>{{"prompt"}, {"base"}});
  qlora::SampleOptions options = settings.sample;
  options.seed = settings.seed;
  std::vector<std::vector<json>> rows;
  program::ProgressBar bar(static_cast<Index>(asked.size() * (tuned ? 2 : 1)), stderr);
  for (const bool with_adapter : {false, true}) {
    if (with_adapter && !tuned) continue;
    const qlora::Llama<> model = settings.model.load(source, with_adapter);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      if (!with_adapter) rows.push_back({asked[i].content});
      std::vector<qlora::ChatMessage> messages{asked[i]};
      rows[i].push_back(qlora::answer(model, tokenizer, chat, messages, options).text);
      if (bar.terminal())
        bar.show(static_cast<Index>(i + 1 + (with_adapter ? asked.size() : 0)), "answers");
    }
  }
  for (auto& row : rows) {
    std::cout << "? " << row[0].get<std::string>() << "\n  base:  " << row[1].get<std::string>()
              << "\n";
    if (tuned) std::cout << "  tuned: " << row[2].get<std::string>() << "\n";
    table.add(std::move(row));
  }
  return {
      {{"task", "generation"}, {"seed", settings.seed}, {"answers", table.json()}}, table, {}, ""};
}

void evaluate(const Settings& settings) {
  std::error_code failure;
  qlora::require<qlora::FormatError>(
      settings.is_named_task() || fs::exists(settings.task, failure), "--task ", settings.task,
      ": expected perplexity, mmlu, generation or a file of questions, found no such file");
  program::Report report(settings.report, {settings.model.model, settings.model.adapter,
                                           settings.data, settings.task});
  const auto source = program::open_model(settings.model.model);
  Result result = settings.task == "perplexity"   ? measure_perplexity(settings, *source)
                  : settings.task == "generation" ? generate_side_by_side(settings, *source)
                                                  : answer_questions(settings, *source);
  result.all["model"] = fs::path(settings.model.model).filename().string();
  result.all["adapter"] = settings.model.adapter;
  if (const auto folder = report.write("evaluation", result.all, result.table)) {
    if (result.drawn) qlora::write_text_file(*folder / "evaluation-drawn.csv", result.drawn->csv());
    if (!result.picture.empty()) program::draw_both(*folder, "evaluation", result.picture);
  }
  report.commit();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Evaluate a Llama model on a text, on questions, or by its answers", "evaluate");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { evaluate(settings); });
}
