/// Light entry point: codebooks, formats, quantize, dequantize and the products with packed
/// matrices. Needs Eigen only.
#pragma once

#include "qlora/linalg/eigen.hpp"
#include "qlora/quant/dequantize.hpp"
#include "qlora/quant/quantize.hpp"
#include "qlora/quant/visit_format.hpp"
