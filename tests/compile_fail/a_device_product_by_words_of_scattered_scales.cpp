// expect: a product of packed weights: this format cannot be read by words; use Reads::weights
#include <qlora/cuda/gemm.hpp>
#include <qlora/quant/named_formats.hpp>

using Blocks6 =
    qlora::BlockFormat<qlora::NF4, 6, qlora::FloatScale<float>>;  // no group of 8 shares
#ifdef QLORA_TEST_GOOD
constexpr auto reads = qlora::cuda::Reads::weights;
#else
constexpr auto reads = qlora::cuda::Reads::words;
#endif
qlora::cuda::ForwardProduct<Blocks6, float, float, 32, 64, reads> kernel;
