#include "qlora/nn/attention.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/law.hpp"
#include "support/memory.hpp"
#include "support/numbers.hpp"
#include "support/sanitized.hpp"
#include "support/threads.hpp"

using qlora::Index;
using qlora::RowMatrixXd;
using qlora::RowMatrixXf;
using qlora::SequenceSpan;

namespace {

// Attention as the formula says, one query and one key at a time.
RowMatrixXd plain_attention(const qlora::AttentionShape& shape, const RowMatrixXd& q,
                            const RowMatrixXd& k, const RowMatrixXd& v,
                            const std::vector<SequenceSpan>& sequences) {
  RowMatrixXd out = RowMatrixXd::Zero(q.rows(), q.cols());
  const Index d = shape.head_width;
  for (const auto& s : sequences)
    for (Index head = 0; head < shape.heads; ++head)
      for (Index i = 0; i < s.queries; ++i) {
        const auto query = q.row(s.first_query + i).segment(head * d, d);
        const Index kv = head / (shape.heads / shape.kv_heads) * d;
        double total = 0;
        const Index position = s.past + i;
        for (Index j = shape.window > 0 ? std::max<Index>(0, position + 1 - shape.window) : 0;
             j <= position; ++j) {
          const double scale =
              shape.scale > 0 ? shape.scale : 1 / std::sqrt(static_cast<double>(d));
          double score = scale * query.dot(k.row(s.first_key + j).segment(kv, d));
          if (shape.soft_cap > 0) score = shape.soft_cap * std::tanh(score / shape.soft_cap);
          total += std::exp(score);
          out.row(s.first_query + i).segment(head * d, d) +=
              std::exp(score) * v.row(s.first_key + j).segment(kv, d);
        }
        out.row(s.first_query + i).segment(head * d, d) /= total;
      }
  return out;
}

}  // namespace

TEST_CASE("a window, a scale of its own and a cap are the formula's, and so are their gradients") {
  for (const qlora::AttentionShape& shape :
       {qlora::AttentionShape{4, 2, 4, 3}, qlora::AttentionShape{4, 2, 4, 0, 0.8},
        qlora::AttentionShape{4, 2, 4, 0, 0, 0.7}, qlora::AttentionShape{4, 2, 4, 70, 0.3, 1.5}}) {
    const std::vector<SequenceSpan> sequences{{0, 5, 0, 0}, {5, 90, 5, 0}};
    RowMatrixXd q = test::normal_matrix<double>(95, 16, 1),
                k = test::normal_matrix<double>(95, 8, 2),
                v = test::normal_matrix<double>(95, 8, 3), out(95, 16), log_sums(95, 4);
    qlora::attention_forward<double>(shape, q, k, v, sequences, out, log_sums);
    REQUIRE((out - plain_attention(shape, q, k, v, sequences)).norm() <= 1e-11);
    const RowMatrixXd weight = test::normal_matrix<double>(95, 16, 4);
    RowMatrixXd dq(95, 16), dk(95, 8), dv(95, 8);
    qlora::attention_backward<double>(shape, q, k, v, out, log_sums, weight, sequences, dq, dk, dv);
    const auto loss = [&] {
      qlora::attention_forward<double>(shape, q, k, v, sequences, out, log_sums);
      return out.cwiseProduct(weight).sum();
    };
    REQUIRE(test::gradient_error(q, dq, loss) == "");
    REQUIRE(test::gradient_error(k, dk, loss) == "");
    REQUIRE(test::gradient_error(v, dv, loss) == "");
  }
}

TEST_CASE("attention is the formula's, for sequences of any length and groups of heads") {
  test::law("formula", [](std::uint64_t seed, std::uint8_t a, std::uint8_t b,
                          std::uint8_t grouping) {
    const Index first = a % 90 + 1, second = b % 90 + 1;
    const qlora::AttentionShape shape{6, grouping % 2 == 0 ? 2 : 3, 4};
    const std::vector<SequenceSpan> sequences{{0, first, 0, 0}, {first, second, first, 0}};
    const RowMatrixXd q = test::normal_matrix<double>(first + second, 24, seed);
    const RowMatrixXd k = test::normal_matrix<double>(first + second, shape.kv_heads * 4, seed + 1);
    const RowMatrixXd v = test::normal_matrix<double>(first + second, shape.kv_heads * 4, seed + 2);
    RowMatrixXd out(q.rows(), q.cols()), log_sums(q.rows(), 6);
    qlora::attention_forward<double>(shape, q, k, v, sequences, out, log_sums);
    RC_ASSERT((out - plain_attention(shape, q, k, v, sequences)).norm() <= 1e-11);
  });
}

TEST_CASE("with a cache, queries see the keys before them") {
  const qlora::AttentionShape shape{2, 1, 4};
  const RowMatrixXd k = test::normal_matrix<double>(10, 4, 1),
                    v = test::normal_matrix<double>(10, 4, 2);
  const RowMatrixXd q = test::normal_matrix<double>(3, 8, 3);
  const std::vector<SequenceSpan> sequences{{0, 3, 0, 5}};
  RowMatrixXd out(3, 8), log_sums(3, 2);
  qlora::attention_forward<double>(shape, q, k, v, sequences, out, log_sums);
  REQUIRE((out - plain_attention(shape, q, k, v, sequences)).norm() < 1e-13);
}

TEST_CASE("gradients of q, k and v agree with central differences") {
  const qlora::AttentionShape shape{4, 2, 3};
  const std::vector<SequenceSpan> sequences{{0, 5, 0, 0}, {5, 1, 5, 0}, {6, 4, 6, 0}};
  RowMatrixXd q = test::normal_matrix<double>(10, 12, 1), k = test::normal_matrix<double>(10, 6, 2);
  RowMatrixXd v = test::normal_matrix<double>(10, 6, 3), out(10, 12), log_sums(10, 4);
  RowMatrixXd dq(10, 12), dk(10, 6), dv(10, 6);
  const RowMatrixXd weight = test::normal_matrix<double>(10, 12, 4);
  const auto loss = [&] {
    qlora::attention_forward<double>(shape, q, k, v, sequences, out, log_sums);
    return out.cwiseProduct(weight).sum();
  };
  (void)loss();
  qlora::attention_backward<double>(shape, q, k, v, out, log_sums, weight, sequences, dq, dk, dv);
  REQUIRE(test::gradient_error(q, dq, loss) == "");
  REQUIRE(test::gradient_error(k, dk, loss) == "");
  REQUIRE(test::gradient_error(v, dv, loss) == "");
}

TEST_CASE("gradients hold across blocks of queries") {
  // 150 tokens are three blocks of 64; some elements by central differences are enough.
  const qlora::AttentionShape shape{1, 1, 2};
  const std::vector<SequenceSpan> sequences{{0, 150, 0, 0}};
  RowMatrixXd q = test::normal_matrix<double>(150, 2, 1),
              k = test::normal_matrix<double>(150, 2, 2);
  RowMatrixXd v = test::normal_matrix<double>(150, 2, 3), out(150, 2), log_sums(150, 1);
  RowMatrixXd dq(150, 2), dk(150, 2), dv(150, 2);
  const RowMatrixXd weight = test::normal_matrix<double>(150, 2, 4);
  const auto loss = [&] {
    qlora::attention_forward<double>(shape, q, k, v, sequences, out, log_sums);
    return out.cwiseProduct(weight).sum();
  };
  (void)loss();
  qlora::attention_backward<double>(shape, q, k, v, out, log_sums, weight, sequences, dq, dk, dv);
  for (const Index row : {0, 63, 64, 127, 128, 149}) {
    auto key = k.middleRows(row, 1), query = q.middleRows(row, 1), value = v.middleRows(row, 1);
    REQUIRE(test::gradient_error(query, dq.middleRows(row, 1), loss) == "");
    REQUIRE(test::gradient_error(key, dk.middleRows(row, 1), loss) == "");
    REQUIRE(test::gradient_error(value, dv.middleRows(row, 1), loss) == "");
  }
}

TEST_CASE("large scores do not overflow") {
  const qlora::AttentionShape shape{1, 1, 2};
  const RowMatrixXf q = RowMatrixXf::Constant(3, 2, 1e4f), v = test::normal_matrix(3, 2, 1);
  RowMatrixXf out(3, 2), log_sums(3, 1);
  const std::vector<SequenceSpan> sequences{{0, 3, 0, 0}};
  qlora::attention_forward<float>(shape, q, q, v, sequences, out, log_sums);
  REQUIRE(out.allFinite());
  REQUIRE((out.row(0) - v.row(0)).norm() == 0.f);
}

TEST_CASE("one and many threads give the same bits") {
  const qlora::AttentionShape shape{4, 2, 8};
  const RowMatrixXf q = test::normal_matrix(100, 32, 1), k = test::normal_matrix(100, 16, 2),
                    v = test::normal_matrix(100, 16, 3);
  const std::vector<SequenceSpan> sequences{{0, 40, 0, 0}, {40, 60, 40, 0}};
  const auto [one, four] = test::with_one_and_four_threads([&] {
    RowMatrixXf out(100, 32), log_sums(100, 4), dq(100, 32), dk(100, 16), dv(100, 16);
    qlora::attention_forward<float>(shape, q, k, v, sequences, out, log_sums);
    qlora::attention_backward<float>(shape, q, k, v, out, log_sums, q, sequences, dq, dk, dv);
    RowMatrixXf all(100, 32 + 32 + 16 + 16);
    all << out, dq, dk, dv;
    return all;
  });
  REQUIRE(test::same_bits(one, four));
}

TEST_CASE("widths that do not fit are refused") {
  RowMatrixXf out(2, 8), log_sums(2, 2);
  const std::vector<SequenceSpan> sequences{{0, 2, 0, 0}};
  const RowMatrixXf q = RowMatrixXf::Zero(2, 8), k = RowMatrixXf::Zero(2, 4);
  REQUIRE_THROWS_AS(qlora::attention_forward<float>({2, 2, 4}, q, k, k, sequences, out, log_sums),
                    qlora::ShapeError);
  REQUIRE_THROWS_AS(qlora::attention_forward<float>({3, 2, 4}, q, q, q, sequences, out, log_sums),
                    qlora::ShapeError);
}

TEST_CASE("values of another shape, and spans that leave their rows, are refused by the sequence") {
  const qlora::AttentionShape shape{2, 1, 4};
  const RowMatrixXf q = RowMatrixXf::Zero(6, 8), k = RowMatrixXf::Zero(8, 4);
  RowMatrixXf out(6, 8), log_sums(6, 2), dq(6, 8), dk(8, 4), dv(8, 4);
  const auto forward = [&](const std::vector<SequenceSpan>& sequences, const RowMatrixXf& v) {
    qlora::attention_forward<float>(shape, q, k, v, sequences, out, log_sums);
  };
  REQUIRE_NOTHROW(forward({{0, 6, 0, 2}}, k));
  REQUIRE_NOTHROW(forward({{0, 3, 0, 0}, {3, 3, 0, 2}}, k));  // a prefix that both see
  REQUIRE_THROWS_WITH(forward({{0, 6, 0, 0}}, RowMatrixXf::Zero(7, 4)), test::contains("v"));
  REQUIRE_THROWS_AS(forward({{0, 6, 0, 0}}, RowMatrixXf::Zero(8, 8)), qlora::ShapeError);
  const std::vector<std::vector<SequenceSpan>> wrong = {
      {{0, 7, 0, 0}},                // more queries than rows
      {{0, 5, 0, 0}},                // a row without a sequence
      {{0, 3, 0, 0}, {2, 4, 3, 0}},  // a row of two sequences
      {{-1, 7, 0, 0}},
      {{0, -6, 0, 0}, {-6, 12, 0, 0}},
      {{0, 6, 3, 0}},  // keys beyond the last row
      {{0, 6, 0, 3}},
      {{0, 6, -1, 0}},
      {{0, 6, 0, -1}},
      {{0, 6, Index{1} << 62, 0}}};
  for (const auto& sequences : wrong) REQUIRE_THROWS_AS(forward(sequences, k), qlora::ShapeError);

  log_sums.setZero();
  const auto backward = [&](const std::vector<SequenceSpan>& sequences, const RowMatrixXf& dout,
                            const RowMatrixXf& sums) {
    qlora::attention_backward<float>(shape, q, k, k, out, sums, dout, sequences, dq, dk, dv);
  };
  REQUIRE_NOTHROW(backward({{0, 6, 0, 0}}, q, log_sums));
  REQUIRE_THROWS_WITH(backward({{0, 6, 0, 2}}, q, log_sums), test::contains("a past of 2"));
  REQUIRE_THROWS_AS(backward({{0, 3, 0, 0}, {3, 3, 2, 0}}, q, log_sums), qlora::ShapeError);
  REQUIRE_THROWS_AS(backward({{0, 6, 0, 0}}, RowMatrixXf::Zero(5, 8), log_sums), qlora::ShapeError);
  REQUIRE_THROWS_AS(backward({{0, 6, 0, 0}}, q, RowMatrixXf::Zero(6, 1)), qlora::ShapeError);
  dk.resize(7, 4);
  REQUIRE_THROWS_WITH(backward({{0, 6, 0, 0}}, q, log_sums), test::contains("attention: dk"));
  log_sums.resize(6, 1);
  REQUIRE_THROWS_WITH(forward({{0, 6, 0, 2}}, k), test::contains("attention: log_sums"));
}

#if !QLORA_SANITIZED
TEST_CASE("a full tensor of scores never exists") {
  constexpr Index tokens = 2048;
  const qlora::AttentionShape shape{8, 2, 8};  // tokens * tokens * heads floats would be 128 MiB
  const RowMatrixXf q = test::normal_matrix(tokens, 64, 1), k = test::normal_matrix(tokens, 16, 2);
  RowMatrixXf out = RowMatrixXf::Zero(tokens, 64), log_sums(tokens, 8);
  RowMatrixXf dq(tokens, 64), dk(tokens, 16), dv(tokens, 16);
  const std::vector<SequenceSpan> sequences{{0, tokens, 0, 0}};
  REQUIRE(test::peak_growth_mib([&] {
            qlora::attention_forward<float>(shape, q, k, k, sequences, out, log_sums);
            qlora::attention_backward<float>(shape, q, k, k, out, log_sums, q, sequences, dq, dk,
                                             dv);
          }) < 24);
}
#endif
