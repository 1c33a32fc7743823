/// What qlora.json says of the run that made an adapter: the model it belongs to, in what format, and
/// how its chats were written. `finetune` puts the file beside the adapter; PEFT does not know it.
///
///     if (const auto run = qlora::read_run_settings("out"))
///       print(run->format, run->model_sha256);
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/io/json_file.hpp"

namespace qlora::inline QLORA_ABI {

/// The name of that file in an adapter's folder.
inline constexpr const char* run_settings_name = "qlora.json";

/// What a program needs in order to use the adapter as it was trained.
struct RunSettings {
  std::string format = {};  ///< of the frozen projections, as visit_format or load_llama takes it
  Index block_size = 0;     ///< 0: the format's own
  std::string model_sha256 = {};   ///< of the model's weights, as model_checksum gives it
  std::string chat_template = {};  ///< source in Jinja; empty: the model's own
};

/// The settings in an adapter's folder, or nothing where there are none. Several threads may call
/// this at once. Throws IoError for a file that can't be read, FormatError that names file and key.
inline std::optional<RunSettings> read_run_settings(const std::filesystem::path& folder) {
  const auto path = folder / run_settings_name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  const nlohmann::json json = read_json_file(path);
  const auto text = [&](const char* key) {
    const auto place = json.is_object() ? json.find(key) : json.end();
    require<FormatError>(place != json.end() && place->is_string(), path.string(), ": ", key,
                         ": expected a text, found ",
                         place == json.end() ? "no such key" : place->type_name());
    return place->get<std::string>();
  };
  RunSettings settings{.format = text("format"), .model_sha256 = text("model_sha256")};
  require<FormatError>(json.contains("block_size"), path.string(),
                       ": block_size: expected a number, found no such key");
  settings.block_size = whole_number(json["block_size"], path.string() + ": block_size");
  if (const auto chat = json.find("chat_template"); chat != json.end() && !chat->is_null())
    settings.chat_template = text("chat_template");
  return settings;
}

}  // namespace qlora::inline QLORA_ABI
