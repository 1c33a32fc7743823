/// Chooses the next token from logits, and generates whole texts: greedily, or by sampling with
/// temperature, top-k, top-p and a seed.
///
///     qlora::generate(model, prompt, {.new_tokens = 64, .temperature = 0.7f, .seed = 1},
///                     [&](qlora::Token id) { print(id); return id != end; });
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/random.hpp"
#include "qlora/model/llama.hpp"

namespace qlora::inline QLORA_ABI {

/// How tokens are chosen, and how many. A plain value, which several threads may read together.
struct SampleOptions {
  Index new_tokens = 256;  ///< the most tokens that `generate` makes
  float temperature = 0;   ///< logits are divided by it; 0 stands for greedy decoding
  Index top_k = 0;         ///< keeps the k likeliest tokens; 0 keeps all
  float top_p = 1;         ///< keeps the likeliest tokens that reach this probability together
  std::uint64_t seed = 0;
};

/// Chooses a token id from logits, [vocabulary]. `position` is the number of the random draw from
/// the seed. Of equal logits the lower id comes first. Throws NumericError for logits that are not
/// finite. Safe to call from several threads.
template <Scalar T>
Token sample(const ColumnVector<T>& logits, const SampleOptions& options, std::uint64_t position) {
  require<NumericError>(logits.allFinite(), "sample: expected finite logits");
  Index best = 0;
  const T largest = logits.maxCoeff(&best);
  if (options.temperature <= 0 || options.top_k == 1) return static_cast<Token>(best);
  std::vector<Token> order(static_cast<std::size_t>(logits.size()));
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](Token a, Token b) {
    return logits(a) != logits(b) ? logits(a) > logits(b) : a < b;
  };
  if (options.top_k > 0 && options.top_k < logits.size()) {
    std::partial_sort(order.begin(), order.begin() + options.top_k, order.end(), likelier);
    order.resize(static_cast<std::size_t>(options.top_k));
  } else {
    std::sort(order.begin(), order.end(), likelier);
  }
  std::vector<double> weights;
  double total = 0;
  for (const Token id : order)
    total += weights.emplace_back(
        std::exp(static_cast<double>(logits(id) - largest) / options.temperature));
  double kept = 0;
  std::size_t count = 0;
  while (count < weights.size() && kept < static_cast<double>(options.top_p) * total)
    kept += weights[count++];
  count = std::max<std::size_t>(count, 1);
  kept = std::accumulate(weights.begin(), weights.begin() + static_cast<Index>(count), 0.0);
  double left = static_cast<double>(uniform01(options.seed, position)) * kept;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order[count - 1];
}

/// Continues `prompt` and returns the new tokens. It stops after new_tokens, at the end of the
/// model's context, or where `accept(id)` returns false; that last id is part of the result. Throws
/// ShapeError for an empty prompt, for one that fills the context by itself, and for an id outside
/// the vocabulary. Throws NumericError for logits that are not finite. Several threads may generate
/// with one model at once.
template <Scalar T>
std::vector<Token> generate(const Llama<T>& model, std::span<const Token> prompt,
                            const SampleOptions& options,
                            const std::function<bool(Token)>& accept = {}) {
  const auto length = static_cast<Index>(prompt.size());
  const Index context = model.config.context;
  require<ShapeError>(length > 0 && length < context, "context: expected a prompt of 1 to ",
                      context - 1, " tokens, found ", length);
  const Index new_tokens = std::min(options.new_tokens, context - length);
  auto cache = model.make_cache(length + new_tokens);
  std::vector<Token> answer;
  ColumnVector<T> logits = model.next_logits(prompt, cache);
  for (Index i = 0; i < new_tokens; ++i) {
    const Token id = sample(logits, options, static_cast<std::uint64_t>(i));
    answer.push_back(id);
    if ((accept && !accept(id)) || i + 1 == new_tokens) break;
    logits = model.next_logits(std::span(&id, 1), cache);
  }
  return answer;
}

}  // namespace qlora::inline QLORA_ABI
