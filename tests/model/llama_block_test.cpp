#include "qlora/model/llama_block.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::Index;
using qlora::RowMatrixXd;
using Block = qlora::LlamaBlock<double>;

namespace {

// Two heads of four over one of keys, a feed-forward part of six.
Block small_block(std::uint64_t seed = 1) {
  Block block;
  block.shape = {2, 1, 4};
  block.attention_norm = {test::normal_matrix<double>(1, 8, seed).row(0).transpose(), 1e-5};
  block.feed_forward_norm = {test::normal_matrix<double>(1, 8, seed + 1).row(0).transpose(), 1e-5};
  const Index rows[] = {8, 4, 4, 8, 6, 6, 8};
  for (std::size_t p = 0; p < qlora::projection_count; ++p) {
    const Index cols = p == qlora::down_proj ? 6 : 8;
    block.projections[p] = qlora::LoraLinear<qlora::AnyLinear<double>, double>(
        qlora::AnyLinear<double>(test::normal_matrix<double>(rows[p], cols, seed + 2 + p, 0.5)),
        {.rank = 0});
  }
  return block;
}
void clear(Block& block, qlora::Projection which) {
  const auto& base = block.projections[which];
  block.projections[which] = qlora::LoraLinear<qlora::AnyLinear<double>, double>(
      qlora::AnyLinear<double>(RowMatrixXd(RowMatrixXd::Zero(base.rows(), base.cols()))),
      {.rank = 0});
}

const qlora::Rope<double> rope(4, 10000, 16);

RowMatrixXd forward(const Block& block, RowMatrixXd x, const qlora::BatchLayout& layout) {
  Block::Saved saved;
  block.forward(x, saved, layout, rope, {});
  return x;
}

}  // namespace

TEST_CASE("the gradient of a block's input agrees with central differences") {
  Block block = small_block();
  const qlora::BatchLayout layout = qlora::uniform_layout(2, 3);
  RowMatrixXd x = test::normal_matrix<double>(6, 8, 20);
  const RowMatrixXd weight = test::normal_matrix<double>(6, 8, 21);
  RowMatrixXd y = x, dx = weight;
  Block::Saved saved;
  block.forward(y, saved, layout, rope, {});
  REQUIRE(saved.x == x);
  block.backward(dx, saved, layout, rope);
  REQUIRE(test::gradient_error(
              x, dx, [&] { return forward(block, x, layout).cwiseProduct(weight).sum(); }) == "");
}

TEST_CASE("a block whose last projections are zero passes its input and its gradient on") {
  Block block = small_block();
  clear(block, qlora::o_proj);
  clear(block, qlora::down_proj);
  const RowMatrixXd x = test::normal_matrix<double>(5, 8, 3);
  RowMatrixXd y = x, dx = test::normal_matrix<double>(5, 8, 4);
  const RowMatrixXd dy = dx;
  const auto layout = qlora::uniform_layout(1, 5);
  Block::Saved saved;
  block.forward(y, saved, layout, rope, {});
  REQUIRE(y == x);
  block.backward(dx, saved, layout, rope);
  REQUIRE(dx == dy);
}

TEST_CASE("a token sees those before it and none behind, and no other sequence") {
  const Block block = small_block();
  const auto layout = qlora::uniform_layout(2, 4);
  const RowMatrixXd x = test::normal_matrix<double>(8, 8, 5);
  RowMatrixXd changed = x;
  changed.row(2) *= 2;
  const RowMatrixXd before = forward(block, x, layout), after = forward(block, changed, layout);
  for (Index token = 0; token < 8; ++token)
    REQUIRE((before.row(token) == after.row(token)) == (token != 2 && token != 3));
}

TEST_CASE("a block with a cache gives for pieces of a sequence what it gives for the whole") {
  const Block block = small_block();
  const RowMatrixXd x = test::normal_matrix<double>(7, 8, 6);
  const RowMatrixXd whole = forward(block, x, qlora::uniform_layout(1, 7));
  Block::Cache cache{RowMatrixXd::Zero(16, 4), RowMatrixXd::Zero(16, 4)};
  Index done = 0;
  for (const Index piece : {3, 1, 3}) {
    RowMatrixXd y = x.middleRows(done, piece);
    Block::Saved saved;
    block.forward(y, saved, qlora::uniform_layout(1, piece, done), rope, {}, &cache);
    REQUIRE((y - whole.middleRows(done, piece)).norm() < 1e-12);
    done += piece;
  }
  REQUIRE(cache.k.row(6).norm() > 0);
  REQUIRE(cache.k.row(7).norm() == 0);
  RowMatrixXd beyond = test::normal_matrix<double>(17, 8, 6);
  Block::Saved saved;
  REQUIRE_THROWS_AS(block.forward(beyond, saved, qlora::uniform_layout(1, 17), rope, {}),
                    qlora::ShapeError);
}
