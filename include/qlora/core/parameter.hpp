/// A trainable matrix with its gradient and the name it has in a checkpoint.
#pragma once

#include <string>
#include <vector>

#include "qlora/core/matrix.hpp"

namespace qlora {

/// A plain aggregate: threads may read one together, and one thread at a time may change it.
template <Scalar T = float>
struct Parameter {
  std::string name;  ///< without one it can't be written to a file
  RowMatrix<T> value;
  RowMatrix<T> grad;

  Parameter() = default;
  Parameter(std::string name_, Index rows, Index cols)
      : name(std::move(name_)),
        value(RowMatrix<T>::Zero(rows, cols)),
        grad(RowMatrix<T>::Zero(rows, cols)) {}
};

/// Pointers to the parameters of a layer or a model, in a fixed order.
template <Scalar T = float>
using ParameterList = std::vector<Parameter<T>*>;

/// How many numbers are trained.
template <Scalar T>
Index parameter_count(const ParameterList<T>& parameters) {
  Index count = 0;
  for (const auto* parameter : parameters) count += parameter->value.size();
  return count;
}

/// Sets all gradients to 0.
template <Scalar T>
void zero_gradients(const ParameterList<T>& parameters) {
  for (auto* parameter : parameters) parameter->grad.setZero();
}

}  // namespace qlora
