// expect: Sequential: a layer must have backward(grad_out, saved)
#include <qlora/nn/sequential.hpp>

struct Twice {
  using Number = float;
  struct Saved {};
  qlora::LayerOutput<float, Saved> forward(const qlora::ConstMatrixRef<float>& x,
                                           qlora::DropoutKey) const {
    return {2 * x, {}};
  }
#ifdef QLORA_TEST_GOOD
  qlora::RowMatrixXf backward(const qlora::ConstMatrixRef<float>& dy, const Saved&) {
    return 2 * dy;
  }
#endif
  qlora::ParameterList<float> parameters() { return {}; }
};
qlora::Sequential<Twice> net{Twice()};
