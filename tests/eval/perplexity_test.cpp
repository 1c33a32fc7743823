#include "qlora/eval/perplexity.hpp"

#include <cmath>
#include <numeric>

#include "support/catch.hpp"
#include "support/law.hpp"
#include "support/loaded_tiny.hpp"

using qlora::Index;
using qlora::Token;

namespace {

std::vector<Token> counting(Index count) {
  std::vector<Token> ids(static_cast<std::size_t>(count));
  std::iota(ids.begin(), ids.end(), Token{3});
  return ids;
}

}  // namespace

TEST_CASE("every token but the first is predicted once, from as much before it as its window has") {
  test::law("windows", [](std::uint8_t length, std::uint8_t window, std::uint8_t stride) {
    const qlora::PerplexityOptions options{.window = window % 40 + 2,
                                           .stride = stride % (window % 40 + 2) + 1};
    const auto windows = qlora::eval_detail::perplexity_windows(length, options);
    Index next = 1;
    for (const auto& each : windows) {
      // A stride of the whole window leaves out the first token of each.
      if (options.stride == options.window && each.first_target == each.begin + 1)
        next = each.first_target;
      RC_ASSERT(each.first_target == next);
      RC_ASSERT(each.end - each.begin <= options.window);
      RC_ASSERT(each.begin % options.stride == 0);
      RC_ASSERT(each.first_target > each.begin);
      next = each.end;
    }
    if (length >= 2) RC_ASSERT(next >= length - 1);
  });
}

TEST_CASE("consecutive windows leave out a last short one") {
  const auto windows = qlora::eval_detail::perplexity_windows(100, {.window = 16});
  REQUIRE(windows.size() == 6);
  REQUIRE(windows.back().end == 96);
  REQUIRE(qlora::eval_detail::perplexity_windows(100, {.window = 16, .max_windows = 2}).size() ==
          2);
}

TEST_CASE("the likelihood is that of the logits, window by window") {
  test::LoadedTiny tiny;
  const auto ids = counting(30);
  const auto result = qlora::perplexity(tiny.model, ids, {.window = 20, .stride = 8});
  double nats = 0;
  for (const auto& window :
       qlora::eval_detail::perplexity_windows(30, {.window = 20, .stride = 8})) {
    const auto logits = tiny.model.logits(
        std::span(ids).subspan(static_cast<std::size_t>(window.begin),
                               static_cast<std::size_t>(window.end - window.begin)));
    for (Index i = window.first_target; i < window.end; ++i) {
      const auto row = logits.row(i - window.begin - 1).cast<double>().eval();
      nats += std::log(row.array().exp().sum()) - row(ids[static_cast<std::size_t>(i)]);
    }
  }
  REQUIRE(result.tokens == 29);
  REQUIRE(result.nats == Approx(nats).epsilon(1e-5));
  REQUIRE(result.per_token() == Approx(std::exp(nats / 29)).epsilon(1e-5));
  REQUIRE(result.standard_error > 0);
}

TEST_CASE("words and bytes are those of the tokens that are predicted") {
  test::LoadedTiny tiny;
  const std::string text = "the thin hat  in\nthe inn";
  const auto ids = tiny.tokenizer.encode(text);
  const auto extents = qlora::token_extents(ids, tiny.tokenizer);
  REQUIRE(std::accumulate(extents.bytes.begin(), extents.bytes.end(), Index{0}) ==
          static_cast<Index>(text.size()));
  REQUIRE(std::accumulate(extents.words.begin(), extents.words.end(), Index{0}) == 6);
  const auto count = static_cast<Index>(ids.size());
  const auto result =
      qlora::perplexity(tiny.model, ids, {.window = count, .stride = count}, extents);
  REQUIRE(result.words == 5);  // "the" is the first token
  REQUIRE(result.bytes == static_cast<Index>(text.size()) - 3);
  REQUIRE(result.bits_per_byte() == Approx(std::log2(result.per_byte())));
}

TEST_CASE("windows that make no sense, short texts and a cancelled run are errors") {
  test::LoadedTiny tiny;
  const auto ids = counting(10);
  REQUIRE_THROWS_AS(qlora::perplexity(tiny.model, ids, {.window = 1}), qlora::OptionError);
  REQUIRE_THROWS_AS(qlora::perplexity(tiny.model, ids, {.window = 4, .stride = 5}),
                    qlora::OptionError);
  REQUIRE_THROWS_AS(qlora::perplexity(tiny.model, ids, {.window = 11}), qlora::OptionError);
  REQUIRE_THROWS_AS(qlora::perplexity(tiny.model, counting(1), {.window = 4, .stride = 2}),
                    qlora::OptionError);
  REQUIRE_THROWS_AS(qlora::perplexity(tiny.model, std::vector<Token>(600, 5), {.window = 600}),
                    qlora::ShapeError);
  qlora::PerplexityOptions stopped{.window = 4};
  stopped.progress = [](const qlora::Progress&) { return false; };
  REQUIRE_THROWS_AS(qlora::perplexity(tiny.model, ids, stopped), qlora::Cancelled);
  REQUIRE_THROWS_AS(qlora::perplexity(tiny.model, ids, {.window = 4}, {{1, 1}, {0, 1}}),
                    qlora::ShapeError);
}

TEST_CASE("progress counts the windows and has the perplexity so far") {
  test::LoadedTiny tiny;
  std::vector<Index> done;
  double last = 0;
  const auto ids = counting(40);
  const auto result = qlora::perplexity(
      tiny.model, ids, {.window = 10, .progress = [&](const qlora::PerplexityProgress& now) {
                          done.push_back(now.done);
                          last = now.so_far.nats;
                          return now.total == 4;
                        }});
  REQUIRE(done == std::vector<Index>{1, 2, 3, 4});
  REQUIRE(last == result.nats);
}
