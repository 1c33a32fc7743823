// The ids of texts by the tokenizer of a GGUF file, a line a text, without the tokens that begin and end each: for
// tests/golden/vocabularies.py.
//
//   encode_texts model.gguf < texts, of which each ends with a byte 0
#include <iostream>
#include <iterator>
#include <string>

#include "qlora/io/gguf.hpp"
#include "qlora/text/tokenizer.hpp"
#include "qlora/text/tokenizer_gguf.hpp"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    auto data = qlora::tokenizer_data(qlora::GgufFile(argv[1]));
    data.before.clear();
    data.after.clear();
    const qlora::Tokenizer tokenizer(data);
    const std::string all((std::istreambuf_iterator<char>(std::cin)), {});
    for (std::size_t begin = 0; begin < all.size();) {
      const std::size_t end = all.find('\0', begin);
      for (const auto id : tokenizer.encode(all.substr(begin, end - begin))) std::cout << id << ' ';
      std::cout << '\n';
      begin = end + 1;
    }
  } catch (const qlora::Error& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
