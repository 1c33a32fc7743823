// expect: AnyOptimizer: the optimizer must have save, load
#include <qlora/optim/adam.hpp>
#include <qlora/optim/any_optimizer.hpp>

#ifdef QLORA_TEST_GOOD
using Mine = qlora::AdamW<>;
#else
struct Mine {
  bool step(const qlora::ParameterList<float>&) { return true; }
  qlora::AdamWOptions& options() { return own; }
  const qlora::AdamWOptions& options() const { return own; }
  qlora::AdamWOptions own;
};
#endif
qlora::AnyOptimizer<> any{Mine()};
