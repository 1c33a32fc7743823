/// AbnormalFloat: values that minimize the expected absolute error for normal weights in blocks.
/// Yoshida, "NF4 isn't information theoretically optimal (and that's good)", 2023.
#pragma once

#include <array>

#include "qlora/codebook/codebook.hpp"
#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// bitsandbytes' table of AF4, which was made for blocks of 64 weights. Its order is bitsandbytes',
/// from 1 down to -1.
struct AF4 {
  static constexpr std::array values{1.f,          0.72424865f,  0.55496234f,  0.42563882f,
                                     0.31675667f,  0.21961275f,  0.12934484f,  0.04273164f,
                                     0.f,          -0.04934812f, -0.14982478f, -0.25607553f,
                                     -0.37369511f, -0.5124374f,  -0.69441009f, -1.f};
};

}  // namespace qlora::inline QLORA_ABI
