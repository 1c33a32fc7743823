// Any bytes as a safetensors file: its tensors, and what they say of packed weights.
#include "fuzz.hpp"
#include "qlora/io/bitsandbytes.hpp"
#include "qlora/quant/dequantize.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::MemoryFile file(data, size);
  return fuzz::run([&] {
    const qlora::Checkpoint checkpoint(file.path());
    for (const auto& name : checkpoint.names())
      fuzz::run([&] {
        const auto state = qlora::find_packed_state(checkpoint, name);
        if (!state) {
          (void)checkpoint.dense(name);
        } else if (state->packer == "bitsandbytes") {
          qlora::read_bitsandbytes(checkpoint, *state,
                                   [](const auto& w) { (void)qlora::dequantize(w); });
        } else {
          (void)qlora::dequantize(
              qlora::read_packed<qlora::formats::bof4_s_opq>(checkpoint, *state));
        }
      });
  });
}
