// Writes the tiny model of support/tiny_model.hpp: make_tiny_model OUT.gguf [infinite]
#include <cstring>
#include <fstream>
#include <limits>

#include "support/tiny_model.hpp"

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  std::string bytes = test::TinyModel().bytes();
  if (argc > 2) {
    const float infinity = std::numeric_limits<float>::infinity();
    std::memcpy(bytes.data() + bytes.size() - sizeof(float), &infinity, sizeof(float));
  }
  std::ofstream(argv[1], std::ios::binary) << bytes;
}
