/// Perplexity of a model on a text per token, word and byte, in windows that may overlap.
///
///     auto ids = tokenizer.encode_document(text);
///     auto result = qlora::perplexity(model, ids, {.window = 512, .stride = 256});
///     result.per_token(); result.bits_per_byte();
///
/// Windows begin every `stride` tokens. A window predicts the tokens that no window before it has
/// predicted, each from all tokens before it in the window. The first token of a text is not
/// predicted, and where windows do not overlap, neither is the first token of each. These are the
/// windows of Hugging Face's guide "Perplexity of fixed-length models".
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/progress.hpp"
#include "qlora/model/llama.hpp"
#include "qlora/text/tokenizer.hpp"

namespace qlora::inline QLORA_ABI {

/// What was predicted, and how well.
struct Perplexity {
  double nats = 0;             ///< the summed negative log-likelihood
  Index tokens = 0;            ///< how many were predicted
  Index words = 0, bytes = 0;  ///< of the predicted tokens; 0 where they were not counted
  double standard_error = 0;   ///< of the mean nats per token, over the windows; 0 for one window

  /// Perplexities; NaN or infinite where nothing was counted.
  double per_token() const { return std::exp(nats / static_cast<double>(tokens)); }
  double per_word() const { return std::exp(nats / static_cast<double>(words)); }
  double per_byte() const { return std::exp(nats / static_cast<double>(bytes)); }
  double bits_per_byte() const { return nats / static_cast<double>(bytes) / std::numbers::ln2; }
};

/// How far perplexity is: `done` windows of `total`.
struct PerplexityProgress : Progress {
  const Perplexity& so_far;  ///< without the standard error; valid during the call
};

/// The windows of a text, in tokens.
struct PerplexityOptions {
  Index window = 512;
  Index stride = 0;       ///< 0: that of the window, and a last short window is dropped
  Index max_windows = 0;  ///< 0: all
  ProgressCallback<PerplexityProgress> progress = {};  ///< called after each window
};

/// For each token of a text, how many bytes it stands for and how many words begin in it. A word is
/// what stands between blanks.
struct TokenExtents {
  std::vector<Index> bytes, words;
};

/// One entry per token. Several threads may call this at once.
inline TokenExtents token_extents(std::span<const Token> ids, const Tokenizer& tokenizer) {
  TokenExtents extents;
  bool in_word = false;
  for (const Token id : ids) {
    const std::string_view piece = tokenizer.piece(id);
    Index words = 0;
    for (const char c : piece) {
      const bool blank = std::string_view(" \t\n\r\f\v").find(c) != std::string_view::npos;
      if (!blank && !in_word) ++words;
      in_word = !blank;
    }
    extents.bytes.push_back(static_cast<Index>(piece.size()));
    extents.words.push_back(words);
  }
  return extents;
}

namespace eval_detail {

struct Window {
  Index begin, end, first_target;  // tokens [first_target, end) are predicted
};

inline std::vector<Window> perplexity_windows(Index tokens, const PerplexityOptions& options) {
  const Index stride = options.stride > 0 ? options.stride : options.window;
  std::vector<Window> windows;
  for (Index begin = 0, predicted = 0; predicted < tokens; begin += stride) {
    const Index end = std::min(begin + options.window, tokens);
    if (options.stride == 0 && end - begin < options.window) break;
    const Index first = std::max(predicted, begin + 1);
    if (first < end) windows.push_back({begin, end, first});
    predicted = end;
    if (options.max_windows > 0 && static_cast<Index>(windows.size()) == options.max_windows) break;
  }
  return windows;
}

}  // namespace eval_detail

/// Measures a model on the tokens `ids` of a text. With `extents`, one entry per token, words and
/// bytes are counted too. Several threads may measure one model. Throws OptionError for a
/// window of fewer than 2 tokens, a stride above it, or a text without a token to predict;
/// ShapeError for a window beyond the model's context, and for extents of another text; Cancelled.
template <Scalar T>
Perplexity perplexity(const Llama<T>& model, std::span<const Token> ids,
                      const PerplexityOptions& options, const TokenExtents& extents = {}) {
  require<OptionError>(
      options.window >= 2 && options.stride >= 0 && options.stride <= options.window,
      "perplexity: expected a window of 2 or more tokens and a stride up to it, "
      "found ",
      options.window, " and ", options.stride);
  require<ShapeError>(
      extents.bytes.empty() ||
          (extents.bytes.size() == ids.size() && extents.words.size() == ids.size()),
      "perplexity: expected the extents of ", ids.size(), " tokens, found ", extents.bytes.size());
  const auto windows = eval_detail::perplexity_windows(static_cast<Index>(ids.size()), options);
  require<OptionError>(!windows.empty(), "perplexity: expected a text of at least ",
                       options.stride > 0 ? 2 : options.window, " tokens, found ", ids.size());
  Perplexity result;
  double squares = 0;  // of the windows' sums about their share of the mean
  std::vector<std::pair<double, Index>> parts;
  std::vector<Token> targets;
  typename Llama<T>::Workspace workspace;
  for (const eval_detail::Window& window : windows) {
    const Index length = window.end - window.begin;
    targets.assign(static_cast<std::size_t>(length), ignored);
    for (Index i = window.first_target; i < window.end; ++i) {
      const auto at = static_cast<std::size_t>(i);
      targets[static_cast<std::size_t>(i - window.begin - 1)] = ids[at];
      if (!extents.bytes.empty()) {
        result.bytes += extents.bytes[at];
        result.words += extents.words[at];
      }
    }
    const CrossEntropy part = model.loss(
        ids.subspan(static_cast<std::size_t>(window.begin), static_cast<std::size_t>(length)),
        targets, uniform_layout(1, length), workspace);
    result.nats += part.sum;
    result.tokens += part.counted;
    parts.emplace_back(part.sum, part.counted);
    const Progress now{static_cast<Index>(parts.size()), static_cast<Index>(windows.size())};
    if (options.progress && !options.progress({now, result}))
      throw Cancelled("perplexity: stopped");
  }
  const double mean = result.nats / static_cast<double>(result.tokens);
  const auto n = static_cast<double>(parts.size());
  for (const auto& [sum, counted] : parts) {
    const double excess = sum - mean * static_cast<double>(counted);
    squares += excess * excess;
  }
  if (n > 1)
    result.standard_error = std::sqrt(squares * n / (n - 1)) / static_cast<double>(result.tokens);
  return result;
}

}  // namespace qlora::inline QLORA_ABI
