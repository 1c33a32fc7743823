/// Tokens of a text, and which of them count as targets of the loss.
#pragma once

#include <cstdint>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/token.hpp"

namespace qlora::inline QLORA_ABI {

/// Tokens, and for each whether it counts as a target of the loss.
struct EncodedText {
  std::vector<Token> ids;
  std::vector<std::uint8_t> counted;

  /// Adds a token, and whether it is a target of the loss.
  void push(Token id, bool counts) {
    ids.push_back(id);
    counted.push_back(counts ? 1 : 0);
  }
};

/// Which messages of a chat are trained on: assistants' only, or users' too.
enum class TrainOn : std::uint8_t { answers, questions_and_answers };

}  // namespace qlora::inline QLORA_ABI
