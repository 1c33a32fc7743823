// Where programs that report write to: --json FILE, and --output DIR for the same as NAME.json, the
// table as NAME.csv, and pictures.
//
//   program::Report report(settings.report);        // refuses a folder that holds something
//   if (const auto folder = report.write("elo", all, table)) draw(*folder);
//   report.commit();
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "support/output.hpp"
#include "support/program.hpp"
#include "support/signals.hpp"
#include "support/table.hpp"

namespace program {

struct ReportOptions {
  std::string json_file, output;
  bool overwrite = false;

  void add_to(CLI::App& app, const std::string& name) {
    app.add_option("--json", json_file, "write everything as JSON");
    auto* folder =
        app.add_option("--output", output, "folder for " + name + ".json, .csv, .png and .svg");
    app.add_flag("--overwrite", overwrite, "replace the whole --output folder")->needs(folder);
  }
};

class Report {
 public:
  // `inputs`: what the run reads. Throws IoError as OutputFolder does.
  explicit Report(const ReportOptions& options, const std::vector<std::string>& inputs = {})
      : json_file_(options.json_file), has_folder_(!options.output.empty()) {
    if (!has_folder_) return;
    signals_.emplace([this] { folder_.discard(); });
    folder_.open(options.output, {options.overwrite, inputs});
  }

  // The folder, for pictures, if one was asked for.
  std::optional<std::filesystem::path> write(const std::string& name, const nlohmann::json& all,
                                             const Table& table) const {
    const std::string text = all.dump(2) + "\n";
    if (!json_file_.empty()) qlora::write_text_file(json_file_, text);
    if (!has_folder_) return {};
    qlora::write_text_file(folder_.path() / (name + ".json"), text);
    qlora::write_text_file(folder_.path() / (name + ".csv"), table.csv());
    return folder_.path();
  }

  void commit() {
    if (has_folder_) folder_.commit();
  }

 private:
  std::string json_file_;
  bool has_folder_;
  OutputFolder folder_;
  std::optional<StopSignals> signals_;
};

}  // namespace program
