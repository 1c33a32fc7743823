// expect: deleted
#include <qlora/train.hpp>

void train(qlora::Llama<>& model, const std::vector<qlora::EncodedText>& examples) {
#ifdef QLORA_TEST_GOOD
  qlora::Trainer<> trainer(model, examples, {.steps = 1});
#else
  qlora::Trainer<> trainer(model, std::vector<qlora::EncodedText>(examples), {.steps = 1});
#endif
}
