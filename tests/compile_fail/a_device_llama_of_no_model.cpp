// expect: DeviceLlama: the model must be a qlora::Llama<float>, or a struct with its members
#include <qlora/model/device_llama.hpp>
#include <qlora/model/llama.hpp>
#include <qlora/quant/named_formats.hpp>

#include "runtime.hpp"

#ifdef QLORA_TEST_GOOD
using Model = qlora::Llama<float>;
#else
using Model = qlora::AnyLinear<float>;
#endif

void use(const qlora::cuda::Device<NoRuntime>& device, const Model& model) {
  qlora::DeviceLlama there(device, model, qlora::FormatList<qlora::formats::nf4_dq>{});
}
