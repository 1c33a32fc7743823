/// What blocks of GGUF's K types are divided by: not their largest weight, but the scale of the least
/// squared error among some candidates, as ggml's quantizers search for it without a matrix of
/// importances (ggml, k-quants, 2023). The bits of the sums are ggml's where the compiler fuses no
/// product into them.
///
///     using Q4_K = qlora::BlockFormat<qlora::GgmlUnsigned<4>, 32, qlora::SuperAffineScale<8, 6>,
///                                     qlora::FittedStep<15>>;
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/quant/apply_scale.hpp"
#include "qlora/quant/normalization.hpp"

namespace qlora::inline QLORA_ABI {

/// How much an error counts, by the weight that has it.
enum class ErrorWeight {
  root_mean_square_and_magnitude,  ///< the block's root mean square plus |x|: Q4_K, Q5_K
  magnitude                        ///< |x|: Q2_K, where errors are not squared either
};

namespace quant_detail {

/// ggml's nearest whole number: half to the even one. x: of magnitude below 2^22, and no product that
/// the compiler could fuse into the sum here.
inline int nearest_whole(float x) {
  // In this range floats are a whole number apart.
  const float far = x + 12582912.f;
  return static_cast<int>(__builtin_bit_cast(std::uint32_t, far) & 0x007fffffu) - 0x00400000;
}

inline constexpr Index longest_fitted = 32;

/// sum of a b, each product rounded by itself.
inline float plus_product(float sum, float a, float b) {
  return rounded_sum(sum, rounded_product(a, b));
}

/// Sums over signed codes l of weights x, each counted by its square: of x l and of l l. Their ratio
/// is the scale of the least error.
struct FittedSums {
  float xl = 0, ll = 0;
  void add(float x, int code) {
    const auto l = static_cast<float>(code);
    const float w = rounded_product(x, x);
    xl = plus_product(xl, rounded_product(w, x), l);
    ll = plus_product(ll, rounded_product(w, l), l);
  }
  void remove(float x, int code) {
    const auto l = static_cast<float>(code);
    const float w = rounded_product(x, x);
    xl = rounded_sum(xl, -rounded_product(rounded_product(w, x), l));
    ll = rounded_sum(ll, -rounded_product(rounded_product(w, l), l));
  }
};

/// The signed code of a weight that was divided by the scale, from -Half on.
template <int Half>
int fitted_code(float x) {
  return std::clamp(nearest_whole(x), -Half, Half - 1);
}

}  // namespace quant_detail

/// For codes of 0 to `Levels` over a minimum of at most 0: the scale and the offset of the least
/// weighted error. `Tries` candidates have (Begin + k) / 10 + Levels steps over the block's range. Of
/// equal weights above 0, or none, the scale is 0. Blocks have at most 32 weights.
template <int Levels, int Begin = -10, int Tries = 20,
          ErrorWeight Errors = ErrorWeight::root_mean_square_and_magnitude>
struct FittedStep {
  /// The scale and the offset of x[0], ..., x[count - 1].
  static ScaleAndOffset reference(const float* x, Index count) {
    using quant_detail::nearest_whole, quant_detail::plus_product;
    float weight[quant_detail::longest_fitted], root = 0;
    if constexpr (Errors == ErrorWeight::root_mean_square_and_magnitude) {
      float squares = 0;
      for (Index i = 0; i < count; ++i) squares = plus_product(squares, x[i], x[i]);
      root = std::sqrt(squares / static_cast<float>(count));
    }
    float minimum = x[0], maximum = x[0], weights = 0, sum_x = 0;
    for (Index i = 0; i < count; ++i) {
      weight[i] = root + magnitude(x[i]);
      minimum = std::min(minimum, x[i]);
      maximum = std::max(maximum, x[i]);
      weights = i == 0 ? weight[0] : rounded_sum(weights, weight[i]);
      sum_x = i == 0 ? rounded_product(weight[0], x[0]) : plus_product(sum_x, weight[i], x[i]);
    }
    minimum = std::min(minimum, 0.f);
    if (maximum == minimum) return {0, minimum};
    constexpr auto levels = static_cast<float>(Levels);
    int code[quant_detail::longest_fitted];
    const auto codes_by = [&](float inverse, float from) {
      for (Index i = 0; i < count; ++i)
        code[i] = std::clamp(nearest_whole(rounded_product(inverse, x[i] - from)), 0, Levels);
    };
    const auto error_of = [&](float scale, float offset) {
      float error = 0;
      for (Index i = 0; i < count; ++i) {
        const float difference = rounded_sum(
            rounded_sum(rounded_product(scale, static_cast<float>(code[i])), offset), -x[i]);
        error = plus_product(error, weight[i],
                             Errors == ErrorWeight::magnitude
                                 ? magnitude(difference)
                                 : rounded_product(difference, difference));
      }
      return error;
    };
    const float first = levels / (maximum - minimum);
    ScaleAndOffset best{1 / first, minimum};
    codes_by(first, minimum);
    float least = error_of(best.scale, best.offset);
    for (int k = 0; k <= Tries; ++k) {
      const float steps = rounded_sum(rounded_sum(static_cast<float>(Begin) / 10.f,
                                                  rounded_product(0.1f, static_cast<float>(k))),
                                      levels);
      // The range is that of the best offset so far, as in ggml.
      codes_by(steps / (maximum - best.offset), best.offset);
      float sum_l = 0, sum_l2 = 0, sum_xl = 0;
      for (Index i = 0; i < count; ++i) {
        const auto l = static_cast<float>(code[i]);
        const float wl = rounded_product(weight[i], l);
        sum_l = rounded_sum(sum_l, wl);
        sum_l2 = plus_product(sum_l2, wl, l);
        sum_xl = plus_product(sum_xl, wl, x[i]);
      }
      const float determinant =
          rounded_sum(rounded_product(weights, sum_l2), -rounded_product(sum_l, sum_l));
      if (!(determinant > 0)) continue;
      float scale = rounded_sum(rounded_product(weights, sum_xl), -rounded_product(sum_x, sum_l)) /
                    determinant;
      float offset = rounded_sum(rounded_product(sum_l2, sum_x), -rounded_product(sum_l, sum_xl)) /
                     determinant;
      if (offset > 0) {
        offset = 0;
        scale = sum_xl / sum_l2;
      }
      const float error = error_of(scale, offset);
      if (error < least) {
        least = error;
        best = {scale, offset};
      }
    }
    return best;
  }
};

/// For signed codes of -Half to Half - 1: Half times the scale of the least error, weighted by the
/// squares of the weights, of 19 candidates near the one that maps the extreme to -Half: Q6_K.
template <int Half>
struct FittedSigned {
  /// The reference of a block of at most longest_fitted weights.
  static float reference(const float* x, Index count) {
    const float extreme = SignedAbsoluteMaximum::reference(x, count);
    if (magnitude(extreme) < 1e-15f) return 0;
    float scale = 0, best = 0;
    for (int k = 0; k < 19; ++k) {
      const int step = k == 0 ? 0 : k <= 9 ? k - 10 : k - 9;  // 0, then -9 to 9 without it
      const float inverse =
          -rounded_sum(static_cast<float>(Half), rounded_product(0.1f, static_cast<float>(step))) /
          extreme;
      quant_detail::FittedSums sums;
      for (Index i = 0; i < count; ++i)
        sums.add(x[i], quant_detail::fitted_code<Half>(rounded_product(inverse, x[i])));
      if (k == 0 ||
          (sums.ll > 0 && rounded_product(sums.xl, sums.xl) > rounded_product(best, sums.ll))) {
        scale = sums.ll != 0 ? sums.xl / sums.ll : 0.f;
        best = rounded_product(scale, sums.xl);
      }
    }
    return scale * static_cast<float>(Half);
  }
};

/// The same by moving single codes while the error falls, five times at most: Q3_K.
template <int Half>
struct FittedByCodes {
  /// The reference of a block of at most longest_fitted weights.
  static float reference(const float* x, Index count) {
    using quant_detail::fitted_code;
    const float extreme = SignedAbsoluteMaximum::reference(x, count);
    if (magnitude(extreme) < 1e-15f) return 0;
    const float inverse = static_cast<float>(-Half) / extreme;
    int code[quant_detail::longest_fitted];
    quant_detail::FittedSums sums;
    for (Index i = 0; i < count; ++i) {
      code[i] = fitted_code<Half>(rounded_product(inverse, x[i]));
      sums.add(x[i], code[i]);
    }
    for (int round = 0; round < 5; ++round) {
      bool changed = false;
      for (Index i = 0; i < count; ++i) {
        quant_detail::FittedSums moved = sums;
        moved.remove(x[i], code[i]);
        if (!(moved.xl > 0)) continue;
        const int other = fitted_code<Half>(rounded_product(x[i], moved.ll) / moved.xl);
        if (other == code[i]) continue;
        moved.add(x[i], other);
        if (moved.ll > 0 && rounded_product(rounded_product(moved.xl, moved.xl), sums.ll) >
                                rounded_product(rounded_product(sums.xl, sums.xl), moved.ll)) {
          code[i] = other;
          sums = moved;
          changed = true;
        }
      }
      if (!changed) break;
    }
    return sums.ll > 0 ? sums.xl / sums.ll * static_cast<float>(Half) : 0.f;
  }
};

}  // namespace qlora::inline QLORA_ABI
