// The same for training: every optimizer by name, and the loop.
#include "qlora/optim/make_optimizer.hpp"
#include "qlora/train/trainer.hpp"

namespace qlora {
template AnyOptimizer<float> make_optimizer<float>(const OptimizerSettings& settings);
template class Trainer<float>;
}  // namespace qlora
