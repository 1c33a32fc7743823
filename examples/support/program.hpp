// What the example programs share: one main loop with exit codes, and the options of a model.
#pragma once

#include <CLI/CLI.hpp>
#include <cmath>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "qlora/io/sha256.hpp"
#include "qlora/train.hpp"

namespace program {

inline constexpr int bad_input = 1, wrong_usage = 2;

// Parses, runs, and turns errors into a message on stderr and an exit code.
inline int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : wrong_usage;
  }
  try {
    body();
    return 0;
  } catch (const qlora::Error& error) {
    std::cerr << "\nerror: " << error.what() << "\n";
  } catch (const std::bad_alloc&) {
    std::cerr << "\nerror: out of memory\n";
  } catch (const std::exception& error) {
    std::cerr << "\nerror: " << error.what() << "\n";
  }
  return bad_input;
}

// The formats a projection may have, checked when the command line is read.
inline CLI::Validator format_names(bool with_float) {
  std::vector<std::string> names(qlora::format_names.begin(), qlora::format_names.end());
  if (with_float) names.emplace_back("float");
  return CLI::IsMember(names);
}

// The block size that a format and a size given (0: none) come to.
inline qlora::Index block_size_of(const std::string& format, qlora::Index given) {
  if (format == "float" || given > 0) return given;
  qlora::visit_format(format, 0, [&]<class Format>() { given = Format::block_size; });
  return given;
}

// The block sizes of the formats that have a choice, and those of the standards.
inline CLI::Validator block_sizes() {
  return CLI::IsMember(std::vector<int>{16, 32, 64, 128, 256, 512, 1024, 2048, 4096});
}

// --model, --adapter, --format and --block-size of the programs that only read a model.
struct ModelOptions {
  std::string model, adapter, format;
  qlora::Index block_size = 0;

  void add_to(CLI::App& app) {
    app.add_option("--model", model, "GGUF file of a Llama model")->required();
    app.add_option("--adapter", adapter, "folder of a LoRA adapter in PEFT's layout");
    app.add_option("--format", format, "format of the projections [the adapter's, else nf4-dq]")
        ->check(format_names(true));
    app.add_option("--block-size", block_size,
                   "weights that share a scale [the adapter's, else the format's]")
        ->check(block_sizes());
  }

  // Loads the model, with its adapter if one was given.
  qlora::Llama<> load(const qlora::GgufFile& file) const {
    qlora::LoadOptions load;
    std::optional<qlora::AdapterConfig> config;
    if (!adapter.empty()) {
      config = qlora::read_adapter_config(adapter);
      const auto settings = std::filesystem::path(adapter) / "qlora.json";
      if (std::filesystem::exists(settings)) {
        const Settings saved = read_settings(settings);
        load = saved.load;
        if (saved.model_sha256 != qlora::sha256(file.file().bytes()))
          std::cerr << "warning: the adapter in " << adapter
                    << " was trained on another model file than " << model << "\n";
      }
    }
    if (!format.empty() && format != load.format) load = {format, 0};
    if (block_size > 0) load.block_size = block_size;
    qlora::Llama<> loaded = qlora::load_llama(file, load);
    if (config) attach(loaded, *config);
    return loaded;
  }

 private:
  // What qlora.json says of the model an adapter was trained on.
  struct Settings {
    qlora::LoadOptions load;
    std::string model_sha256;
  };

  static Settings read_settings(const std::filesystem::path& path) {
    const nlohmann::json json = qlora::read_json_file(path);
    try {
      return {{json.at("format").get<std::string>(), json.at("block_size").get<qlora::Index>()},
              json.at("model_sha256").get<std::string>()};
    } catch (const nlohmann::json::exception& failure) {
      throw qlora::FormatError(qlora::message(path.string(), ": ", failure.what()));
    }
  }

  void attach(qlora::Llama<>& loaded, const qlora::AdapterConfig& config) const {
    const double alpha = config.rank_stabilized
                             ? config.alpha * std::sqrt(static_cast<double>(config.rank))
                             : config.alpha;
    loaded.adapt({.rank = config.rank, .alpha = static_cast<float>(alpha)}, config.target_modules);
    qlora::read_adapter_weights(adapter, loaded.parameters());
  }
};

}  // namespace program
