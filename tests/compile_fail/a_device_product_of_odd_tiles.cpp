// expect: a product of packed weights: the rows of a tile must be a multiple of 16
#include <qlora/cuda/gemm.hpp>
#include <qlora/quant/named_formats.hpp>

#ifdef QLORA_TEST_GOOD
constexpr int rows = 32;
#else
constexpr int rows = 24;
#endif
using qlora::cuda::Reads;
qlora::cuda::ForwardProduct<qlora::formats::nf4_dq, float, float, rows, 64, Reads::words> kernel;
