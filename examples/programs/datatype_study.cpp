// Data types against each other on a real model: bits a weight, errors on real weights, perplexity
// on held-out text before and after a short fine-tune, and whether the weights are normal at all:
//
//   datatype_study --model SmolLM2-135M-Instruct.Q4_1.gguf --weights model.safetensors
//     --text jargon.txt --output build/study
//
// A format is a name, or a name and a block size as nf4:256. The text's second half is held out;
// the first half is what is fine-tuned on. DIR gets datatypes.json, datatypes.csv, normality.csv
// and a picture of bits against perplexity as datatypes.png and datatypes.svg. A run that is cut
// off goes on where it stopped when it is started again with the same settings: formats that
// datatypes.json has are not measured again. Results of other settings are refused, or replaced as
// a whole with --overwrite.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "qlora/eval/normality.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/model/model_checksum.hpp"
#include "qlora/model/model_tensors.hpp"
#include "qlora/quant/error_metrics.hpp"
#include "qlora/quant/quantize.hpp"
#include "qlora/quant/visit_format.hpp"
#include "qlora/text/dataset.hpp"
#include "qlora/train/trainer.hpp"
#include "qlora/version.hpp"
#include "support/checks.hpp"
#include "support/model.hpp"
#include "support/output.hpp"
#include "support/picture.hpp"
#include "support/progress.hpp"
#include "support/signals.hpp"
#include "support/table.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using qlora::Index;

// What the paper compares, what else has four bits, and blocks and nesting of NF4.
const std::vector<std::string> all_formats{
    "float",      "int4",       "int4-16",     "fp4",         "fp4-e2m1", "fp4-e3m0", "nf4",
    "nf4-dq",     "nf4-dq2",    "nf3",         "nf2",         "af4",      "bof4",     "bof4-s",
    "learned4",   "mxfp4",      "nvfp4",       "q4_0",        "q4_1",     "iq4_nl",   "nf4:32",
    "nf4:128",    "nf4:256",    "nf4:512",     "nf4:1024",    "nf4:2048", "nf4:4096", "nf4-dq:32",
    "nf4-dq:128", "nf4-dq:256", "nf4-dq:1024", "nf4-dq:4096", "fp4:256",  "fp4:1024", "int4:32",
    "int4:256",   "int4:1024"};

struct NamedSize {
  std::string name;
  Index block_size = 0;  // 0: the format's own

  // From nf4 or nf4:256. Throws FormatError for what is no number.
  explicit NamedSize(const std::string& text) : name(text.substr(0, text.find(':'))) {
    if (name.size() == text.size()) return;
    const std::string digits = text.substr(name.size() + 1);
    const bool number = !digits.empty() && digits.size() < 6 &&
                        digits.find_first_not_of("0123456789") == std::string::npos;
    qlora::require<qlora::FormatError>(number, "format '", text,
                                       "': expected a block size after ':'");
    block_size = std::stoi(digits);
  }
};

struct Settings {
  std::string model, weights, text, output;
  std::vector<std::string> formats = all_formats;
  Index seq_len = 512, windows = 24, steps = 0, batch = 4, rank = 16;
  double learning_rate = 2e-4;
  std::uint64_t seed = 0;
  std::string compute = "auto";
  bool overwrite = false;

  void add_to(CLI::App& app) {
    app.add_option("--model", model, "GGUF file or folder of a Llama model")->required();
    app.add_option("--weights", weights,
                   "file with other weights for errors and normality, better in float32 [the "
                   "model's]");
    app.add_option("--text", text, "plain text: its first half trains, its second is held out")
        ->required();
    app.add_option("--output", output, "folder for the results")->required();
    app.add_option("--formats", formats, "such as nf4 or nf4:256 [a study of all]")->delimiter(',');
    app.add_option("--seq-len", seq_len, "tokens of a window")
        ->check(program::between<Index>(2, 1 << 24))
        ->capture_default_str();
    app.add_option("--windows", windows, "of the held-out text, evenly spread; 0: all")
        ->check(program::at_least<Index>(0))
        ->capture_default_str();
    app.add_option("--steps", steps, "of the fine-tune; 0: none")
        ->check(program::at_least<Index>(0))
        ->capture_default_str();
    app.add_option("--batch", batch, "windows of a step, a quarter as long")
        ->check(program::at_least<Index>(1))
        ->capture_default_str();
    app.add_option("--rank", rank, "of the adapters")
        ->check(program::at_least<Index>(1))
        ->capture_default_str();
    app.add_option("--lr", learning_rate, "learning rate")
        ->check(program::at_least<double>(0))
        ->capture_default_str();
    app.add_option("--seed", seed, "of the adapters, the order and dropout")
        ->check(program::any_number<std::uint64_t>())
        ->capture_default_str();
    program::add_compute(app, compute);
    app.add_flag("--overwrite", overwrite,
                 "replace the whole --output folder when the study is complete");
    app.footer(
        "Examples:\n"
        "  datatype_study --model F.gguf --text jargon.txt --output build/study\n"
        "  datatype_study --model F.gguf --text jargon.txt --formats nf4,nf4:256 --steps 25 "
        "--output build/nf4");
  }
};

// Every projection-like matrix: two dimensions, not an embedding.
struct Weights {
  std::vector<std::string> names;
  std::vector<qlora::RowMatrixXf> matrices;
};

Weights read_weights(const std::string& path) {
  const qlora::ModelFile input(path);
  Weights weights;
  for (const auto& tensor : input.tensors()) {
    const bool table = tensor.name.find("embd") != std::string::npos ||
                       tensor.name.find("embed") != std::string::npos ||
                       tensor.name.find("lm_head") != std::string::npos ||
                       tensor.name.starts_with("output.");
    if (tensor.shape.size() != 2 || !tensor.is_float() || table) continue;
    weights.names.push_back(tensor.name);
    weights.matrices.push_back(tensor.dense());
  }
  qlora::require<qlora::FormatError>(!weights.names.empty(), path,
                                     ": expected matrices of weights, found none");
  return weights;
}

struct Errors {
  double mean_squared = 0, largest = 0, signal_to_noise_db = 0;
};

// Over all weights together.
Errors errors_of(const NamedSize& format, const Weights& weights) {
  Errors errors;
  double noise = 0, signal = 0, count = 0;
  qlora::visit_format(format.name, format.block_size, [&]<class Format>() {
    for (const auto& dense : weights.matrices) {
      const auto w = qlora::quantize<Format>(dense, {.block_size = format.block_size});
      const auto error = qlora::quantization_error(dense, w.view());
      const double squares = dense.template cast<double>().squaredNorm();
      noise += error.mean_squared * static_cast<double>(dense.size());
      signal += squares;
      count += static_cast<double>(dense.size());
      errors.largest = std::max(errors.largest, error.largest);
    }
  });
  errors.mean_squared = noise / count;
  errors.signal_to_noise_db = 10 * std::log10(signal / noise);
  return errors;
}

double bits_a_weight(const qlora::Llama<>& model) {
  double bytes = 0, weights = 0;
  for (const auto& block : model.blocks)
    for (const auto& projection : block.projections) {
      bytes += static_cast<double>(projection.base().bytes());
      weights += static_cast<double>(projection.rows() * projection.cols());
    }
  return 8 * bytes / weights;
}

// The share of rows that are not normal, for each matrix; NaN overall where none can be tested.
program::Table normality_of(const Weights& weights, double& overall) {
  program::Table table({{"matrix"}, {"rows"}, {"refused", 4}});
  double refused = 0, rows = 0;
  Index left_out = 0;
  for (std::size_t i = 0; i < weights.names.size(); ++i) {
    const auto& matrix = weights.matrices[i];
    if (matrix.cols() < 3 || matrix.cols() > 5000) {  // beyond Shapiro and Wilk's table
      ++left_out;
      continue;
    }
    const double share = qlora::rows_refused(matrix);
    table.add({weights.names[i], matrix.rows(), share});
    refused += share * static_cast<double>(matrix.rows());
    rows += static_cast<double>(matrix.rows());
  }
  if (left_out > 0)
    program::warn(
        std::to_string(left_out) +
        " matrices have rows of less than 3 or more than 5000 weights: their normality is "
        "not tested");
  overall = refused / rows;
  return table;
}

struct Texts {
  std::vector<qlora::EncodedText> train, held_out;
};

// The halves of a text in windows: a quarter as long to train on, evenly spread to measure on.
Texts read_texts(const Settings& settings, const qlora::Tokenizer& tokenizer) {
  const auto ids = tokenizer.encode_document(qlora::read_data_text(settings.text));
  const auto half = static_cast<Index>(ids.size() / 2);
  const auto all = qlora::windows({ids.begin() + half, ids.end()}, settings.seq_len);
  const auto available = static_cast<Index>(all.size());
  qlora::require<qlora::FormatError>(available > 0, settings.text, ": expected at least ",
                                     2 * settings.seq_len, " tokens, found ", ids.size());
  const Index count = settings.windows == 0 ? available : std::min(settings.windows, available);
  Texts texts;
  texts.train =
      qlora::windows({ids.begin(), ids.begin() + half}, std::max<Index>(2, settings.seq_len / 4));
  for (Index i = 0; i < count; ++i)
    texts.held_out.push_back(all[static_cast<std::size_t>(i * available / count)]);
  return texts;
}

double perplexity_of(qlora::Llama<>& model, const Texts& texts) {
  return std::exp(qlora::mean_loss(model, texts.held_out, 1));
}

double tuned_perplexity(qlora::Llama<>& model, const Texts& texts, const Settings& settings) {
  model.set_compute(qlora::compute_from_name(settings.compute));
  model.adapt({.rank = settings.rank,
               .alpha = 2 * static_cast<float>(settings.rank),
               .dropout = 0.05f,
               .seed = qlora::derive_key(settings.seed, 3)});
  qlora::Trainer trainer(model, texts.train,
                         {.steps = settings.steps,
                          .batch = settings.batch,
                          .learning_rate = settings.learning_rate,
                          .seed = settings.seed});
  trainer.run();
  model.set_compute(qlora::Compute::float32);
  return perplexity_of(model, texts);
}

// What one format comes to; null for what was not measured.
json measure(const std::string& text, const Settings& settings, const qlora::ModelSource& source,
             const Weights& weights, const Texts& texts) {
  const NamedSize format(text);
  qlora::Llama<> model = program::load_model(source, format.name, format.block_size);
  json row = {{"format", text}, {"bits", bits_a_weight(model)}, {"steps", settings.steps}};
  if (format.name != "float" && format.name != "as-is") {
    const Errors errors = errors_of(format, weights);
    row["mean_squared_error"] = errors.mean_squared;
    row["largest_error"] = errors.largest;
    row["snr_db"] = program::number(errors.signal_to_noise_db);
  }
  row["perplexity"] = program::number(perplexity_of(model, texts));
  if (settings.steps > 0)
    row["tuned_perplexity"] = program::number(tuned_perplexity(model, texts, settings));
  return row;
}

program::Table table_of(const json& rows) {
  program::Table table({{"format"},
                        {"bits", 3},
                        {"mean_squared_error", 9},
                        {"largest_error", 4},
                        {"snr_db", 2},
                        {"perplexity", 2},
                        {"tuned_perplexity", 2}});
  for (const auto& row : rows) {
    std::vector<json> cells;
    for (const char* key : {"format", "bits", "mean_squared_error", "largest_error", "snr_db",
                            "perplexity", "tuned_perplexity"})
      cells.push_back(row.value(key, json()));
    table.add(std::move(cells));
  }
  return table;
}

// A line for each format, the best first; what is beyond all bounds is left out.
void draw(const fs::path& folder, json rows) {
  constexpr double bound = 1000;
  const auto perplexity = [](const json& row) {
    const json& value = row.at("perplexity");
    return value.is_null() ? HUGE_VAL : value.get<double>();
  };
  std::stable_sort(rows.begin(), rows.end(),
                   [&](const json& a, const json& b) { return perplexity(a) < perplexity(b); });
  program::Table drawn({{"format"}, {"perplexity"}, {"tuned_perplexity"}});
  for (const auto& row : rows) {
    const auto format = row.at("format").get<std::string>();
    if (!(perplexity(row) < bound)) {
      program::warn(format + " is not drawn: its perplexity is not below 1000");
      continue;
    }
    char label[80];
    std::snprintf(label, sizeof(label), "%s (%.2f)", format.c_str(), row.at("bits").get<double>());
    drawn.add({label, row.at("perplexity"), row.value("tuned_perplexity", json())});
  }
  if (drawn.empty()) return;
  qlora::write_text_file(folder / "datatypes-drawn.csv", drawn.csv());
  program::draw_both(folder, "datatypes",
                     "set key top right; set grid; set logscale x; "
                     "set yrange [:] reverse; set offsets 0, 0, 0.5, 0.5; set ytics font ',9'; set "
                     "xlabel 'perplexity'; set ylabel 'format (bits a weight)'; plot "
                     "'datatypes-drawn.csv' using 2:0:ytic(1) skip 1 with points pointtype 7 "
                     "linecolor rgb '#555555' title 'quantized', 'datatypes-drawn.csv' using 3:0 "
                     "skip 1 with points pointtype 7 linecolor rgb '#c05020' title 'and fine-tuned "
                     "for a few steps'");
}

// Rows of an earlier run with the same settings, by format; nothing where there is none.
std::optional<std::map<std::string, json>> earlier_rows(const fs::path& file,
                                                        const json& settings) {
  if (!fs::exists(file)) return {};
  const json all = qlora::read_json_file(file);
  if (!all.is_object() || all.value("settings", json()) != settings) return {};
  std::map<std::string, json> rows;
  for (const auto& row : all.at("formats")) rows[row.at("format").get<std::string>()] = row;
  return rows;
}

// Where the results go: into the folder of an earlier run that was cut off, or into a new one.
class Place {
 public:
  // `start`: what datatypes.json holds before the first format.
  Place(const Settings& settings, const json& start) : folder_(settings.output) {
    auto earlier = earlier_rows(folder_ / "datatypes.json", start.at("settings"));
    if (earlier && !settings.overwrite) {
      known_ = std::move(*earlier);
      for (const char* name :
           {"datatypes.csv", "datatypes-drawn.csv", "datatypes.png", "datatypes.svg"})
        fs::remove(folder_ / name);  // of fewer formats
      return;
    }
    output_.open(settings.output,
                 {settings.overwrite, {settings.model, settings.weights, settings.text}});
    qlora::write_text_file(output_.path() / "datatypes.json", start.dump(2) + "\n");
    replaces_ = settings.overwrite;
    if (!replaces_) output_.commit();  // a new study can go on after it was cut off
  }
  fs::path folder() const { return replaces_ ? output_.path() : folder_; }
  const std::map<std::string, json>& known() const { return known_; }
  void commit() {
    if (replaces_) output_.commit();
  }

 private:
  fs::path folder_;
  std::map<std::string, json> known_;
  program::OutputFolder output_;
  program::StopSignals signals_{[this] { output_.discard(); }};
  bool replaces_ = false;  // the whole folder, when the study is complete
};

void study(const Settings& settings) {
  const auto source = program::open_model(settings.model);
  program::require_context(*source, settings.seq_len);
  for (const auto& format : settings.formats) {
    const NamedSize named(format);
    if (named.name != "float" && named.name != "as-is")
      qlora::visit_format(named.name, named.block_size, []<class Format>() {});
  }
  const qlora::Tokenizer tokenizer(program::tokenizer_data(*source));
  const Texts texts = read_texts(settings, tokenizer);
  const Weights weights =
      read_weights(settings.weights.empty() ? settings.model : settings.weights);
  double refused = 0;
  const program::Table normality = normality_of(weights, refused);
  json all = {{"settings",
               {{"qlora_version", QLORA_VERSION},
                {"model", fs::path(settings.model).filename().string()},
                {"model_sha256", qlora::model_checksum(*source)},
                {"weights", fs::path(settings.weights).filename().string()},
                {"text", fs::path(settings.text).filename().string()},
                {"seq_len", settings.seq_len},
                {"windows", texts.held_out.size()},
                {"steps", settings.steps},
                {"batch", settings.batch},
                {"rank", settings.rank},
                {"learning_rate", settings.learning_rate},
                {"seed", settings.seed},
                {"compute", settings.compute}}},
              {"rows_not_normal", program::number(refused)},
              {"formats", json::array()}};
  Place place(settings, all);
  const fs::path folder = place.folder();
  const auto& known = place.known();
  qlora::write_text_file(folder / "normality.csv", normality.csv());
  program::ProgressBar bar(static_cast<Index>(settings.formats.size()), stderr);
  for (std::size_t i = 0; i < settings.formats.size(); ++i) {
    const std::string& format = settings.formats[i];
    const auto found = known.find(format);
    all["formats"].push_back(
        found != known.end() ? found->second : measure(format, settings, *source, weights, texts));
    qlora::write_text_file(folder / "datatypes.json", all.dump(2) + "\n");
    bar.show(static_cast<Index>(i + 1), format);
  }
  const program::Table table = table_of(all["formats"]);
  table.print(std::cout);
  std::cout << "\n" << texts.held_out.size() << " windows of " << settings.seq_len << " tokens";
  if (std::isfinite(refused))
    std::cout << "; a normal distribution is refused for " << 100 * refused
              << " % of the rows of the weights (Shapiro and Wilk, 5 %)";
  std::cout << "\n";
  qlora::write_text_file(folder / "datatypes.csv", table.csv());
  draw(folder, all["formats"]);
  place.commit();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Data types against each other on a real model", "datatype_study");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { study(settings); });
}
