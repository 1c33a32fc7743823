#include "qlora/cuda/swiglu.hpp"

#include "cuda/device.hpp"
#include "qlora/nn/swiglu.hpp"

TEST_CASE("the gated activation and its gradients are the CPU's, also far from zero") {
  auto gate = test::normal_matrix(7, 33, 1, 3), up = test::normal_matrix(7, 33, 2);
  gate(0, 0) = 100;
  gate(0, 1) = -100;
  const auto dout = test::normal_matrix(7, 33, 3);
  qlora::RowMatrix<float> expected(7, 33), found(7, 33), dgate(7, 33), dup(7, 33);
  qlora::swiglu_forward(gate, up, expected);
  test::run_kernel(qlora::cuda::SwigluForward{gate.data(), up.data(), found.data(), gate.size()},
                   test::numbers(gate), test::numbers(up), test::writable(found));
  test::require_close(expected, found);
  qlora::swiglu_backward(gate, up, dout, dgate, dup);
  test::run_kernel(qlora::cuda::SwigluBackward{gate.data(), up.data(), dout.data(), gate.size()},
                   test::writable(gate), test::writable(up), test::numbers(dout));
  test::require_close(dgate, gate);
  test::require_close(dup, up);
}
