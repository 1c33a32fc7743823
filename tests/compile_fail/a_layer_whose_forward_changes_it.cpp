// expect: Sequential: a layer must have forward(x, dropout) const that returns {out, saved}
#include <qlora/nn/sequential.hpp>

struct Twice {
  using Number = float;
  struct Saved {};
  qlora::LayerOutput<float, Saved> forward(const qlora::ConstMatrixRef<float>& x, qlora::DropoutKey)
#ifdef QLORA_TEST_GOOD
      const
#endif
  {
    return {2 * x, {}};
  }
  qlora::RowMatrixXf backward(const qlora::ConstMatrixRef<float>& dy, const Saved&) {
    return 2 * dy;
  }
  qlora::ParameterList<float> parameters() { return {}; }
};
qlora::Sequential<Twice> net{Twice()};
