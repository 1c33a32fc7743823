// expect: cross_entropy: the head must be a QuantizedMatrix
#include <qlora/nn/cross_entropy.hpp>

double loss(const qlora::RowMatrixXf& hidden, std::span<const qlora::Token> targets) {
#ifdef QLORA_TEST_GOOD
  qlora::DenseLinear<> head(2, 3);
#else
  const qlora::DenseLinear<> head(2, 3);
#endif
  return qlora::cross_entropy<float>(hidden, head, targets, 1.f, nullptr).sum;
}
