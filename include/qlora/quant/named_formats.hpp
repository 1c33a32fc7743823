/// The formats that have names, each with what it costs. `visit_format` finds them by name.
///
///     qlora::QuantizedMatrix w = qlora::quantize<qlora::NvFp4>(dense);
#pragma once

#include "qlora/codebook/abnormal_float.hpp"
#include "qlora/codebook/block_optimal.hpp"
#include "qlora/codebook/floating.hpp"
#include "qlora/codebook/ggml.hpp"
#include "qlora/codebook/integer.hpp"
#include "qlora/codebook/learned.hpp"
#include "qlora/codebook/normal_float.hpp"
#include "qlora/quant/affine_scale.hpp"
#include "qlora/quant/block_format.hpp"
#include "qlora/quant/outlier_preserving.hpp"
#include "qlora/quant/power_of_two_scale.hpp"
#include "qlora/quant/sign_bit.hpp"
#include "qlora/quant/two_level_scale.hpp"

namespace qlora {

/// NF4 in blocks of 64 with a float32 scale each.
using Nf4 = BlockFormat<NF4, 64, FloatScale<float>>;
/// The paper's format: NF4 in blocks of 64 with double quantization.
using Nf4Dq = BlockFormat<NF4, 64, DoubleQuant<>>;
/// Scales quantized twice.
using Nf4Dq2 = BlockFormat<NF4, 64, DoubleQuant<Dynamic8, 256, DoubleQuant<>>>;
using Fp4 = BlockFormat<FP4, 64, FloatScale<float>>;
using Fp4Dq = BlockFormat<FP4, 64, DoubleQuant<>>;
using Fp4E2M1 = BlockFormat<E2M1, 64, FloatScale<float>>;
using Fp4E3M0 = BlockFormat<E3M0, 64, FloatScale<float>>;
/// 15 levels, and all 16.
using Int4Block = BlockFormat<Int<4>, 64, FloatScale<float>>;
using Int4Full = BlockFormat<FullInt<4>, 64, FloatScale<float>>;
using Af4 = BlockFormat<AF4, 64, FloatScale<float>>;
/// Block-optimal values; with a signed scale the sign costs a bit a block.
using Bof4 = BlockFormat<BOF4<64>, 64, DoubleQuant<>>;
using Bof4S = BlockFormat<BOF4S<64>, 64, SignBit<DoubleQuant<>>, SignedAbsoluteMaximum>;
/// One weight of a thousand kept in 16 bits beside BOF4-S.
using Bof4SOpq = OutlierPreserving<Bof4S, std::ratio<1, 1000>>;
/// Sixteen values learned from each matrix.
using Learned4 = BlockFormat<Learned<4>, 64, DoubleQuant<>>;
using Nf3 = BlockFormat<NF3, 64, FloatScale<float>>;
using Nf2 = BlockFormat<NF2, 64, FloatScale<float>>;
using Nf8 = BlockFormat<NF8, 64, FloatScale<float>>;
/// OCP's and NVIDIA's.
using MxFp4 = BlockFormat<E2M1, 32, PowerOfTwoScale<>>;
using NvFp4 = BlockFormat<E2M1, 16, TwoLevelScale<e4m3>>;
/// GGUF's, coded as ggml codes them.
using Q4_0 = BlockFormat<GgmlInt4, 32, FloatScale<float16>, SignedAbsoluteMaximum>;
using Q4_1 = BlockFormat<GgmlUInt4, 32, AffineScale<float16>>;
using Q8_0 = BlockFormat<GgmlInt8, 32, FloatScale<float16>>;
using Iq4Nl = BlockFormat<IQ4NL, 32, FloatScale<float16>, SignedAbsoluteMaximum>;

static_assert(Nf4::bits_per_weight == 4.5 && Fp4::bits_per_weight == 4.5);
static_assert(Nf4Dq::bits_per_weight == 4 + 8.0 / 64 + 32.0 / (64 * 256));
static_assert(Fp4Dq::bits_per_weight == Nf4Dq::bits_per_weight &&
              Bof4::bits_per_weight == Nf4Dq::bits_per_weight);
static_assert(Nf4Dq2::bits_per_weight == 4 + (8 + (8 + 32.0 / 256) / 256) / 64);
static_assert(Fp4E2M1::bits_per_weight == 4.5 && Fp4E3M0::bits_per_weight == 4.5);
static_assert(Int4Block::bits_per_weight == 4.5 && Int4Full::bits_per_weight == 4.5 &&
              Af4::bits_per_weight == 4.5);
static_assert(Bof4S::bits_per_weight == Bof4::bits_per_weight + 1.0 / 64);
static_assert(Bof4SOpq::bits_per_weight == Bof4S::bits_per_weight + 48.0 / 1000);
static_assert(Learned4::bits_per_weight == Nf4Dq::bits_per_weight);
static_assert(Nf3::bits_per_weight == 3.5 && Nf2::bits_per_weight == 2.5 &&
              Nf8::bits_per_weight == 8.5);
static_assert(MxFp4::bits_per_weight == 4.25 && NvFp4::bits_per_weight == 4.5);
static_assert(Q4_0::bits_per_weight == 4.5 && Q4_1::bits_per_weight == 5 &&
              Q8_0::bits_per_weight == 8.5 && Iq4Nl::bits_per_weight == 4.5);

}  // namespace qlora
