/// A packed matrix by reference, with every codebook, scale and named format: all that a .cu file
/// needs for kernels of its own, without Eigen and Highway.
///
///     #include <qlora/quant/quantized_view.hpp>
///
///     template <class Format>
///     __global__ void row_sums(qlora::QuantizedView<Format> w, float* out) {
///       const auto row = static_cast<qlora::Index>(blockIdx.x * blockDim.x + threadIdx.x);
///       if (row >= w.rows()) return;
///       float sum = 0;
///       for (qlora::Index col = 0; col < w.cols(); ++col) sum += w(row, col);
///       out[row] = sum;
///     }
///     // row_sums<qlora::formats::nf4_dq><<<blocks, threads>>>(view, out);
#pragma once

#include "qlora/codebook/abnormal_float.hpp"
#include "qlora/codebook/block_optimal.hpp"
#include "qlora/codebook/dynamic.hpp"
#include "qlora/codebook/floating.hpp"
#include "qlora/codebook/ggml.hpp"
#include "qlora/codebook/integer.hpp"
#include "qlora/codebook/learned.hpp"
#include "qlora/codebook/normal_float.hpp"
#include "qlora/codebook/student_float.hpp"
#include "qlora/quant/affine_scale.hpp"
#include "qlora/quant/named_formats.hpp"
#include "qlora/quant/outlier_preserving.hpp"
#include "qlora/quant/packed_view.hpp"
#include "qlora/quant/power_of_two_scale.hpp"
#include "qlora/quant/scale.hpp"
#include "qlora/quant/sign_bit.hpp"
#include "qlora/quant/two_level_scale.hpp"
