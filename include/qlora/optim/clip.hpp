/// Clipping of the gradient by its global norm, as torch does it.
#pragma once

#include <algorithm>
#include <cmath>

#include "qlora/nn/parameter.hpp"

namespace qlora {

/// The Euclidean norm of all gradients together.
template <Scalar T>
double gradient_norm(const ParameterList<T>& parameters) {
  double sum = 0;
  for (const auto* p : parameters) sum += p->grad.template cast<double>().squaredNorm();
  return std::sqrt(sum);
}

/// Multiplies all gradients by min(1, largest / (norm + 1e-6)); `largest` <= 0 leaves them. Returns
/// the norm before.
template <Scalar T>
double clip_gradients(const ParameterList<T>& parameters, double largest) {
  const double norm = gradient_norm(parameters);
  const double factor = largest > 0 ? std::min(1.0, largest / (norm + 1e-6)) : 1.0;
  if (factor < 1)
    for (auto* p : parameters) p->grad *= static_cast<T>(factor);
  return norm;
}

}  // namespace qlora
