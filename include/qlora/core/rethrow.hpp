/// Adds words to an error and keeps its kind, so that code that catches an IoError still catches
/// it.
///
///     try { work(); }
///     catch (const qlora::Error& failure) {
///       qlora::rethrow_as(failure, qlora::message("step 3: ", failure.what()));
///     }
#pragma once

#include <string>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// Throws an error of the kind that `failure` is, with another text. Kinds that this library does
/// not know become Error.
[[noreturn]] inline void rethrow_as(const Error& failure, const std::string& text) {
  const auto throw_if = [&]<class Kind>() {
    if (dynamic_cast<const Kind*>(&failure)) throw Kind(text);
  };
  throw_if.template operator()<ShapeError>();
  throw_if.template operator()<OptionError>();
  throw_if.template operator()<FormatError>();
  throw_if.template operator()<IoError>();
  throw_if.template operator()<DeviceError>();
  throw_if.template operator()<NumericError>();
  throw_if.template operator()<Cancelled>();
  throw Error(text);
}

}  // namespace qlora::inline QLORA_ABI
