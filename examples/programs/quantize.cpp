// Quantizes a model or a file of tensors:
//
//   quantize SmolLM2-135M-Instruct.Q4_1.gguf out --format nf4 --double-quant
//
// makes a folder that transformers and bitsandbytes load. OUTPUT may also be one .safetensors file,
// or a .gguf file for GGUF's own types. It appears whole or not at all; SIGINT and SIGTERM end the
// run after the tensor that is under way, and nothing is left.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/model/write_model.hpp"
#include "qlora/quant/error_metrics.hpp"
#include "qlora/quant/quantize.hpp"
#include "qlora/quant/visit_format.hpp"
#include "support/model.hpp"
#include "support/output.hpp"
#include "support/progress.hpp"
#include "support/signals.hpp"

namespace {

namespace fs = std::filesystem;
using qlora::Index;
using qlora::ModelTensor;

struct Settings {
  std::string input, output, format, report;
  std::vector<std::string> skip;
  Index block_size = 0;
  bool double_quant = false, overwrite = false;
  qlora::CopiedType dtype = qlora::CopiedType::as_it_is;

  void add_to(CLI::App& app) {
    app.add_option("INPUT", input,
                   "a .safetensors or .gguf file, or a folder as Hugging Face has it")
        ->required();
    app.add_option("OUTPUT", output, "a .safetensors or .gguf file, or a new folder")->required();
    app.add_flag("--overwrite", overwrite,
                 "replace OUTPUT, of a folder all that it holds, when the run is complete");
    app.add_option("--format", format, "format of the weights; float: decode packed ones")
        ->required()
        ->check(CLI::IsMember([] {
          std::vector<std::string> names(qlora::format_names.begin(), qlora::format_names.end());
          names.emplace_back("float");
          return names;
        }()));
    app.add_option("--block-size", block_size, "weights that share a scale [the format's]")
        ->check(program::block_sizes());
    app.add_flag("--double-quant", double_quant, "quantize the scales too");
    app.add_option("--report", report, "write the errors of each tensor as CSV");
    app.add_option(
        "--skip", skip,
        "tensors with such a part in their dotted name are copied, not quantized [all but "
        "the weights of linear layers]");
    app.add_option_function<std::string>(
           "--dtype",
           [this](const std::string& name) {
             dtype = name == "float32"   ? qlora::CopiedType::float32
                     : name == "float16" ? qlora::CopiedType::float16
                                         : qlora::CopiedType::bfloat16;
           },
           "of copied tensors, and of what bitsandbytes decodes to [as it is]")
        ->check(CLI::IsMember({"float32", "float16", "bfloat16"}));
  }

  // The format's name with --double-quant taken in. Throws for a format that has none.
  std::string full_format() const {
    if (!double_quant) return format;
    std::string nested = format + "-dq";
    for (const auto name : qlora::format_names)
      if (name == nested) return nested;
    throw CLI::ValidationError("--double-quant", "the format " + format + " has no such variant");
  }
};

// Whole dotted parts: "output" skips output.weight and not blk.0.attn_output.weight.
bool is_skipped(const std::string& name, const std::vector<std::string>& skip) {
  const auto parts = qlora::LinearWeights::parts_of(name);
  return std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
    return std::find(skip.begin(), skip.end(), part) != skip.end();
  });
}

// A line of the report.
struct Line {
  std::string name, format;
  std::vector<Index> shape;
  std::size_t before = 0, after = 0;
  std::optional<qlora::QuantizationError> error;

  std::string csv() const {
    std::ostringstream text;
    text.precision(9);
    text << name << "," << format << "," << (shape.size() == 2 ? shape[0] : 1) << ","
         << (shape.empty() ? 1 : shape.back()) << "," << before << "," << after;
    if (error) {
      text << "," << error->mean_squared << "," << error->largest << ","
           << error->signal_to_noise_db;
    } else {
      text << ",,,";
    }
    return text.str();
  }
  static const char* csv_head() {
    return "tensor,format,rows,cols,bytes_before,bytes_after,mean_squared_error,largest_error,"
           "signal_to_noise_db";
  }
};

void print_table(const std::vector<Line>& lines) {
  std::size_t width = 6, before = 0, after = 0;
  for (const Line& line : lines) width = std::max(width, line.name.size());
  const int w = static_cast<int>(width);
  std::printf("%-*s  %-10s  %12s  %12s  %8s\n", w, "tensor", "format", "mean sq. err",
              "largest err", "SNR dB");
  for (const Line& line : lines) {
    before += line.before;
    after += line.after;
    if (line.error)
      std::printf("%-*s  %-10s  %12.4g  %12.4g  %8.2f\n", w, line.name.c_str(), line.format.c_str(),
                  line.error->mean_squared, line.error->largest, line.error->signal_to_noise_db);
  }
  std::printf("size before %.1f MiB, after %.1f MiB\n", static_cast<double>(before) / 1048576,
              static_cast<double>(after) / 1048576);
}

// What must not be left when a second signal ends the program at once.
class Temporaries {
 public:
  void add(const fs::path& path) {
    const std::lock_guard lock(mutex_);
    paths_.push_back(path);
  }
  // From any thread.
  void remove() {
    const std::lock_guard lock(mutex_);
    std::error_code unseen;
    for (const fs::path& path : paths_) fs::remove_all(path, unseen);
  }

 private:
  std::mutex mutex_;
  std::vector<fs::path> paths_;
};

// The format of a weight that F's blocks in GGUF do not fill; F itself in other files.
template <class F, class Output>
struct FallbackFor : std::type_identity<F> {};
template <class F>
struct FallbackFor<F, qlora::GgufModelWriter>
    : std::type_identity<typename qlora::GgufTypeOf<F>::Fallback> {};

// Plans every tensor, then writes one after the other. Throws Cancelled after a signal.
// only_linear: even with --skip nothing but weights of linear layers is packed.
template <class F, class Output>
std::vector<Line> convert(const qlora::ModelFile& input, const Settings& settings,
                          const std::string& format, bool only_linear, Output& output,
                          Temporaries& temporaries, const program::StopSignals& signals) {
  const std::vector<ModelTensor> tensors = input.tensors();
  const qlora::LinearWeights linear(tensors);
  using Fallback = typename FallbackFor<F, Output>::type;
  enum class As { copy, asked, fallback };
  const auto kept_as = [&](const ModelTensor& tensor) {
    if (tensor.shape.size() != 2 || !tensor.is_float() || format == "float") return As::copy;
    if (is_skipped(tensor.name, settings.skip)) return As::copy;
    if ((settings.skip.empty() || only_linear) && !linear.contains(tensor)) return As::copy;
    if constexpr (std::is_same_v<Output, qlora::GgufModelWriter>) {  // blocks end with rows there
      if (tensor.shape[1] % qlora::GgufTypeOf<F>::weights == 0) return As::asked;
      if (std::is_same_v<Fallback, F> ||
          tensor.shape[1] % qlora::GgufTypeOf<Fallback>::weights != 0)
        return As::copy;
      return As::fallback;
    }
    return As::asked;
  };
  const std::string fallback(qlora::format_name<Fallback>);
  // Calls body.operator()<Format>(name) with the format that a packed weight gets.
  const auto with_format = [&](As as, auto&& body) {
    if (as == As::asked) {
      body.template operator()<F>(format);
    } else {
      body.template operator()<Fallback>(fallback);
    }
  };
  std::vector<As> plan;
  for (const ModelTensor& tensor : tensors) {
    const As as = plan.emplace_back(kept_as(tensor));
    if (as == As::copy) {
      output.plan_copy(tensor);
    } else {
      with_format(as, [&]<class Taken>(const std::string& name) {
        output.template plan_packed<Taken>(tensor, name);
      });
    }
  }
  const auto fallen = std::count(plan.begin(), plan.end(), As::fallback);
  const auto packed = fallen + std::count(plan.begin(), plan.end(), As::asked);
  if (fallen > 0)
    program::warn(qlora::message(fallen, " of ", packed, " weights have rows that blocks of ",
                                 format, " do not fill; they become ", fallback));
  qlora::require<qlora::FormatError>(
      format == "float" || packed > 0, settings.input,
      ": expected a matrix to quantize, found none; --skip says what else to copy");
  output.open();
  temporaries.add(output.temporary());
  std::vector<Line> lines;
  const program::ProgressBar bar(static_cast<Index>(tensors.size()));
  for (const ModelTensor& tensor : tensors) {
    const As as = plan[lines.size()];
    Line line{tensor.name, "copied", tensor.shape, tensor.size, 0, {}};
    if (as != As::copy) {
      const qlora::RowMatrixXf dense = output.weights(tensor);
      try {
        with_format(as, [&]<class Taken>(const std::string& name) {
          const auto w = qlora::quantize<Taken>(dense, {.block_size = settings.block_size});
          line.format = name;
          line.error = qlora::quantization_error(dense, w.view());
          line.after = output.write_packed(tensor, name, w);
        });
      } catch (const qlora::NumericError& failure) {
        throw qlora::NumericError(
            qlora::message(settings.input, ": tensor '", tensor.name, "': ", failure.what()));
      }
    } else {
      line.after = output.copy(tensor);
    }
    lines.push_back(line);
    bar.show(static_cast<Index>(lines.size()), tensor.name);
    input.release_pages();
    if (signals.asked() != 0) throw qlora::Cancelled("quantize: stopped");
  }
  return lines;
}

// The modules whose matrices are copied, by the names that the output gives them; the head among
// them where the embedding serves as head.
std::vector<std::string> copied_modules(const qlora::SafetensorsModelWriter& output,
                                        const std::vector<Line>& lines) {
  constexpr std::string_view end = ".weight";
  std::set<std::string> modules{"lm_head"};
  for (const Line& line : lines) {
    const std::string name = output.name_of(line.name);
    if (line.format == "copied" && line.shape.size() == 2 && name.ends_with(end))
      modules.insert(name.substr(0, name.size() - end.size()));
  }
  return {modules.begin(), modules.end()};
}

// Gives the exit code: 0, or 128 and a signal's number.
int run_quantize(const Settings& settings) {
  Temporaries temporaries;
  program::StopSignals signals([&] { temporaries.remove(); });
  signals.ask_first(true);
  const std::string format = settings.full_format();
  const fs::path target(settings.output);
  program::require_replaceable(settings.output, {settings.overwrite, {settings.input}});
  const qlora::ModelFile input(settings.input);
  const Index block_size = program::block_size_of(format, settings.block_size);
  std::optional<qlora::AtomicFile> report;
  if (!settings.report.empty()) {
    report.emplace(settings.report);
    temporaries.add(report->temporary());
  }
  qlora::WriteModelOptions options{
      .copied = settings.dtype,
      .existing = settings.overwrite ? qlora::Existing::replace : qlora::Existing::refuse,
      .warn = [](const std::string& text) { program::warn(text); }};
  std::vector<Line> lines;
  const auto run = [&]<class F>() {
    if (target.extension() == ".gguf") {
      if constexpr (qlora::GgufFormat<F>) {
        qlora::GgufModelWriter output(input, target, options);
        lines = convert<F>(input, settings, format, false, output, temporaries, signals);
        output.commit({});
      } else {
        throw qlora::FormatError(qlora::message(
            settings.output, ": GGUF has no type for ", format, "; expected ",
            qlora::joined_format_names<qlora::GgufFormats>(), ", or another kind of output"));
      }
    } else {
      options.whole_model = target.extension() != ".safetensors";
      options.packs = format != "float";
      qlora::SafetensorsModelWriter output(input, target, options);
      lines = convert<F>(input, settings, format,
                         options.whole_model && qlora::is_bitsandbytes_format(format), output,
                         temporaries, signals);
      output.commit(options.packs ? qlora::quantization_config(format, block_size, settings.dtype,
                                                               copied_modules(output, lines))
                                  : nlohmann::json());
    }
  };
  try {
    if (format == "float") {
      run.operator()<qlora::formats::q8_0>();  // nothing is packed
    } else {
      qlora::visit_format(format, settings.block_size, run);
    }
  } catch (const qlora::Cancelled&) {
    std::cout << "stopped by " << program::signal_name(signals.asked()) << "; " << settings.output
              << " is as it was\n";
    return 128 + signals.asked();
  }
  print_table(lines);
  if (report) {
    std::string text = std::string(Line::csv_head()) + "\n";
    for (const Line& line : lines) text += line.csv() + "\n";
    report->write(text.data(), text.size());
    report->commit();
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Quantize a model or a file of tensors", "quantize");
  Settings settings;
  settings.add_to(app);
  app.callback([&] { (void)settings.full_format(); });  // wrong usage, not bad input
  app.footer(
      "The input is a GGUF file, a folder from Hugging Face or a .safetensors file. The output is\n"
      "a new folder, a .gguf or a .safetensors file.\n\n"
      "Examples:\n"
      "  quantize SmolLM2-135M-Instruct.Q4_1.gguf smollm2-nf4 --format nf4 --double-quant\n"
      "  quantize smollm2-nf4 smollm2.gguf --format q4_0 --overwrite");
  return program::run(app, argc, argv, [&] { return run_quantize(settings); });
}
