// expect: the dense side must hold float or double
#include <qlora/quant.hpp>

#ifdef QLORA_TEST_GOOD
using Scalar = double;
#else
using Scalar = int;
#endif
const auto w = qlora::quantize<qlora::formats::nf4>(qlora::RowMatrixXf::Ones(2, 64));
const qlora::RowMatrix<Scalar> x = qlora::RowMatrix<Scalar>::Ones(3, 64);
const qlora::RowMatrix<Scalar> y = x * w.transpose();
