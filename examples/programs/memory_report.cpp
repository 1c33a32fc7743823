// Where the memory of fine-tuning goes:
//
//   memory_report --shape 7b --shape 65b --output build/memory
//   memory_report --model SmolLM2-135M-Instruct.Q4_1.gguf
//
// With --shape it is computed from LLaMA's shapes, with 16 bits for adapters and activations and
// gradient checkpointing as in the paper's runs; with --model it is computed for this library on
// the CPU and measured beside it: the model is loaded and trained for two steps. DIR gets
// memory.json, memory.csv and a stacked bar for each model as memory.png and memory.svg.
#include <sys/resource.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "qlora/eval/memory_report.hpp"
#include "qlora/text/dataset.hpp"
#include "qlora/train/trainer.hpp"
#include "support/checks.hpp"
#include "support/format_check.hpp"
#include "support/model.hpp"
#include "support/picture.hpp"
#include "support/report.hpp"
#include "support/table.hpp"

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using qlora::Index;

constexpr double gib = 1024.0 * 1024 * 1024;

struct Settings {
  std::string model, format = "nf4-dq", targets = "all";
  program::ReportOptions report;
  std::vector<std::string> shapes;
  Index block_size = 0, rank = 0, batch = 1, seq_len = 512;
  bool no_checkpoint = false;

  void add_to(CLI::App& app) {
    auto* file = app.add_option("--model", model, "GGUF file or folder: computed and measured");
    app.add_option("--shape", shapes, "of LLaMA, computed; may come again [all]")
        ->check(program::one_of({"7b", "13b", "33b", "65b", "smollm2-135m"}))
        ->excludes(file);
    app.add_option("--format", format, "of the projections")
        ->check(program::format_names(false))
        ->capture_default_str();
    app.add_option("--block-size", block_size, "weights that share a scale")
        ->check(program::block_sizes());
    app.add_option("--rank", rank, "of the adapters [64 for --shape, 16 for --model]")
        ->check(program::at_least<Index>(1));
    app.add_option("--targets", targets, "which projections get an adapter")
        ->check(program::one_of({"all", "attention"}))
        ->capture_default_str();
    app.add_option("--batch", batch, "sequences of a micro-batch")
        ->check(program::at_least<Index>(1))
        ->capture_default_str();
    app.add_option("--seq-len", seq_len, "tokens of a sequence")
        ->check(program::between<Index>(2, 1 << 24))
        ->capture_default_str();
    app.add_flag("--no-grad-checkpoint", no_checkpoint, "keep every activation");
    report.add_to(app, "memory");
    program::check_block_size(app, format, block_size);
    app.footer(
        "Examples:\n"
        "  memory_report --shape 7b --shape 65b --output build/memory\n"
        "  memory_report --model SmolLM2-135M-Instruct.Q4_1.gguf --rank 16 --json memory.json");
  }

  qlora::MemoryOptions options() const {
    qlora::MemoryOptions options;
    options.format = qlora::format_bits(format, block_size);
    options.targets = qlora::target_modules(targets);
    options.tokens = batch * seq_len;
    options.gradient_checkpoint = !no_checkpoint;
    return options;
  }
};

struct Report {
  std::string name;
  std::vector<qlora::MemoryPart> parts;
};

// As the paper's runs keep it: adapters and activations in 16 bits, no copy of the adapters.
Report of_shape(const std::string& name, const Settings& settings) {
  qlora::MemoryOptions options = settings.options();
  options.rank = settings.rank > 0 ? settings.rank : 64;
  options.adapter_bits = options.activation_bits = 16;
  options.keeps_good_parameters = false;
  return {name, qlora::memory_report(qlora::llama_shape(name), options)};
}

double peak_bytes() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

double resident_bytes() { return qlora::resident_mib() * 1024 * 1024; }

// Bytes of the process, without what it began with.
struct Measured {
  double weights = 0;  // that came with loading
  double peak = 0;
};

Measured measure(const qlora::ModelSource& source, const Settings& settings, Index rank,
                 double& packed_bytes, double& table_bytes) {
  Measured measured;
  const double start = resident_bytes();
  qlora::Llama<> model = program::load_model(source, settings.format, settings.block_size);
  measured.weights = resident_bytes() - start;
  for (const auto& block : model.blocks)
    for (const auto& projection : block.projections)
      packed_bytes += static_cast<double>(projection.base().bytes());
  table_bytes =
      static_cast<double>(model.embedding.bytes() + (model.head ? model.head.bytes() : Index{0}));
  model.adapt({.rank = rank}, qlora::target_modules(settings.targets));
  std::vector<qlora::Token> ids;
  for (Index i = 0; i < settings.batch * settings.seq_len; ++i)
    ids.push_back(static_cast<qlora::Token>(qlora::uniform_below(
        1, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(model.config.vocabulary))));
  const auto examples = qlora::windows(ids, settings.seq_len);
  qlora::Trainer trainer(
      model, examples,
      {.steps = 2, .batch = settings.batch, .gradient_checkpoint = !settings.no_checkpoint});
  trainer.run();
  measured.peak = peak_bytes() - start;
  return measured;
}

Report of_model(const Settings& settings, json& all) {
  const auto source = program::open_model(settings.model);
  program::require_context(*source, settings.seq_len);
  const Index rank = settings.rank > 0 ? settings.rank : 16;
  double packed = 0, tables = 0;
  const Measured measured = measure(*source, settings, rank, packed, tables);
  qlora::MemoryOptions options = settings.options();
  options.rank = rank;
  const qlora::LlamaConfig& config = source->config();
  options.tied_head = true;
  options.embedding_bits =
      tables * 8 / static_cast<double>(config.vocabulary * config.width);  // both, if there are two
  Report report{fs::path(settings.model).filename().string(),
                qlora::memory_report(config, options)};
  const auto part = [&](const char* name) {
    for (const auto& each : report.parts)
      if (each.name == name) return each.bytes;
    return 0.0;
  };
  program::Table table({{"what"}, {"computed_mib", 1}, {"measured_mib", 1}});
  const auto add = [&](const char* what, double computed, double found) {
    table.add({what, computed / (1 << 20), found / (1 << 20)});
  };
  add("packed_projections", part("codes") + part("scales"), packed);
  add("weights", part("codes") + part("scales") + part("embedding_and_head") + part("norms"),
      measured.weights);
  add("all", qlora::total_bytes(report.parts), measured.peak);
  std::cout << "computed, and measured over two steps of " << settings.batch << " x "
            << settings.seq_len << " tokens (loading leaves some memory to the allocator)\n";
  table.print(std::cout);
  std::cout << "\n";
  all["measured"] = table.json();
  return report;
}

// GiB a part and model.
program::Table table_of(const std::vector<Report>& reports) {
  std::vector<program::Table::Column> columns{{"gib"}};
  for (const Report& report : reports) columns.push_back({report.name, 3});
  program::Table table(columns);
  for (std::size_t p = 0; p < reports.front().parts.size(); ++p) {
    std::vector<json> row{reports.front().parts[p].name};
    for (const Report& report : reports) row.emplace_back(report.parts[p].bytes / gib);
    table.add(std::move(row));
  }
  std::vector<json> total{"total"};
  for (const Report& report : reports) total.emplace_back(qlora::total_bytes(report.parts) / gib);
  table.add(std::move(total));
  return table;
}

// One row a model, for gnuplot's stacked bars.
program::Table bars_of(const std::vector<Report>& reports) {
  std::vector<program::Table::Column> columns{{"model"}};
  for (const auto& part : reports.front().parts) columns.push_back({part.name, 4});
  program::Table table(columns);
  for (const Report& report : reports) {
    std::vector<json> row{report.name};
    for (const auto& part : report.parts) row.emplace_back(part.bytes / gib);
    table.add(std::move(row));
  }
  return table;
}

// A stacked bar for each model. Ten colours that are told apart by people who see few of them, and
// on paper (Paul Tol's bright and vibrant ones).
std::string bars_script(std::size_t parts) {
  std::string script;
  int line = 1;
  for (const char* colour : {"#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377",
                             "#bbbbbb", "#ee7733", "#000000", "#009988"})
    script += "set linetype " + std::to_string(line++) + " linecolor rgb '" + colour + "'; ";
  return script +
         "set style data histograms; set style histogram rowstacked; set style fill solid 0.85; "
         "set boxwidth 0.6; set key outside right invert; set grid y; set ylabel 'GiB'; "
         "set yrange [0:*]; plot for [c=2:" +
         std::to_string(parts + 1) + "] 'memory.csv' using c:xtic(1) title columnheader";
}

void run(const Settings& settings) {
  program::Report output(settings.report, {settings.model});
  json all = {{"format", settings.format},
              {"batch", settings.batch},
              {"seq_len", settings.seq_len},
              {"grad_checkpoint", !settings.no_checkpoint}};
  std::vector<Report> reports;
  if (!settings.model.empty()) {
    reports.push_back(of_model(settings, all));
  } else {
    const std::vector<std::string> every{"7b", "13b", "33b", "65b"};
    for (const auto& name : settings.shapes.empty() ? every : settings.shapes)
      reports.push_back(of_shape(name, settings));
  }
  const program::Table table = table_of(reports);
  table.print(std::cout);
  const auto bits = qlora::format_bits(settings.format, settings.block_size);
  const auto plain = qlora::format_bits("nf4"), nested = qlora::format_bits("nf4-dq");
  std::cout << "\n"
            << settings.format << ": " << bits.total()
            << " bits a weight; double quantization of nf4 saves " << plain.total() - nested.total()
            << "\n";
  for (const Report& report : reports)
    std::cout << report.name << ": "
              << (qlora::total_bytes(report.parts) < 48 * gib ? "less" : "more")
              << " than 48 GiB\n";
  all["gib"] = table.json();
  all["bits_per_weight"] = bits.total();
  all["double_quantization_saves_bits"] = plain.total() - nested.total();
  if (const auto folder = output.write("memory", all, bars_of(reports)))
    program::draw_both(*folder, "memory", bars_script(reports.front().parts.size()));
  output.commit();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Where the memory of fine-tuning goes, computed and measured", "memory_report");
  Settings settings;
  settings.add_to(app);
  return program::run(app, argc, argv, [&] { run(settings); });
}
