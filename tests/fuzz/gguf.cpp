// Any bytes as a GGUF file: its keys, its tensors decoded and as blocks, its model and tokenizer.
#include "fuzz.hpp"
#include "qlora/model/gguf_source.hpp"
#include "qlora/text/tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::MemoryFile memory(data, size);
  return fuzz::run([&] {
    const qlora::GgufFile file(memory.path());
    for (const auto& [name, tensor] : file.tensors())
      fuzz::run([&, &name = name, &tensor = tensor] {
        (void)file.dense(name);
        qlora::visit_gguf_format(tensor.type, [&]<class F>() {
          (void)qlora::from_gguf_blocks<F>(tensor.bytes, tensor.rows(), tensor.cols());
        });
      });
    fuzz::run([&] { (void)qlora::llama_config(file); });
    (void)qlora::Tokenizer(qlora::tokenizer_data(file)).encode("a text 12 of \xff bytes <|end|>");
  });
}
