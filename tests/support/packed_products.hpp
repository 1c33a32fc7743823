// A packed matrix of random weights, what it is multiplied with, and what the products should be.
#pragma once

#include <cstdint>
#include <string>

#include "qlora/linalg/gemm.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "support/numbers.hpp"
#include "support/products.hpp"

namespace test {

template <class F>
struct PackedProducts {
  qlora::Compute compute;
  qlora::QuantizedMatrix<F> w;
  qlora::RowMatrixXf x, dy;

  PackedProducts(qlora::Index tokens, qlora::Index rows, qlora::Index cols, std::uint64_t seed,
                 double deviation = 1, qlora::Compute arithmetic = qlora::Compute::float32)
      : compute(arithmetic),
        w(qlora::quantize<F>(normal_matrix(rows, cols, seed, deviation))),
        x(normal_matrix(tokens, cols, seed + 1)),
        dy(normal_matrix(tokens, rows, seed + 2)) {}

  qlora::RowMatrixXf y() const {
    qlora::RowMatrixXf result(x.rows(), w.rows());
    qlora::forward_product<float>(x, w.view(), result, {.compute = compute});
    return result;
  }
  qlora::RowMatrixXf dx() const {
    qlora::RowMatrixXf result(dy.rows(), w.cols());
    qlora::backward_product<float>(dy, w.view(), result, {.compute = compute});
    return result;
  }

  // The first error beyond the bound against products of the factors, rounded as the arithmetic
  // rounds them; "" if there is none.
  std::string error_of(const qlora::RowMatrixXf& found_y,
                       const qlora::RowMatrixXf& found_dx) const {
    const qlora::RowMatrixXd dense = exact(qlora::dequantize(w));
    const auto forward = product_error(exact(x), dense.transpose(), found_y);
    if (!forward.empty()) return "x Wᵀ: " + forward;
    const auto backward = product_error(exact(dy), dense, found_dx);
    return backward.empty() ? "" : "dy W: " + backward;
  }
  std::string error() const { return error_of(y(), dx()); }

 private:
  qlora::RowMatrixXd exact(const qlora::RowMatrixXf& m) const {
    return compute == qlora::Compute::bfloat16 ? rounded_to_bfloat16(m)
                                               : qlora::RowMatrixXd(m.cast<double>());
  }
};

}  // namespace test
