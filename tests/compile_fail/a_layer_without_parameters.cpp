// expect: Sequential: a layer must have parameters() that returns a ParameterList
#include <qlora/nn/sequential.hpp>

struct Twice {
  using Number = float;
  struct Saved {};
  qlora::LayerOutput<float, Saved> forward(const qlora::ConstMatrixRef<float>& x,
                                           qlora::DropoutKey) const {
    return {2 * x, {}};
  }
  qlora::RowMatrixXf backward(const qlora::ConstMatrixRef<float>& dy, const Saved&) {
    return 2 * dy;
  }
#ifdef QLORA_TEST_GOOD
  qlora::ParameterList<float> parameters() { return {}; }
#endif
};
qlora::Sequential<Twice> net{Twice()};
