/// Errors that bad input causes. The message names the place, what was expected and what was found.
/// As with every exception of the standard library, several threads may read one object.
///
///     throw qlora::IoError("model.gguf: expected the magic 'GGUF', found 'PK'");
#pragma once

#include <concepts>
#include <sstream>
#include <stdexcept>
#include <string>

#include "qlora/core/config.hpp"

namespace qlora {

/// The base of everything this library throws on bad input.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Sizes that do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A setting, a name or another argument of the caller's that can't be used.
class OptionError : public Error {
 public:
  using Error::Error;
};

/// Content of a file, or other data, that is not understood.
class FormatError : public Error {
 public:
  using Error::Error;
};

/// A file that can't be read or written.
class IoError : public Error {
 public:
  using Error::Error;
};

/// A call of a device's runtime that failed.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// A number that is not finite where it has to be.
class NumericError : public Error {
 public:
  using Error::Error;
};

/// Thrown when a progress callback asked to stop; outputs are untouched.
class Cancelled : public Error {
 public:
  using Error::Error;
};

/// The arguments written one after the other: `message("row ", 3)` is "row 3". Safe to call from
/// several threads.
template <class... Parts>
std::string message(const Parts&... parts) {
  std::ostringstream stream;
  static_cast<void>((stream << ... << parts));
  return stream.str();
}

/// Throws `Kind` with the parts as its message unless `condition` holds. Safe to call from several
/// threads.
template <std::derived_from<Error> Kind, class... Parts>
void require(bool condition, const Parts&... parts) {
  if (!condition) throw Kind(message(parts...));
}

}  // namespace qlora
