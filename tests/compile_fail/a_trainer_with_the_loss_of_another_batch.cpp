// expect: Trainer: the loss must be callable as loss(batch, options)
#include <qlora/train/trainer.hpp>

#ifdef QLORA_TEST_GOOD
using Batch = qlora::Batch;
#else
using Batch = qlora::RowMatrixXf;
#endif

void train(const qlora::ParameterList<float>& parameters,
           const std::vector<qlora::EncodedText>& examples) {
  const auto loss = [](const Batch&, const qlora::LossOptions&) { return qlora::CrossEntropy{}; };
  qlora::Trainer<> trainer(parameters, loss, examples, {.steps = 1},
                           qlora::AnyOptimizer<>(qlora::AdamW<>()));
}
