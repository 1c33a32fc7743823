/// A trainable matrix with its gradient, and the list of those that an optimizer is given.
///
///     qlora::Parameter<float> mine("mine", 3, 4);
///     qlora::ParameterList<float> list{&mine, {"dense", dense, grad}};   // grad: of dense's shape
///     list[0].grad().setOnes();
///
/// An entry follows its Parameter when that is moved, with its layer or alone, and throws once it is
/// gone. Another kind of entry borrows a user's own memory, such as `dense` above.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/matrix.hpp"

namespace qlora::inline QLORA_ABI {

/// A trainable matrix, its gradient and the name that it has in a checkpoint. Threads may read one
/// together, and one thread at a time may change it or refer to it.
template <Scalar T = float>
struct Parameter {
  std::string name;  ///< without one it can't be written to a file
  RowMatrix<T> value;
  RowMatrix<T> grad;  ///< of the same shape

  Parameter() = default;
  /// Zeros of shape [rows, cols].
  Parameter(std::string name_, Index rows, Index cols)
      : name(std::move(name_)),
        value(RowMatrix<T>::Zero(rows, cols)),
        grad(RowMatrix<T>::Zero(rows, cols)) {}

  /// References stay with `other`.
  Parameter(const Parameter& other) : name(other.name), value(other.value), grad(other.grad) {}
  /// References to `other` refer to this one from now on.
  Parameter(Parameter&& other) noexcept
      : name(std::move(other.name)),
        value(std::move(other.value)),
        grad(std::move(other.grad)),
        home_(std::move(other.home_)) {
    if (home_) *home_ = this;
  }
  /// Takes the content alone: references to either stay where they are.
  Parameter& operator=(const Parameter& other) {
    if (this != &other) *this = Parameter(other);
    return *this;
  }
  Parameter& operator=(Parameter&& other) noexcept {
    name = std::move(other.name);
    value = std::move(other.value);
    grad = std::move(other.grad);
    return *this;
  }
  ~Parameter() {
    if (home_) *home_ = nullptr;
  }

 private:
  template <Scalar U>
  friend class ParameterRef;

  /// Where this lies, shared with all who refer to it.
  const std::shared_ptr<Parameter*>& home() {
    if (!home_) home_ = std::make_shared<Parameter*>(this);
    return home_;
  }
  std::shared_ptr<Parameter*> home_;
};

/// A row-major matrix in memory that something else owns. What is assigned must have its shape.
/// Copying one refers to the same numbers: write RowMatrix<T>(map) for a copy of them. Threads may
/// read the same numbers together; who writes them needs them alone.
template <Scalar T>
class MatrixMap : public Eigen::Map<RowMatrix<T>> {
  using Base = Eigen::Map<RowMatrix<T>>;

 public:
  MatrixMap(T* data, Index rows, Index cols) : Base(data, rows, cols) {}
  MatrixMap(RowMatrix<T>& matrix) : Base(matrix.data(), matrix.rows(), matrix.cols()) {}
  MatrixMap(const MatrixMap&) = default;

  /// Throws ShapeError for another shape; then nothing changes.
  MatrixMap& operator=(const MatrixMap& other) {
    return *this = static_cast<const Eigen::MatrixBase<Base>&>(other);
  }
  template <class Other>
  MatrixMap& operator=(const Eigen::MatrixBase<Other>& other) {
    require_shape("parameter", other, this->rows(), this->cols());
    Base::operator=(other);
    return *this;
  }
};

/// An entry of a ParameterList: it refers to a Parameter wherever that is moved to, or to memory
/// that a user lends. Several threads may read it together.
template <Scalar T = float>
class ParameterRef {
 public:
  /// Refers to `parameter`, which may move.
  ParameterRef(Parameter<T>* parameter) : home_(parameter->home()) {}
  /// Refers to value and gradient [rows, cols] in memory that must outlive it and stay where it is.
  /// Throws ShapeError where the two are of different shapes.
  ParameterRef(std::string name, const MatrixMap<T>& value, const MatrixMap<T>& grad)
      : name_(std::move(name)), value_(value), grad_(grad) {
    require_shape(message("parameter '", name_, "': gradient").c_str(), grad, value.rows(),
                  value.cols());
  }

  /// The name in a checkpoint. This and the others throw Error once the Parameter is gone.
  const std::string& name() const { return home_ ? parameter().name : name_; }
  /// The numbers where they lie now, not a copy of them.
  MatrixMap<T> value() const { return home_ ? MatrixMap<T>(parameter().value) : value_; }
  MatrixMap<T> grad() const { return home_ ? MatrixMap<T>(parameter().grad) : grad_; }

  /// Equal for the same Parameter and for the same borrowed memory.
  const void* place() const {
    const MatrixMap<T> numbers = value();
    return numbers.size() > 0 ? static_cast<const void*>(numbers.data()) : home_.get();
  }

 private:
  Parameter<T>& parameter() const {
    require<Error>(*home_ != nullptr,
                   "parameter: it is gone with its layer; take the layer's parameters anew");
    return **home_;
  }

  std::shared_ptr<Parameter<T>*> home_;  // null where memory is borrowed
  std::string name_;
  MatrixMap<T> value_{nullptr, 0, 0}, grad_{nullptr, 0, 0};
};

/// The parameters of a layer or a model, in a fixed order.
template <Scalar T = float>
using ParameterList = std::vector<ParameterRef<T>>;

/// How many numbers are trained.
template <Scalar T>
Index parameter_count(const ParameterList<T>& parameters) {
  Index count = 0;
  for (const auto& parameter : parameters) count += parameter.value().size();
  return count;
}

/// Sets all gradients to 0.
template <Scalar T>
void zero_gradients(const ParameterList<T>& parameters) {
  for (const auto& parameter : parameters) parameter.grad().setZero();
}

}  // namespace qlora::inline QLORA_ABI
