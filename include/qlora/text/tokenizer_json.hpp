/// Tokenizers as Hugging Face's files hold them: tokenizer.json and tokenizer_config.json in a
/// folder, read and written.
///
///     qlora::TokenizerData data = qlora::read_tokenizer_folder("SmolLM2-135M");
///     qlora::write_tokenizer_folder("out", data);
#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/atomic_file.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/text/tokenizer_config.hpp"
#include "qlora/text/tokenizer_data.hpp"
#include "qlora/text/tokenizer_json_reader.hpp"

namespace qlora::inline QLORA_ABI {

namespace text_detail {

/// Calls read() and names the file in what a JSON value of an unexpected kind throws.
template <class Read>
auto naming(const std::string& name, Read read) {
  try {
    return read();
  } catch (const nlohmann::json::exception& failure) {
    throw FormatError(message(name, ": ", failure.what()));
  }
}

}  // namespace text_detail

/// The tokenizer of a JSON text in the layout of tokenizer.json; `name` names it in messages.
/// Throws FormatError for one that is not byte-level BPE.
inline TokenizerData read_tokenizer_json(const std::string& name, std::string_view text) {
  const nlohmann::json json = parse_json(name, text);
  return text_detail::naming(name, [&] { return text_detail::TokenizerJson(name, json).read(); });
}

/// tokenizer.json of a folder, with what tokenizer_config.json, special_tokens_map.json and
/// chat_template.jinja add where those are there. The ids that end an answer are those of
/// generation_config.json, or else of config.json, and the eos_token. Throws IoError or
/// FormatError; what is worth knowing stands in the result's `warnings`.
inline TokenizerData read_tokenizer_folder(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const auto path = folder / "tokenizer.json";
  require<FormatError>(fs::exists(path) || !fs::exists(folder / "tokenizer.model"),
                       (folder / "tokenizer.model").string(),
                       ": SentencePiece is not supported yet; expected a tokenizer.json of "
                       "byte-level BPE beside it");
  TokenizerData data = read_tokenizer_json(path.string(), read_text_file(path));
  const auto config_path = folder / "tokenizer_config.json",
             map_path = folder / "special_tokens_map.json";
  nlohmann::json config = nlohmann::json::object();
  if (fs::exists(map_path)) config = read_json_file(map_path);
  const std::string name = (fs::exists(config_path) ? config_path : map_path).string();
  if (fs::exists(config_path)) {
    const nlohmann::json over = read_json_file(config_path);
    require<FormatError>(config.is_object() && over.is_object(), name, ": expected an object");
    config.update(over);
  }
  text_detail::naming(name, [&] { text_detail::TokenizerConfig(name, config, data).read(); });
  const auto jinja = folder / "chat_template.jinja";
  if (fs::exists(jinja)) data.chat_template = read_text_file(jinja);
  if (data.end) text_detail::add_end(data, *data.end);
  for (const char* file : {"generation_config.json", "config.json"}) {
    if (!fs::exists(folder / file)) continue;
    const auto ids = text_detail::end_ids((folder / file).string(), read_json_file(folder / file));
    for (const Token id : ids) text_detail::add_end(data, id);
    if (!ids.empty()) break;
  }
  return data;
}

namespace text_detail {

/// The post-processor that puts the file's tokens before and after a text.
inline nlohmann::ordered_json post_processor(const TokenizerData& data,
                                             const nlohmann::ordered_json& byte_level) {
  using Json = nlohmann::ordered_json;
  if (data.before.empty() && data.after.empty()) return byte_level;
  Json known = Json::object();
  const auto around = [&](const char* text, int type) {
    Json parts = Json::array();
    const auto add = [&](Token id) {
      const std::string& token = data.tokens.at(static_cast<std::size_t>(id));
      known[token] = {{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
      parts.push_back({{"SpecialToken", {{"id", token}, {"type_id", type}}}});
    };
    for (const Token id : data.before) add(id);
    parts.push_back({{"Sequence", {{"id", text}, {"type_id", type}}}});
    for (const Token id : data.after) add(id);
    return parts;
  };
  const Json single = around("A", 0);
  Json pair = single;
  for (const auto& part : around("B", 1)) pair.push_back(part);
  return {{"type", "Sequence"},
          {"processors", Json::array({byte_level,
                                      {{"type", "TemplateProcessing"},
                                       {"single", single},
                                       {"pair", pair},
                                       {"special_tokens", known}}})}};
}

}  // namespace text_detail

/// Writes tokenizer.json and tokenizer_config.json, as transformers and this library read them.
inline void write_tokenizer_folder(const std::filesystem::path& folder, const TokenizerData& data) {
  using Json = nlohmann::ordered_json;
  Json vocabulary = Json::object(), added = Json::array(), merges = Json::array(),
       splits = Json::array();
  std::size_t count = data.tokens.size();
  while (count > 0 && data.tokens[count - 1].empty()) --count;
  for (std::size_t i = 0; i < count; ++i)
    vocabulary[data.tokens[i].empty() ? text_detail::unused_name(i) : data.tokens[i]] = i;
  for (const AddedToken& token : data.added)
    added.push_back({{"id", token.id},
                     {"content", token.text},
                     {"single_word", token.single_word},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  for (const auto& [left, right] : data.merges) merges.push_back(message(left, " ", right));
  const bool gpt2 = !data.splits.empty() && data.splits.back() == gpt2_split;
  for (std::size_t i = 0; i + (gpt2 ? 1 : 0) < data.splits.size(); ++i) {
    const std::string& split = data.splits[i];
    if (split == digit_split) {
      splits.push_back({{"type", "Digits"}, {"individual_digits", true}});
    } else {
      splits.push_back({{"type", "Split"},
                        {"pattern", {{"Regex", split}}},
                        {"behavior", "Isolated"},
                        {"invert", false}});
    }
  }
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  splits.push_back(byte_level);
  splits.back()["use_regex"] = gpt2;
  Json json = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", added},
               {"normalizer", nullptr},
               {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", splits}}},
               {"post_processor", text_detail::post_processor(data, byte_level)},
               {"decoder", byte_level},
               {"model",
                {{"type", "BPE"},
                 {"dropout", nullptr},
                 {"unk_token", nullptr},
                 {"continuing_subword_prefix", nullptr},
                 {"end_of_word_suffix", nullptr},
                 {"fuse_unk", false},
                 {"byte_fallback", false},
                 {"vocab", vocabulary},
                 {"merges", merges}}}};
  if (data.ignore_merges) json["model"]["ignore_merges"] = true;
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"add_prefix_space", false},
                 {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* key, const std::optional<Token>& id) {
    if (id && *id >= 0 && static_cast<std::size_t>(*id) < data.tokens.size())
      config[key] = data.tokens[static_cast<std::size_t>(*id)];
  };
  name("bos_token", data.begin);
  name("eos_token", data.end);
  name("unk_token", data.unknown);
  name("pad_token", data.padding);
  if (!data.chat_template.empty()) config["chat_template"] = data.chat_template;
  if (!data.other_templates.empty()) {
    Json all = Json::array();
    if (!data.chat_template.empty())
      all.push_back({{"name", "default"}, {"template", data.chat_template}});
    for (const auto& [each, text] : data.other_templates)
      all.push_back({{"name", each}, {"template", text}});
    config["chat_template"] = all;
  }
  // A token that is no UTF-8 can't be written.
  const std::string text = text_detail::naming(data.name, [&] { return json.dump() + "\n"; });
  write_text_file(folder / "tokenizer.json", text);
  write_text_file(folder / "tokenizer_config.json",
                  text_detail::naming(data.name, [&] { return config.dump(2) + "\n"; }));
}

}  // namespace qlora::inline QLORA_ABI
