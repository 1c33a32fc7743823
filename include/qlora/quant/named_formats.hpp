/// The formats that have names, spelled as on the command line with `_` for `-`, each with what it
/// costs. `visit_format` finds them by name.
///
///     qlora::QuantizedMatrix w = qlora::quantize<qlora::formats::nvfp4>(dense);
#pragma once

#include "qlora/codebook/abnormal_float.hpp"
#include "qlora/codebook/block_optimal.hpp"
#include "qlora/codebook/floating.hpp"
#include "qlora/codebook/ggml.hpp"
#include "qlora/codebook/integer.hpp"
#include "qlora/codebook/learned.hpp"
#include "qlora/codebook/normal_float.hpp"
#include "qlora/core/config.hpp"
#include "qlora/quant/affine_scale.hpp"
#include "qlora/quant/block_format.hpp"
#include "qlora/quant/outlier_preserving.hpp"
#include "qlora/quant/power_of_two_scale.hpp"
#include "qlora/quant/sign_bit.hpp"
#include "qlora/quant/super_scale.hpp"
#include "qlora/quant/two_level_scale.hpp"

namespace qlora::inline QLORA_ABI::formats {

/// NF4 in blocks of 64 with a float32 scale each.
using nf4 = BlockFormat<NF4, 64, FloatScale<float>>;
/// The paper's format: NF4 in blocks of 64 with double quantization.
using nf4_dq = BlockFormat<NF4, 64, DoubleQuant<>>;
/// NF4 whose scales are quantized twice.
using nf4_dq2 = BlockFormat<NF4, 64, DoubleQuant<Dynamic8, 256, DoubleQuant<>>>;
/// bitsandbytes' FP4 in blocks of 64.
using fp4 = BlockFormat<FP4, 64, FloatScale<float>>;
/// FP4 with double quantization.
using fp4_dq = BlockFormat<FP4, 64, DoubleQuant<>>;
/// The floats of four bits that have two exponent bits and one of mantissa.
using fp4_e2m1 = BlockFormat<E2M1, 64, FloatScale<float>>;
/// The floats of four bits that have three exponent bits: powers of two.
using fp4_e3m0 = BlockFormat<E3M0, 64, FloatScale<float>>;
/// Integers from -7 to 7.
using int4 = BlockFormat<Int<4>, 64, FloatScale<float>>;
/// Integers of all 16 levels.
using int4_16 = BlockFormat<FullInt<4>, 64, FloatScale<float>>;
/// AbnormalFloat.
using af4 = BlockFormat<AF4, 64, FloatScale<float>>;
/// Block-optimal values for absmax.
using bof4 = BlockFormat<BOF4<64>, 64, DoubleQuant<>>;
/// Block-optimal values for signed scales; the sign costs one bit per block.
using bof4_s = BlockFormat<BOF4S<64>, 64, SignBit<DoubleQuant<>>, SignedAbsoluteMaximum>;
/// BOF4-S, and one weight of a thousand kept in 16 bits beside it.
using bof4_s_opq = OutlierPreserving<bof4_s, std::ratio<1, 1000>>;
/// Sixteen values learned from each matrix.
using learned4 = BlockFormat<Learned<4>, 64, DoubleQuant<>>;
/// NormalFloat of three bits.
using nf3 = BlockFormat<NF3, 64, FloatScale<float>>;
/// NormalFloat of two bits.
using nf2 = BlockFormat<NF2, 64, FloatScale<float>>;
/// NormalFloat of eight bits.
using nf8 = BlockFormat<NF8, 64, FloatScale<float>>;
/// OCP's microscaling format.
using mxfp4 = BlockFormat<E2M1, 32, PowerOfTwoScale<>>;
/// NVIDIA's, with a scale in E4M3 per 16 weights and a float32 per matrix.
using nvfp4 = BlockFormat<E2M1, 16, TwoLevelScale<e4m3>>;
/// GGUF's Q4_0, coded as ggml codes it; the same holds for the five below.
using q4_0 = BlockFormat<GgmlInt4, 32, FloatScale<float16>, SignedAbsoluteMaximum>;
/// GGUF's Q4_1: a scale and a minimum per block.
using q4_1 = BlockFormat<GgmlUInt4, 32, AffineScale<float16>>;
/// GGUF's Q5_0.
using q5_0 = BlockFormat<GgmlInt5, 32, FloatScale<float16>, SignedAbsoluteMaximum>;
/// GGUF's Q5_1: a scale and a minimum per block.
using q5_1 = BlockFormat<GgmlUInt5, 32, AffineScale<float16>>;
/// GGUF's Q8_0.
using q8_0 = BlockFormat<GgmlInt8, 32, FloatScale<float16>>;
/// GGUF's Q2_K; of this and the five below 256 weights share one or two halves.
using q2_k = BlockFormat<GgmlUnsigned<2>, 16, SuperAffineScale<16, 4>,
                         FittedStep<3, -5, 15, ErrorWeight::magnitude>>;
/// GGUF's Q3_K.
using q3_k = BlockFormat<GgmlSigned<3>, 16, SuperScale<16, 6>, FittedByCodes<4>>;
/// GGUF's Q4_K.
using q4_k = BlockFormat<GgmlUnsigned<4>, 32, SuperAffineScale<8, 6>, FittedStep<15>>;
/// GGUF's Q5_K.
using q5_k = BlockFormat<GgmlUnsigned<5>, 32, SuperAffineScale<8, 6>, FittedStep<31, -5, 15>>;
/// GGUF's Q6_K.
using q6_k = BlockFormat<GgmlSigned<6>, 16, SuperScale<16, 8>, FittedSigned<32>>;
/// GGUF's IQ4_XS: IQ4_NL's values, and scales of six bits.
using iq4_xs = BlockFormat<IQ4NL, 32, SuperScale<8, 6>, SignedAbsoluteMaximum>;
/// GGUF's IQ4_NL.
using iq4_nl = BlockFormat<IQ4NL, 32, FloatScale<float16>, SignedAbsoluteMaximum>;

static_assert(nf4::bits_per_weight == 4.5 && fp4::bits_per_weight == 4.5);
static_assert(nf4_dq::bits_per_weight == 4 + 8.0 / 64 + 32.0 / (64 * 256));
static_assert(fp4_dq::bits_per_weight == nf4_dq::bits_per_weight &&
              bof4::bits_per_weight == nf4_dq::bits_per_weight);
static_assert(nf4_dq2::bits_per_weight == 4 + (8 + (8 + 32.0 / 256) / 256) / 64);
static_assert(fp4_e2m1::bits_per_weight == 4.5 && fp4_e3m0::bits_per_weight == 4.5);
static_assert(int4::bits_per_weight == 4.5 && int4_16::bits_per_weight == 4.5 &&
              af4::bits_per_weight == 4.5);
static_assert(bof4_s::bits_per_weight == bof4::bits_per_weight + 1.0 / 64);
static_assert(bof4_s_opq::bits_per_weight == bof4_s::bits_per_weight + 48.0 / 1000);
static_assert(learned4::bits_per_weight == nf4_dq::bits_per_weight);
static_assert(nf3::bits_per_weight == 3.5 && nf2::bits_per_weight == 2.5 &&
              nf8::bits_per_weight == 8.5);
static_assert(mxfp4::bits_per_weight == 4.25 && nvfp4::bits_per_weight == 4.5);
static_assert(q4_0::bits_per_weight == 4.5 && q4_1::bits_per_weight == 5 &&
              q5_0::bits_per_weight == 5.5 && q5_1::bits_per_weight == 6 &&
              q2_k::bits_per_weight == 2.625 && q3_k::bits_per_weight == 3.4375 &&
              q4_k::bits_per_weight == 4.5 && q5_k::bits_per_weight == 5.5 &&
              q6_k::bits_per_weight == 6.5625 && q8_0::bits_per_weight == 8.5 &&
              iq4_nl::bits_per_weight == 4.5);

}  // namespace qlora::inline QLORA_ABI::formats
