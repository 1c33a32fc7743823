/// Tokenizers as Hugging Face's files hold them: tokenizer.json and tokenizer_config.json in a
/// folder, read and written.
///
///     qlora::TokenizerData data = qlora::read_tokenizer_folder("SmolLM2-135M");
///     qlora::write_tokenizer_folder("out", data);
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/io/atomic_file.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/text/tokenizer_data.hpp"

namespace qlora {

namespace detail {

/// Reads a tokenizer.json piece by piece.
class TokenizerJson {
 public:
  TokenizerJson(const std::string& name, const nlohmann::json& json) : json_(json) {
    data_.name = name;
  }

  TokenizerData read() {
    expect(json_.is_object() && json_.contains("model") && json_["model"].is_object(),
           "expected an object with 'model'");
    const nlohmann::json& model = json_["model"];
    const auto type = model.value("type", std::string("BPE"));
    expect(type == "BPE", "model.type: expected BPE, found ", type);
    expect(!json_.contains("normalizer") || json_["normalizer"].is_null(),
           "normalizer: expected none, found ", json_.value("normalizer", nlohmann::json()).dump());
    for (const char* flag : {"byte_fallback", "ignore_merges"})
      expect(!is_true(model, flag), "model.", flag, " is not supported");
    read_vocabulary(model.at("vocab"));
    for (const auto& merge : model.at("merges")) read_merge(merge);
    read_splits(json_.at("pre_tokenizer"));
    return std::move(data_);
  }

 private:
  template <class... Parts>
  void expect(bool condition, const Parts&... parts) const {
    require<FormatError>(condition, data_.name, ": ", parts...);
  }

  static bool is_true(const nlohmann::json& object, const char* key) {
    const auto place = object.find(key);
    return place != object.end() && place->is_boolean() && place->get<bool>();
  }

  /// Ids of the vocabulary and of the added tokens are 0, 1, ... without a hole.
  void read_vocabulary(const nlohmann::json& vocabulary) {
    const nlohmann::json added = json_.value("added_tokens", nlohmann::json::array());
    expect(vocabulary.is_object() && added.is_array(),
           "expected model.vocab as an object and added_tokens as a list");
    const std::size_t most = vocabulary.size() + added.size();
    data_.tokens.resize(most);
    std::vector<bool> known(most, false);
    data_.special.assign(most, false);
    std::size_t count = 0;
    const auto put = [&](const std::string& text, const nlohmann::json& number, bool special) {
      const auto i = static_cast<std::size_t>(
          whole_number(number, data_.name + ": the id of token '" + text + "'"));
      expect(i < most, "token '", text, "': expected an id below ", most, ", found ", i);
      expect(!known[i] || (special && data_.tokens[i] == text), "the id ", i, " stands for '",
             data_.tokens[i], "' and for '", text, "'");
      count += known[i] ? 0 : 1;
      known[i] = true;
      data_.tokens[i] = text;
      data_.special[i] = special;
    };
    for (const auto& [text, id] : vocabulary.items()) put(text, id, false);
    for (const auto& token : added) {
      const auto text = token.at("content").get<std::string>();
      for (const char* flag : {"lstrip", "rstrip", "single_word"})
        expect(!is_true(token, flag), "added token '", text, "': ", flag, " is not supported");
      put(text, token.at("id"), true);
    }
    for (std::size_t i = 0; i < count; ++i) expect(known[i], "no token has the id ", i);
    data_.tokens.resize(count);
    data_.special.resize(count);
  }

  /// "left right", or since tokenizers 0.20 ["left", "right"].
  void read_merge(const nlohmann::json& merge) {
    if (merge.is_array()) {
      expect(merge.size() == 2, "merge ", merge.dump(), ": expected two parts");
      data_.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      return;
    }
    data_.merges.push_back(split_merge(data_.name, merge.get<std::string>()));
  }

  void read_splits(const nlohmann::json& pre) {
    const auto type = pre.at("type").get<std::string>();
    if (type == "Sequence") {
      for (const auto& each : pre.at("pretokenizers")) read_splits(each);
    } else if (type == "Digits") {
      data_.splits.emplace_back(is_true(pre, "individual_digits") ? digit_split : R"(\p{N}+)");
    } else if (type == "ByteLevel") {
      expect(!is_true(pre, "add_prefix_space"), "ByteLevel: add_prefix_space is not supported");
      if (!pre.contains("use_regex") || is_true(pre, "use_regex"))
        data_.splits.emplace_back(gpt2_split);
    } else if (type == "Split") {
      const auto behavior = pre.at("behavior").get<std::string>();
      expect(
          behavior == "Isolated" && !is_true(pre, "invert") && pre.at("pattern").contains("Regex"),
          "pre_tokenizer Split: expected the behavior Isolated of a Regex, found ", pre.dump());
      data_.splits.push_back(pre["pattern"]["Regex"].get<std::string>());
    } else {
      expect(false, "pre_tokenizer: expected Sequence, Digits, Split or ByteLevel, found ", type);
    }
  }

  const nlohmann::json& json_;
  TokenizerData data_;
};

/// The text of "eos_token": "<|end|>" or {"content": "<|end|>", ...}; empty without one.
inline std::string token_text(const nlohmann::json& config, const char* key) {
  const auto place = config.find(key);
  if (place == config.end() || place->is_null()) return "";
  return place->is_object() ? place->at("content").get<std::string>() : place->get<std::string>();
}

/// A template, or of a list of named ones that named default.
inline std::string chat_template_of(const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array())
    for (const auto& each : value)
      if (each.at("name") == "default") return each.at("template").get<std::string>();
  return "";
}

}  // namespace detail

/// The tokenizer of a JSON text in the layout of tokenizer.json; `name` names it in messages.
/// Throws FormatError for one that is not byte-level BPE.
inline TokenizerData read_tokenizer_json(const std::string& name, std::string_view text) {
  const nlohmann::json json = parse_json(name, text);
  try {
    return detail::TokenizerJson(name, json).read();
  } catch (const nlohmann::json::exception& failure) {
    throw FormatError(message(name, ": ", failure.what()));
  }
}

/// tokenizer.json of a folder, with the special tokens and the chat template of
/// tokenizer_config.json and chat_template.jinja where those are there.
inline TokenizerData read_tokenizer_folder(const std::filesystem::path& folder) {
  const auto path = folder / "tokenizer.json";
  TokenizerData data = read_tokenizer_json(path.string(), read_text_file(path));
  const auto config_path = folder / "tokenizer_config.json";
  if (std::filesystem::exists(config_path)) {
    const nlohmann::json config = read_json_file(config_path);
    try {
      const auto id = [&](const char* key) -> std::optional<Token> {
        const std::string text = detail::token_text(config, key);
        for (std::size_t i = 0; i < data.tokens.size() && !text.empty(); ++i)
          if (data.tokens[i] == text) return static_cast<Token>(i);
        return std::nullopt;
      };
      data.begin = id("bos_token");
      data.end = id("eos_token");
      data.unknown = id("unk_token");
      data.padding = id("pad_token");
      if (config.contains("chat_template"))
        data.chat_template = detail::chat_template_of(config["chat_template"]);
    } catch (const nlohmann::json::exception& failure) {
      throw FormatError(message(config_path.string(), ": ", failure.what()));
    }
  }
  const auto jinja = folder / "chat_template.jinja";
  if (std::filesystem::exists(jinja)) data.chat_template = read_text_file(jinja);
  return data;
}

/// Writes tokenizer.json and tokenizer_config.json, as transformers and this library read them.
inline void write_tokenizer_folder(const std::filesystem::path& folder, const TokenizerData& data) {
  using Json = nlohmann::ordered_json;
  Json vocabulary = Json::object(), added = Json::array(), merges = Json::array(),
       splits = Json::array();
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    vocabulary[data.tokens[i]] = i;
    if (data.special[i])
      added.push_back({{"id", i},
                       {"content", data.tokens[i]},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false},
                       {"normalized", false},
                       {"special", true}});
  }
  for (const auto& [left, right] : data.merges) merges.push_back(message(left, " ", right));
  for (const auto& split : data.splits) {
    if (split == digit_split) {
      splits.push_back({{"type", "Digits"}, {"individual_digits", true}});
    } else if (split != gpt2_split) {
      splits.push_back({{"type", "Split"},
                        {"pattern", {{"Regex", split}}},
                        {"behavior", "Isolated"},
                        {"invert", false}});
    }
  }
  const bool gpt2 = !data.splits.empty() && data.splits.back() == gpt2_split;
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  splits.push_back(byte_level);
  splits.back()["use_regex"] = gpt2;
  const Json json = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", nullptr},
                     {"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", splits}}},
                     {"post_processor", byte_level},
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
  write_text_file(folder / "tokenizer.json", json.dump() + "\n");
  write_text_file(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

}  // namespace qlora
