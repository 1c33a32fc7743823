// expect: Sequential: all layers must compute in the same numbers, float or double
#include <qlora/nn/activation.hpp>
#include <qlora/nn/dense_linear.hpp>
#include <qlora/nn/sequential.hpp>

#ifdef QLORA_TEST_GOOD
using Activation = qlora::Gelu<double>;
#else
using Activation = qlora::Gelu<>;
#endif
qlora::Sequential net(qlora::DenseLinear<double>(2, 2), Activation());
