// Central differences in double against a hand-written backward pass.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "qlora/core/matrix.hpp"

namespace test {

// Compares `analytic` with the central differences of `loss()` over every element of `at`, which is
// moved in place. With h = 1e-5 the truncation error is about 1e-10 and the rounding error about
// 1e-11 of the loss, so 1e-6 of the gradient's size leaves room. Returns "" or the first element
// that is off.
template <class Matrix, class Gradient>
std::string gradient_error(Matrix& at, const Gradient& analytic,
                           const std::function<double()>& loss, double tolerance = 1e-6) {
  if (analytic.rows() != at.rows() || analytic.cols() != at.cols()) return "wrong shape";
  constexpr double h = 1e-5;
  const double size = std::max(
      1e-3, analytic.size() > 0 ? static_cast<double>(analytic.cwiseAbs().maxCoeff()) : 0.0);
  for (qlora::Index row = 0; row < at.rows(); ++row)
    for (qlora::Index col = 0; col < at.cols(); ++col) {
      const auto kept = at(row, col);
      at(row, col) = kept + h;
      const double above = loss();
      at(row, col) = kept - h;
      const double below = loss();
      at(row, col) = kept;
      const double expected = (above - below) / (2 * h),
                   found = static_cast<double>(analytic(row, col));
      if (!(std::abs(expected - found) <= tolerance * size))
        return qlora::message("element ", row, ", ", col, ": expected ", expected, ", found ",
                              found);
    }
  return "";
}

}  // namespace test
