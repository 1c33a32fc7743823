/// Gradient clipping by the global norm or elementwise, as in torch.
#pragma once

#include <algorithm>
#include <cmath>

#include "qlora/core/config.hpp"
#include "qlora/core/parameter.hpp"

namespace qlora::inline QLORA_ABI {

/// The Euclidean norm of all gradients together, computed in double.
template <Scalar T>
double gradient_norm(const ParameterList<T>& parameters) {
  double sum = 0;
  for (const auto& p : parameters) sum += p.grad().template cast<double>().squaredNorm();
  return std::sqrt(sum);
}

/// Multiplies all gradients by min(1, largest / (norm + 1e-6)), where norm is their global norm. A
/// `largest` of 0 or less leaves them as they are. Returns the norm before clipping.
template <Scalar T>
double clip_gradients(const ParameterList<T>& parameters, double largest) {
  const double norm = gradient_norm(parameters);
  const double factor = largest > 0 ? std::min(1.0, largest / (norm + 1e-6)) : 1.0;
  if (factor < 1)
    for (const auto& p : parameters) p.grad() *= static_cast<T>(factor);
  return norm;
}

/// Clips every number of the gradients to [-largest, largest]. NaN stays NaN. A `largest` of 0 or
/// less leaves the gradients as they are.
template <Scalar T>
void clip_gradient_values(const ParameterList<T>& parameters, double largest) {
  if (!(largest > 0)) return;
  const auto bound = static_cast<T>(largest);
  for (const auto& p : parameters)
    p.grad() = p.grad().unaryExpr([bound](T g) {
      return g > bound ? bound : g < -bound ? -bound : g;
    });
}

}  // namespace qlora::inline QLORA_ABI
