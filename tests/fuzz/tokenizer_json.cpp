// Any text as a tokenizer.json, and a text through the tokenizer it describes.
#include "qlora/text/tokenizer_json.hpp"
#include "fuzz.hpp"
#include "qlora/text/tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run([&] {
    const qlora::Tokenizer tokenizer(
        qlora::read_tokenizer_json("fuzz", {reinterpret_cast<const char*>(data), size}));
    const auto ids = tokenizer.encode("ab the  12\n\xc3\xa9\xff<|im_end|> aaaa");
    (void)tokenizer.decode(ids);
  });
}
