/// Training data as tokens: rows of chats, of prompts with completions or of texts, or one plain
/// text cut into windows. docs/data.md shows the forms.
///
///     qlora::Dataset data = qlora::load_dataset("train.jsonl", tokenizer, &chat, 256);
///     data.examples[0].ids; data.examples[0].counted;
#pragma once

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/text/chat_formats.hpp"
#include "qlora/text/chat_template.hpp"
#include "qlora/text/data_rows.hpp"
#include "qlora/text/tokenizer.hpp"

namespace qlora::inline QLORA_ABI {

/// The examples of one file, and how many were cut or left out. Several threads may read one
/// object.
struct Dataset {
  std::vector<EncodedText> examples;
  Index truncated = 0;  ///< examples cut at the sequence length
  Index dropped = 0;    ///< examples of which nothing that counts was left
};

namespace text_detail {

/// The messages of a row that has no more than roles and contents. Throws FormatError for another
/// key.
inline std::vector<ChatMessage> plain_messages(const DataRow& row) {
  require<FormatError>(row.tools.is_null(), "tools: expected none");
  std::vector<ChatMessage> messages;
  for (std::size_t i = 0; i < row.messages.size(); ++i) {
    const auto& each = row.messages[i];
    const std::string where = message("message ", i + 1, ": ");
    for (const auto& [key, value] : each.items())
      require<FormatError>(key == "role" || key == "content", where, key,
                           ": expected a role and a content alone");
    messages.push_back({each["role"].get<std::string>(), each["content"].get<std::string>()});
  }
  return messages;
}

/// A chat as tokens: the one place where rows meet templates.
inline EncodedText encode_chat(const ChatTemplate& chat, const DataRow& row, TrainOn train_on) {
  return chat.encode_chat({.messages = row.messages, .tools = row.tools, .trains = row.trains},
                          false, train_on);
}

/// A text, or a prompt with its completion, of which the completion counts; what the tokenizer puts
/// before a text, and the end of the sequence behind it.
inline EncodedText encode_text(const Tokenizer& tokenizer, const DataRow& row) {
  EncodedText example;
  for (const Token id : tokenizer.before_text()) example.push(id, row.prompt.empty());
  const std::size_t prompt = tokenizer.encode(row.prompt).size();
  std::size_t place = 0;
  for (const Token id : tokenizer.encode(row.prompt + row.text))
    example.push(id, place++ >= prompt);
  const auto end = tokenizer.end_of_sequence();
  if (!tokenizer.after_text().empty()) {
    for (const Token id : tokenizer.after_text()) example.push(id, true);
  } else if (end && (example.ids.empty() || example.ids.back() != *end)) {
    example.push(*end, true);
  }
  return example;
}

inline EncodedText encode_row(const DataRow& row, const Tokenizer& tokenizer,
                              const ChatTemplate* chat, TrainOn train_on) {
  try {
    if (row.kind != RowKind::chat) return encode_text(tokenizer, row);
    require<FormatError>(chat != nullptr,
                         "this model has no chat template, which chats and instructions need; "
                         "--chat-template gives one: ",
                         chat_template_names(),
                         " or a file. Rows of 'text' or of 'prompt' and 'completion' need none");
    return encode_chat(*chat, row, train_on);
  } catch (const FormatError& failure) {
    throw FormatError(message(row.where, ": ", failure.what()));
  }
}

}  // namespace text_detail

/// Reads the chats of a file of rows. Throws IoError, or FormatError that names the file and the
/// line; rows that are not chats, or that have more than roles and texts, are refused too.
inline std::vector<std::vector<ChatMessage>> read_chats(const std::filesystem::path& path) {
  std::vector<std::vector<ChatMessage>> chats;
  for (const DataRow& row : rows_of_text(path.string(), read_data_text(path))) {
    require<FormatError>(row.kind == RowKind::chat, row.where, ": expected a chat, found ",
                         text_detail::name_of(row.kind));
    try {
      chats.push_back(text_detail::plain_messages(row));
    } catch (const FormatError& failure) {
      throw FormatError(message(row.where, ": ", failure.what()));
    }
  }
  return chats;
}

/// Cuts ids into consecutive windows of `length` tokens and drops a last short one. Every token is
/// trained on. Throws FormatError for a length below 1.
inline std::vector<EncodedText> windows(const std::vector<Token>& ids, Index length) {
  require<FormatError>(length >= 1, "windows: expected a length of 1 or more, found ", length);
  std::vector<EncodedText> result;
  const auto n = static_cast<std::size_t>(length);
  for (std::size_t begin = 0; n <= ids.size() - begin; begin += n)
    result.push_back(
        {{ids.begin() + static_cast<Index>(begin), ids.begin() + static_cast<Index>(begin + n)},
         std::vector<std::uint8_t>(n, 1)});
  return result;
}

/// Reads the examples of a file. Each row (of JSON lines or of one JSON list) becomes one example;
/// any other text is cut into windows. `chat` may be null; only chats need a template. `length` is
/// the most tokens per example; longer ones are cut. Throws IoError, or FormatError that names the
/// file, and the line where there is one; a file without a single example is an error.
inline Dataset load_dataset(const std::filesystem::path& path, const Tokenizer& tokenizer,
                            const ChatTemplate* chat, Index length,
                            TrainOn train_on = TrainOn::answers) {
  require<FormatError>(length >= 2, path.string(),
                       ": expected at least 2 tokens an example, found ", length);
  Dataset data;
  const std::string text = read_data_text(path);
  if (!holds_json(path, text)) {
    const auto ids = tokenizer.encode_document(text);
    data.examples = windows(ids, length);
    require<FormatError>(!data.examples.empty(), path.string(), ": expected at least ", length,
                         " tokens, found ", ids.size());
    return data;
  }
  for (const DataRow& row : rows_of_text(path.string(), text)) {
    EncodedText example = text_detail::encode_row(row, tokenizer, chat, train_on);
    if (static_cast<Index>(example.ids.size()) > length) {
      example.ids.resize(static_cast<std::size_t>(length));
      example.counted.resize(static_cast<std::size_t>(length));
      ++data.truncated;
    }
    // The first token of an example is not predicted.
    if (example.ids.empty() ||
        std::find(example.counted.begin() + 1, example.counted.end(), 1) == example.counted.end()) {
      ++data.dropped;
    } else {
      data.examples.push_back(std::move(example));
    }
  }
  require<FormatError>(!data.examples.empty(), path.string(),
                       ": expected rows with something to train on within ", length,
                       " tokens, found none");
  return data;
}

}  // namespace qlora::inline QLORA_ABI
