/// Clipping of gradients by their global norm or number by number, as torch does it.
#pragma once

#include <algorithm>
#include <cmath>

#include "qlora/core/parameter.hpp"

namespace qlora {

/// The Euclidean norm of all gradients together.
template <Scalar T>
double gradient_norm(const ParameterList<T>& parameters) {
  double sum = 0;
  for (const auto& p : parameters) sum += p.grad().template cast<double>().squaredNorm();
  return std::sqrt(sum);
}

/// Multiplies all gradients by min(1, largest / (norm + 1e-6)); `largest` <= 0 leaves them. Returns
/// the norm before.
template <Scalar T>
double clip_gradients(const ParameterList<T>& parameters, double largest) {
  const double norm = gradient_norm(parameters);
  const double factor = largest > 0 ? std::min(1.0, largest / (norm + 1e-6)) : 1.0;
  if (factor < 1)
    for (const auto& p : parameters) p.grad() *= static_cast<T>(factor);
  return norm;
}

/// Moves every number of the gradients into [-largest, largest]; NaN stays NaN, and `largest` <= 0
/// leaves all as they are.
template <Scalar T>
void clip_gradient_values(const ParameterList<T>& parameters, double largest) {
  if (!(largest > 0)) return;
  const auto bound = static_cast<T>(largest);
  for (const auto& p : parameters)
    p.grad() = p.grad().unaryExpr([bound](T g) {
      return g > bound ? bound : g < -bound ? -bound : g;
    });
}

}  // namespace qlora
