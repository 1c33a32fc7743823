// A Llama of two layers with random weights and a byte-level tokenizer, as a GGUF file: everything
// the programs need, in a fraction of a second.
#pragma once

#include <string>
#include <vector>

#include "qlora/text/tokenizer_gguf.hpp"
#include "support/gguf_builder.hpp"
#include "support/numbers.hpp"

namespace test {

struct TinyModel {
  Index width = 32, hidden = 48, layers = 2, heads = 4, kv_heads = 2, context = 512;
  std::string architecture = "llama", model = "gpt2", pre = "smollm";
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<std::string> merges;

  TinyModel() {
    for (const char* special : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) add(special, 3);
    for (int byte = 0; byte < 256; ++byte) add(stand_in(byte), 1);
    for (const auto& [left, right] :
         std::vector<std::pair<std::string, std::string>>{{"t", "h"},
                                                          {"th", "e"},
                                                          {stand_in(' '), "t"},
                                                          {stand_in(' '), "the"},
                                                          {"i", "n"},
                                                          {"1", "2"}}) {
      merges.push_back(left + " " + right);
      add(left + right, 1);
    }
  }

  GgufBuilder builder() const {
    GgufBuilder file;
    file.key("general.architecture", architecture)
        .key("llama.block_count", static_cast<std::uint32_t>(layers))
        .key("llama.embedding_length", static_cast<std::uint32_t>(width))
        .key("llama.feed_forward_length", static_cast<std::uint32_t>(hidden))
        .key("llama.attention.head_count", static_cast<std::uint32_t>(heads))
        .key("llama.attention.head_count_kv", static_cast<std::uint32_t>(kv_heads))
        .key("llama.attention.layer_norm_rms_epsilon", 1e-5f)
        .key("llama.rope.freq_base", 10000.f)
        .key("llama.rope.dimension_count", static_cast<std::uint32_t>(width / heads))
        .key("llama.context_length", static_cast<std::uint32_t>(context))
        .key("tokenizer.ggml.model", model)
        .key("tokenizer.ggml.tokens", tokens)
        .key("tokenizer.ggml.merges", merges)
        .key("tokenizer.ggml.unknown_token_id", std::uint32_t{0})
        .key("tokenizer.ggml.eos_token_id", std::uint32_t{2})
        .key(
            "tokenizer.chat_template",
            "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}{{ "
            "'<|im_start|>system\nBe brief"
            "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + "
            "'<|im_end|>' + '\n'}}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
    if (!pre.empty()) file.key("tokenizer.ggml.pre", pre);
    if (!types.empty()) file.key("tokenizer.ggml.token_type", types);
    std::uint64_t seed = 1;
    const auto weight = [&](const std::string& name, Index rows, Index cols) {
      file.tensor(name, normal_matrix(rows, cols, seed++, 0.3));
    };
    const auto norm = [&](const std::string& name) {
      file.tensor(name, (normal_matrix(1, width, seed++, 0.1).array() + 1).matrix());
    };
    weight("token_embd.weight", static_cast<Index>(tokens.size()), width);
    norm("output_norm.weight");
    const Index kv_width = width / heads * kv_heads;
    for (Index layer = 0; layer < layers; ++layer) {
      const std::string block = "blk." + std::to_string(layer) + ".";
      norm(block + "attn_norm.weight");
      norm(block + "ffn_norm.weight");
      weight(block + "attn_q.weight", width, width);
      weight(block + "attn_k.weight", kv_width, width);
      weight(block + "attn_v.weight", kv_width, width);
      weight(block + "attn_output.weight", width, width);
      weight(block + "ffn_gate.weight", hidden, width);
      weight(block + "ffn_up.weight", hidden, width);
      weight(block + "ffn_down.weight", width, hidden);
    }
    return file;
  }

  std::string bytes() const { return builder().bytes(); }

 private:
  void add(const std::string& token, std::int32_t type) {
    tokens.push_back(token);
    types.push_back(type);
  }

  // GPT-2's printable stand-in for a byte, in UTF-8.
  static std::string stand_in(int byte) {
    const auto printable = [](int b) {
      return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    };
    int point = byte;
    if (!printable(byte)) {
      point = 256;
      for (int b = 0; b < byte; ++b) point += printable(b) ? 0 : 1;
    }
    if (point < 128) return std::string(1, static_cast<char>(point));
    return {static_cast<char>(0xc0 | (point >> 6)), static_cast<char>(0x80 | (point & 63))};
  }
};

}  // namespace test
