/// The numbers a layer computes in.
///
///     template <qlora::Scalar T>
///     class MyLayer;
#pragma once

#include <concepts>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Float, or double where accuracy is studied.
template <class T>
concept Scalar = std::floating_point<T>;

}  // namespace qlora::inline QLORA_ABI
