/// Codebooks of small floating-point types.
#pragma once

#include <array>

#include "qlora/codebook/codebook.hpp"

namespace qlora {

/// bitsandbytes' FP4 in code order: bit 3 is the sign, 1/192 the subnormal, values are twelfths
/// divided by their largest. OCP's E2M1 is another type.
struct FP4 {
  static constexpr std::array values{
      0.f,  0.0052083333f,  0.6666667f,  1.f,  0.33333334f,  0.5f,  0.16666667f,  0.25f,
      -0.f, -0.0052083333f, -0.6666667f, -1.f, -0.33333334f, -0.5f, -0.16666667f, -0.25f};
};

}  // namespace qlora
