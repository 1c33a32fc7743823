#include "support/model.hpp"

#include <filesystem>

#include "qlora/io/adapter_config.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/io/sha256.hpp"
#include "qlora/model/load_adapter.hpp"
#include "qlora/model/load_llama.hpp"
#include "qlora/quant/visit_format.hpp"

namespace program {

CLI::Validator format_names(bool with_float) {
  std::vector<std::string> names(qlora::format_names.begin(), qlora::format_names.end());
  names.emplace_back("as-is");
  if (with_float) names.emplace_back("float");
  return CLI::IsMember(names);
}

CLI::Validator block_sizes() {
  return CLI::IsMember(std::vector<int>{16, 32, 64, 128, 256, 512, 1024, 2048, 4096});
}

qlora::Index block_size_of(const std::string& format, qlora::Index given) {
  if (format == "float" || format == "as-is" || given > 0) return given;
  qlora::visit_format(format, 0, [&]<class Format>() { given = Format::block_size; });
  return given;
}

void print_warning(const std::string& text) { std::cerr << "warning: " << text << "\n"; }

std::unique_ptr<qlora::ModelSource> open_model(const std::string& path) {
  return qlora::open_model(path);
}

qlora::TokenizerData tokenizer_data(const qlora::ModelSource& source) {
  qlora::TokenizerData data = source.tokenizer();
  for (const std::string& text : data.warnings) std::cerr << "warning: " << text << "\n";
  return data;
}

qlora::Llama<> load_model(const qlora::ModelSource& source, const std::string& format,
                          qlora::Index block_size) {
  return qlora::load_llama(source, {format, block_size, print_warning});
}

std::string checksum(const qlora::ModelSource& source) {
  const auto files = source.files();
  if (files.size() == 1) return qlora::sha256(files.front());
  std::string all;
  for (const auto& file : files) all += qlora::sha256(file);
  return qlora::sha256(std::as_bytes(std::span(all)));
}

void require_context(const qlora::ModelSource& source, qlora::Index seq_len) {
  const qlora::Index context = source.config().context;
  qlora::require<qlora::FormatError>(seq_len <= context, "--seq-len ", seq_len, ": the context of ",
                                     source.name(), " is ", context);
}

void add_compute(CLI::App& app, std::string& compute) {
  app.add_option("--compute", compute,
                 "arithmetic of products with frozen weights; auto: bfloat16 where the processor "
                 "has instructions for it")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}))
      ->capture_default_str();
}

void ModelOptions::add_to(CLI::App& app) {
  app.add_option("--model", model, "GGUF file of a Llama model, or a folder as Hugging Face has it")
      ->required();
  app.add_option("--adapter", adapter, "folder of a LoRA adapter in PEFT's layout");
  app.add_option("--format", format,
                 "format of the projections; as-is: the one they have [the adapter's, else nf4-dq]")
      ->check(format_names(true));
  app.add_option("--block-size", block_size,
                 "weights that share a scale [the adapter's, else the format's]")
      ->check(block_sizes());
  add_compute(app, compute);
}

namespace {

// What qlora.json says of the model an adapter was trained on.
struct Settings {
  std::string format = "nf4-dq";
  qlora::Index block_size = 0;
  std::string model_sha256;
};

Settings read_settings(const std::filesystem::path& path) {
  const nlohmann::json json = qlora::read_json_file(path);
  try {
    return {json.at("format").get<std::string>(),
            qlora::whole_number(json.at("block_size"), path.string() + ": block_size"),
            json.at("model_sha256").get<std::string>()};
  } catch (const nlohmann::json::exception& failure) {
    throw qlora::FormatError(qlora::message(path.string(), ": ", failure.what()));
  }
}

}  // namespace

qlora::Llama<> ModelOptions::load(const qlora::ModelSource& source, bool with_adapter) const {
  Settings settings;
  if (!adapter.empty()) {
    (void)qlora::read_adapter_config(adapter);  // refused before the model is loaded
    const auto path = std::filesystem::path(adapter) / "qlora.json";
    if (std::filesystem::exists(path)) {
      settings = read_settings(path);
      if (settings.model_sha256 != checksum(source))
        print_warning(qlora::message("the adapter in ", adapter,
                                     " was trained on another model file than ", model));
    }
  }
  if (!format.empty() && format != settings.format) settings = {format, 0, ""};
  if (block_size > 0) settings.block_size = block_size;
  qlora::Llama<> loaded = load_model(source, settings.format, settings.block_size);
  loaded.set_compute(qlora::compute_from_name(compute));
  if (!adapter.empty() && with_adapter) qlora::load_adapter(loaded, adapter);
  return loaded;
}

}  // namespace program
