/// Reads a tokenizer.json of Hugging Face's tokenizers: every key is used, known to change no ids,
/// or refused by name. Users call read_tokenizer_json of tokenizer_json.hpp.
///
///     const nlohmann::json json = qlora::read_json_file("tokenizer.json");
///     qlora::TokenizerData data = qlora::text_detail::TokenizerJson("tokenizer.json", json).read();
#pragma once

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/io/json_file.hpp"
#include "qlora/text/byte_level.hpp"
#include "qlora/text/tokenizer_data.hpp"

namespace qlora::inline QLORA_ABI::text_detail {

/// Reads a tokenizer.json piece by piece. Every key is used, known to change no ids, or refused by
/// name.
class TokenizerJson {
 public:
  TokenizerJson(const std::string& name, const nlohmann::json& json) : json_(json) {
    data_.name = name;
  }

  TokenizerData read() {
    expect(json_.is_object() && json_.contains("model") && json_["model"].is_object(),
           "expected an object with 'model'");
    // Truncation and padding belong to batches, not to a text; transformers ignores them too.
    only(json_, "",
         {"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
          "post_processor", "decoder", "model"});
    const nlohmann::json& model = json_["model"];
    read_model(model);
    read_vocabulary(model.at("vocab"));
    for (const auto& merge : model.at("merges")) read_merge(merge);
    read_normalizer();
    if (is_set(json_, "pre_tokenizer")) read_splits(json_["pre_tokenizer"]);
    expect(byte_level_,
           "pre_tokenizer: expected ByteLevel, found none; only byte-level BPE is "
           "supported");
    if (is_set(json_, "decoder")) read_decoder(json_["decoder"]);
    if (is_set(json_, "post_processor")) read_post_processor(json_["post_processor"]);
    require_bytes(model);
    return std::move(data_);
  }

 private:
  template <class... Parts>
  void expect(bool condition, const Parts&... parts) const {
    require<FormatError>(condition, data_.name, ": ", parts...);
  }

  static bool is_set(const nlohmann::json& object, const char* key) {
    const auto place = object.find(key);
    return place != object.end() && !place->is_null();
  }
  /// A flag; false without one. Throws for anything but true and false.
  bool is_true(const nlohmann::json& object, const std::string& where, const char* key) const {
    if (!is_set(object, key)) return false;
    expect(object[key].is_boolean(), where, key, ": expected true or false, found ",
           object[key].dump());
    return object[key].get<bool>();
  }
  static std::string type_of(const nlohmann::json& object) {
    return object.is_object() ? object.value("type", std::string("none")) : object.type_name();
  }

  /// Refuses a key that is not among those that are understood.
  void only(const nlohmann::json& object, const std::string& where,
            std::initializer_list<std::string_view> keys) const {
    expect(object.is_object(), where, "expected an object, found ", object.type_name());
    for (const auto& [key, value] : object.items())
      expect(std::find(keys.begin(), keys.end(), key) != keys.end() || value.is_null(), where, key,
             ": this key is not supported");
  }

  void read_model(const nlohmann::json& model) {
    const std::string type = is_set(model, "type") ? type_of(model) : "BPE";
    expect(type == "BPE", "model.type: expected BPE, found ", type,
           "; only byte-level BPE is supported");
    only(model, "model.",
         {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
          "fuse_unk", "byte_fallback", "ignore_merges", "cache_capacity", "vocab", "merges"});
    expect(!is_set(model, "dropout") || model["dropout"] == 0.0,
           "model.dropout: merges left out at random are not supported");
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      expect(!is_set(model, key) || model[key] == "", "model.", key, " is not supported");
    data_.ignore_merges = is_true(model, "model.", "ignore_merges");
  }

  /// Ids of the vocabulary and of the added tokens are 0, 1, ... without a hole.
  void read_vocabulary(const nlohmann::json& vocabulary) {
    const nlohmann::json added = json_.value("added_tokens", nlohmann::json::array());
    expect(vocabulary.is_object() && added.is_array(),
           "expected model.vocab as an object and added_tokens as a list");
    const std::size_t most = vocabulary.size() + added.size();
    data_.tokens.resize(most);
    std::vector<bool> known(most, false);
    std::size_t count = 0;
    const auto put = [&](const std::string& text, const nlohmann::json& number, bool is_added) {
      const auto i = static_cast<std::size_t>(
          whole_number(number, data_.name + ": the id of token '" + text + "'"));
      expect(i < most, "token '", text, "': expected an id below ", most, ", found ", i);
      expect(!known[i] || (is_added && data_.tokens[i] == text), "the id ", i, " stands for '",
             data_.tokens[i], "' and for '", text, "'");
      count += known[i] ? 0 : 1;
      known[i] = true;
      data_.tokens[i] = text;
      return static_cast<Token>(i);
    };
    for (const auto& [text, id] : vocabulary.items()) put(text, id, false);
    for (const auto& token : added) {
      AddedToken one = read_added(token, "added_tokens: ");
      one.id = put(one.text, token.at("id"), true);
      data_.added.push_back(std::move(one));
    }
    for (std::size_t i = 0; i < count; ++i) expect(known[i], "no token has the id ", i);
    data_.tokens.resize(count);
    std::sort(data_.added.begin(), data_.added.end(),
              [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
    for (std::size_t i = 1; i < data_.added.size(); ++i)
      expect(data_.added[i - 1].id != data_.added[i].id, "added token '", data_.added[i].text,
             "' comes twice");
  }

  AddedToken read_added(const nlohmann::json& token, const std::string& where) const {
    only(token, where,
         {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    AddedToken one;
    one.text = token.at("content").get<std::string>();
    const std::string at = where + "'" + one.text + "': ";
    one.special = is_true(token, at, "special");
    one.single_word = is_true(token, at, "single_word");
    one.lstrip = is_true(token, at, "lstrip");
    one.rstrip = is_true(token, at, "rstrip");
    one.normalized = is_true(token, at, "normalized");
    return one;
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

  /// None, or a sequence of none.
  void read_normalizer() const {
    if (!is_set(json_, "normalizer")) return;
    const nlohmann::json& normalizer = json_["normalizer"];
    const bool empty = type_of(normalizer) == "Sequence" &&
                       normalizer.value("normalizers", nlohmann::json()) == nlohmann::json::array();
    expect(empty, "normalizer: expected none, found ", type_of(normalizer),
           ", which is not supported");
  }

  void read_splits(const nlohmann::json& pre) {
    const std::string type = type_of(pre), where = "pre_tokenizer " + type + ": ";
    expect(!byte_level_, where, "expected nothing behind ByteLevel");
    if (type == "Sequence") {
      only(pre, where, {"type", "pretokenizers"});
      for (const auto& each : pre.at("pretokenizers")) read_splits(each);
    } else if (type == "Digits") {
      only(pre, where, {"type", "individual_digits"});
      data_.splits.emplace_back(is_true(pre, where, "individual_digits") ? digit_split
                                                                         : R"(\p{N}+)");
    } else if (type == "ByteLevel") {
      only(pre, where, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
      expect(!is_true(pre, where, "add_prefix_space"), where, "add_prefix_space is not supported");
      if (!is_set(pre, "use_regex") || is_true(pre, where, "use_regex"))
        data_.splits.emplace_back(gpt2_split);
      byte_level_ = true;
    } else if (type == "Split") {
      only(pre, where, {"type", "pattern", "behavior", "invert"});
      const auto behavior = pre.at("behavior").get<std::string>();
      expect(behavior == "Isolated" && !is_true(pre, where, "invert") &&
                 pre.at("pattern").contains("Regex"),
             where, "expected the behavior Isolated of a Regex, found ", behavior,
             is_true(pre, where, "invert") ? " with invert" : "", " of ",
             pre.at("pattern").contains("Regex") ? "a Regex" : pre.at("pattern").dump());
      data_.splits.push_back(pre["pattern"]["Regex"].get<std::string>());
    } else {
      expect(false, "pre_tokenizer: expected Sequence, Digits, Split or ByteLevel, found ", type,
             ", which is not supported");
    }
  }

  void read_decoder(const nlohmann::json& decoder) const {
    if (type_of(decoder) == "Sequence") {
      for (const auto& each : decoder.at("decoders")) read_decoder(each);
      return;
    }
    expect(type_of(decoder) == "ByteLevel" || type_of(decoder) == "Fuse",
           "decoder: expected ByteLevel, found ", type_of(decoder), ", which is not supported");
  }

  /// ByteLevel changes no ids; TemplateProcessing says what is put around a text.
  void read_post_processor(const nlohmann::json& processor) {
    const std::string type = type_of(processor), where = "post_processor " + type + ": ";
    if (type == "Sequence") {
      for (const auto& each : processor.at("processors")) read_post_processor(each);
    } else if (type == "TemplateProcessing") {
      only(processor, where, {"type", "single", "pair", "special_tokens"});
      expect(!has_template_, where, "comes twice");
      has_template_ = true;
      bool behind = false;
      for (const auto& part : processor.at("single")) {
        if (part.contains("Sequence")) {
          expect(!behind && part["Sequence"].at("id") == "A", where,
                 "single: expected the text A once");
          behind = true;
          continue;
        }
        const auto name = part.at("SpecialToken").at("id").get<std::string>();
        for (const auto& id : processor.at("special_tokens").at(name).at("ids"))
          (behind ? data_.after : data_.before).push_back(known_id(id, where + name));
      }
      expect(behind, where, "single: expected the text A once");
    } else {
      expect(type == "ByteLevel",
             "post_processor: expected ByteLevel or TemplateProcessing, found ", type,
             ", which is not supported");
    }
  }

  Token known_id(const nlohmann::json& value, const std::string& where) const {
    const Index id = whole_number(value, data_.name + ": " + where);
    expect(id < static_cast<Index>(data_.tokens.size()), where, ": expected an id below ",
           data_.tokens.size(), ", found ", id);
    return static_cast<Token>(id);
  }

  /// What happens to bytes without a token plays no role where every byte has one.
  void require_bytes(const nlohmann::json& model) const {
    const bool matters = is_set(model, "unk_token") || is_true(model, "model.", "byte_fallback") ||
                         is_true(model, "model.", "fuse_unk");
    if (!matters) return;
    for (const std::string& each : byte_stand_ins())
      expect(model["vocab"].contains(each),
             "model: unk_token, fuse_unk and byte_fallback are not supported where the vocabulary "
             "lacks a byte; only byte-level BPE is supported");
  }

  const nlohmann::json& json_;
  TokenizerData data_;
  bool byte_level_ = false, has_template_ = false;
};

}  // namespace qlora::inline QLORA_ABI::text_detail
