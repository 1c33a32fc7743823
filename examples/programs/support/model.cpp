#include "support/model.hpp"

#include <filesystem>

#include "qlora/io/adapter_config.hpp"
#include "qlora/io/run_settings.hpp"
#include "qlora/model/load_adapter.hpp"
#include "qlora/model/load_llama.hpp"
#include "qlora/model/model_checksum.hpp"
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

std::unique_ptr<qlora::ModelSource> open_model(const std::string& path) {
  return qlora::open_model(path);
}

qlora::TokenizerData tokenizer_data(const qlora::ModelSource& source) {
  qlora::TokenizerData data = source.tokenizer();
  for (const std::string& text : data.warnings) warn(text);
  return data;
}

qlora::Llama<> load_model(const qlora::ModelSource& source, const std::string& format,
                          qlora::Index block_size) {
  return qlora::load_llama(source,
                           {format, block_size, [](const std::string& text) { warn(text); }});
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

qlora::Llama<> ModelOptions::load(const qlora::ModelSource& source, bool with_adapter) const {
  qlora::RunSettings settings{.format = "nf4-dq"};
  if (!adapter.empty()) {
    (void)qlora::read_adapter_config(adapter);  // refused before the model is loaded
    if (const auto run = qlora::read_run_settings(adapter)) {
      settings = *run;
      if (settings.model_sha256 != qlora::model_checksum(source))
        warn(qlora::message("the adapter in ", adapter, " was trained on another model file than ",
                            model));
    }
  }
  if (!format.empty() && format != settings.format) settings = {.format = format};
  if (block_size > 0) settings.block_size = block_size;
  qlora::Llama<> loaded = load_model(source, settings.format, settings.block_size);
  loaded.set_compute(qlora::compute_from_name(compute));
  if (!adapter.empty() && with_adapter) qlora::load_adapter(loaded, adapter);
  return loaded;
}

}  // namespace program
