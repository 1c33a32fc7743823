#include "both.hpp"
#include "qlora/core/build_info.hpp"
#include "qlora/cuda/dequantize.hpp"
#include "qlora/cuda/kernel.hpp"

using F = qlora::formats::nf4_dq;
template __global__ void qlora::cuda::run(
    const __grid_constant__ qlora::cuda::Dequantize<F, float>);

Unit device_unit() {
  const qlora::BuildInfo info = qlora::build_info();
  return {info.abi, info.vectors != "none", info.cuda};
}
Packed packed_by_device_unit(const qlora::RowMatrixXf& dense) { return qlora::quantize<F>(dense); }
qlora::RowMatrixXf decoded_by_device_unit(const Packed& packed) {
  return qlora::dequantize(packed);
}
bool device_unit_uses_uring(const qlora::FilePager& pager) { return pager.uses_uring(); }
