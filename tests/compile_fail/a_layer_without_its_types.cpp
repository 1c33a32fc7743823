// expect: Sequential: a layer must name its numbers
#include <qlora/nn/sequential.hpp>

struct Twice {
#ifdef QLORA_TEST_GOOD
  using Number = float;
#else
  using Scalar = float;
#endif
  struct Saved {};
  qlora::LayerOutput<float, Saved> forward(const qlora::ConstMatrixRef<float>& x,
                                           qlora::DropoutKey) const {
    return {2 * x, {}};
  }
  qlora::RowMatrixXf backward(const qlora::ConstMatrixRef<float>& dy, const Saved&) {
    return 2 * dy;
  }
  qlora::ParameterList<float> parameters() { return {}; }
};
qlora::Sequential<Twice> net{Twice()};
