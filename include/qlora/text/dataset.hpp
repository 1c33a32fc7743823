/// Training data: JSON lines of chats or of Alpaca's instructions, or a plain text cut into
/// windows.
///
///     qlora::Dataset data = qlora::load_dataset("train.jsonl", tokenizer, &chat, 256);
///     data.examples[0].ids; data.examples[0].counted;
#pragma once

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/io/json_file.hpp"
#include "qlora/text/chat_formats.hpp"
#include "qlora/text/chat_template.hpp"
#include "qlora/text/tokenizer.hpp"

namespace qlora {

struct Dataset {
  std::vector<EncodedText> examples;
  Index truncated = 0;  ///< chats cut at the sequence length
  Index dropped = 0;    ///< chats of which nothing that counts was left
};

namespace detail {

/// The chat of one JSON object: {"messages": [...]} or {"instruction", "input", "output"}.
inline std::vector<ChatMessage> chat_of_json(const nlohmann::json& line) {
  std::vector<ChatMessage> chat;
  require<FormatError>(line.is_object(), "expected an object, found ", line.type_name());
  if (line.contains("messages")) {
    for (const auto& each : line.at("messages")) {
      chat.push_back({each.at("role").get<std::string>(), each.at("content").get<std::string>()});
      const std::string& role = chat.back().role;
      require<FormatError>(role == "system" || role == "user" || role == "assistant",
                           "role: expected system, user or assistant, found '", role, "'");
    }
    require<FormatError>(!chat.empty(), "messages: expected at least one, found none");
    return chat;
  }
  require<FormatError>(line.contains("instruction") && line.contains("output"),
                       "expected 'messages', or 'instruction' and 'output'");
  const auto instruction = line.at("instruction").get<std::string>();
  const auto input = line.value("input", std::string());
  return {{"user", input.empty() ? instruction : instruction + "\n\n" + input},
          {"assistant", line.at("output").get<std::string>()}};
}

}  // namespace detail

/// The chats of a JSON-lines file; empty lines are skipped. Throws FormatError that names the file
/// and the line.
inline std::vector<std::vector<ChatMessage>> read_chats(const std::filesystem::path& path) {
  std::vector<std::vector<ChatMessage>> chats;
  for_each_line(read_text_file(path), [&](std::size_t number, std::string_view line) {
    try {
      chats.push_back(detail::chat_of_json(nlohmann::json::parse(line)));
    } catch (const nlohmann::json::exception& failure) {
      throw FormatError(message(path.string(), ":", number, ": ", failure.what()));
    } catch (const FormatError& failure) {
      throw FormatError(message(path.string(), ":", number, ": ", failure.what()));
    }
  });
  return chats;
}

/// Consecutive windows of `length` tokens; a last short one is dropped. Every token counts.
inline std::vector<EncodedText> windows(const std::vector<Token>& ids, Index length) {
  std::vector<EncodedText> result;
  const auto n = static_cast<std::size_t>(length);
  for (std::size_t begin = 0; begin + n <= ids.size(); begin += n)
    result.push_back(
        {{ids.begin() + static_cast<Index>(begin), ids.begin() + static_cast<Index>(begin + n)},
         std::vector<std::uint8_t>(n, 1)});
  return result;
}

/// `path`: a .jsonl file of chats, anything else is plain text. `length`: tokens an example at
/// most. Throws IoError or FormatError that names the file; a file without a single example is an
/// error.
inline Dataset load_dataset(const std::filesystem::path& path, const Tokenizer& tokenizer,
                            const ChatTemplate* chat, Index length,
                            TrainOn train_on = TrainOn::answers) {
  Dataset data;
  if (path.extension() == ".jsonl" || path.extension() == ".json") {
    require<FormatError>(chat != nullptr, path.string(),
                         ": this model has no chat template; --chat-template gives one: ",
                         chat_template_names(), " or a file");
    for (const auto& messages : read_chats(path)) {
      EncodedText example = chat->encode(messages, false, train_on);
      if (static_cast<Index>(example.ids.size()) > length) {
        example.ids.resize(static_cast<std::size_t>(length));
        example.counted.resize(static_cast<std::size_t>(length));
        ++data.truncated;
      }
      if (std::find(example.counted.begin(), example.counted.end(), 1) == example.counted.end()) {
        ++data.dropped;
      } else {
        data.examples.push_back(std::move(example));
      }
    }
    require<FormatError>(!data.examples.empty(), path.string(),
                         ": expected chats with an assistant's message within ", length,
                         " tokens, found none");
  } else {
    const auto ids = tokenizer.encode(read_text_file(path));
    data.examples = windows(ids, length);
    require<FormatError>(!data.examples.empty(), path.string(), ": expected at least ", length,
                         " tokens, found ", ids.size());
  }
  return data;
}

}  // namespace qlora
