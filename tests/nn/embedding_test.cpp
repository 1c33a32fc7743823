#include "qlora/nn/embedding.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/gradient.hpp"
#include "support/numbers.hpp"

using qlora::RowMatrixXd;

TEST_CASE("rows are picked by id and their gradient goes back to them, repeated ids included") {
  RowMatrixXd table = test::normal_matrix<double>(6, 4, 1);
  const std::vector<qlora::Token> ids{2, 5, 2, 0};
  RowMatrixXd out(4, 4);
  qlora::embedding_forward<double>(table, ids, out);
  for (std::size_t i = 0; i < ids.size(); ++i)
    REQUIRE(out.row(static_cast<qlora::Index>(i)) == table.row(ids[i]));
  const RowMatrixXd weight = test::normal_matrix<double>(4, 4, 2);
  RowMatrixXd grad = RowMatrixXd::Zero(6, 4);
  qlora::embedding_backward<double>(weight, ids, grad);
  REQUIRE(test::gradient_error(table, grad, [&] {
            qlora::embedding_forward<double>(table, ids, out);
            return out.cwiseProduct(weight).sum();
          }) == "");
}

TEST_CASE("an id outside the table is refused by its place") {
  const RowMatrixXd table = RowMatrixXd::Zero(6, 4);
  RowMatrixXd out(2, 4);
  for (const qlora::Token bad : {6, -1}) {
    const std::vector<qlora::Token> ids{0, bad};
    const auto text = test::message_of<qlora::ShapeError>(
        [&] { qlora::embedding_forward<double>(table, ids, out); });
    REQUIRE(test::contains(text, "token 1: expected an id below 6"));
  }
}

TEST_CASE("an output of another shape is refused, and a part of a matrix is taken") {
  const RowMatrixXd table = test::normal_matrix<double>(6, 4, 1);
  const std::vector<qlora::Token> ids{0, 5};
  RowMatrixXd out = RowMatrixXd::Zero(3, 4);
  REQUIRE_THROWS_AS(qlora::embedding_forward<double>(table, ids, out), qlora::ShapeError);
  qlora::embedding_forward<double>(table, ids, out.topRows(2));
  REQUIRE(out.row(1) == table.row(5));
  REQUIRE(out.row(2).isZero(0));
}

TEST_CASE("the backward pass refuses ids and shapes that do not fit, and adds nothing then") {
  RowMatrixXd grad = RowMatrixXd::Zero(6, 4);
  const RowMatrixXd dy = RowMatrixXd::Ones(2, 4);
  const auto add = [&](std::vector<qlora::Token> ids, const RowMatrixXd& from) {
    qlora::embedding_backward<double>(from, ids, grad);
  };
  REQUIRE_THROWS_WITH(add({1, 6}, dy), test::contains("token 1: expected an id below 6"));
  REQUIRE_THROWS_AS(add({1, -1}, dy), qlora::ShapeError);
  REQUIRE_THROWS_AS(add({1}, dy), qlora::ShapeError);
  REQUIRE_THROWS_AS(add({1, 2}, RowMatrixXd::Ones(2, 5)), qlora::ShapeError);
  REQUIRE(grad.isZero(0));
}
