// expect: AnyOptimizer: the optimizer must have step(parameters)
#include <qlora/optim/adam.hpp>
#include <qlora/optim/any_optimizer.hpp>

#ifdef QLORA_TEST_GOOD
using Mine = qlora::AdamW<>;
#else
struct Mine {};
#endif
qlora::AnyOptimizer<> any{Mine()};
