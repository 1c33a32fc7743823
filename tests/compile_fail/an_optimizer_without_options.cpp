// expect: AnyOptimizer: the optimizer must have options() with a learning_rate
#include <qlora/optim/adam.hpp>
#include <qlora/optim/any_optimizer.hpp>

#ifdef QLORA_TEST_GOOD
using Mine = qlora::AdamW<>;
#else
struct Mine {
  bool step(const qlora::ParameterList<float>&) { return true; }
};
#endif
qlora::AnyOptimizer<> any{Mine()};
