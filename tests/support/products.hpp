// The bound that products with packed weights are held to.
#pragma once

#include <cmath>
#include <string>

#include "qlora/core/matrix.hpp"
#include "qlora/core/numeric.hpp"

namespace test {

// Whether each element of `y` lies within 4 * 2^-23 * sqrt(K) * sum |x w| of the double-precision
// product x w, K being the length of the sums: the random-walk estimate of float rounding with a
// factor of four. Says where it does not.
inline std::string product_error(const qlora::RowMatrixXd& x, const qlora::RowMatrixXd& w,
                                 const qlora::RowMatrixXf& y) {
  if (y.rows() != x.rows() || y.cols() != w.cols()) return "wrong shape";
  const qlora::RowMatrixXd exact = x * w, magnitude = x.cwiseAbs() * w.cwiseAbs();
  const double factor = 4 * 0x1p-23 * std::sqrt(static_cast<double>(x.cols()));
  for (qlora::Index i = 0; i < y.size(); ++i) {
    const double error = std::abs(static_cast<double>(y.data()[i]) - exact.data()[i]);
    if (!(error <= factor * magnitude.data()[i]))
      return qlora::message("element ", i / y.cols(), ", ", i % y.cols(), ": expected ",
                            exact.data()[i], ", found ", y.data()[i], " which is off by ", error,
                            " of ", factor * magnitude.data()[i]);
  }
  return "";
}

// Each number rounded to bfloat16.
inline qlora::RowMatrixXd rounded_to_bfloat16(const qlora::RowMatrixXf& m) {
  return m.unaryExpr([](float x) { return static_cast<double>(float{qlora::bfloat16(x)}); });
}

}  // namespace test
