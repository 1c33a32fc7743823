// expect: AnyLinear: the weight must be a QuantizedMatrix or a row-major qlora::RowMatrix
#include <qlora/nn.hpp>

const Eigen::MatrixXf w(2, 2);
#ifdef QLORA_TEST_GOOD
qlora::AnyLinear<> layer{qlora::RowMatrixXf(w)};
#else
qlora::AnyLinear<> layer{w};
#endif
