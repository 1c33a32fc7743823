// The same for products in float32 and bfloat16, with packed and with dense weights.
#include "qlora/linalg/dense.hpp"
#include "qlora/linalg/gemm.hpp"

namespace qlora {
#if QLORA_HAS_VECTORS
template void linalg_detail::forward_product_by_kernels<float>(const ConstMatrixRef<float>&, const linalg_detail::WeightRef&,
                                                               MatrixRef<float>, const ProductOptions<float>&);
template void linalg_detail::backward_product_by_kernels<float>(const ConstMatrixRef<float>&, const linalg_detail::WeightRef&,
                                                                MatrixRef<float>, const ProductOptions<float>&);
#endif
template void forward_product<float>(const ConstMatrixRef<float>&, const RowMatrix<float>&, MatrixRef<float>,
                                     const ProductOptions<float>&);
template void backward_product<float>(const ConstMatrixRef<float>&, const RowMatrix<float>&, MatrixRef<float>,
                                      const ProductOptions<float>&);
}  // namespace qlora
