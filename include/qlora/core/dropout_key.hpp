/// Whether dropout acts, and which choices it makes.
///
///     qlora::DropoutKey dropout{.training = true, .key = key};
#pragma once

#include <cstdint>

namespace qlora {

/// The same key drops the same elements again.
struct DropoutKey {
  bool training = false;  ///< without it nothing is dropped
  std::uint64_t key = 0;
};

}  // namespace qlora
