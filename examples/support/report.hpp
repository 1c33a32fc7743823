// Where programs that report write to: --json FILE, and --output DIR for the same as NAME.json, the
// table as NAME.csv, and pictures.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "support/program.hpp"
#include "support/table.hpp"

namespace program {

struct ReportOptions {
  std::string json_file, output;

  void add_to(CLI::App& app, const std::string& name) {
    app.add_option("--json", json_file, "write everything as JSON");
    app.add_option("--output", output, "folder for " + name + ".json, .csv, .png and .svg");
  }

  // The folder, for pictures, if one was asked for.
  std::optional<std::filesystem::path> write(const std::string& name, const nlohmann::json& all,
                                             const Table& table) const {
    const std::string text = all.dump(2) + "\n";
    if (!json_file.empty()) qlora::write_text_file(json_file, text);
    if (output.empty()) return {};
    const std::filesystem::path folder = output_folder(output);
    qlora::write_text_file(folder / (name + ".json"), text);
    qlora::write_text_file(folder / (name + ".csv"), table.csv());
    return folder;
  }
};

}  // namespace program
