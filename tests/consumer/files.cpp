// What needs nlohmann-json and PCRE2 as well. Prints "fine".
#include <iostream>
#include <qlora/train.hpp>

int main() {
  try {
    const qlora::GgufFile file("missing.gguf");
  } catch (const qlora::IoError&) {
    std::cout << (qlora::repair_utf8("\xff").size() == 3 && qlora::Regex("a").find("a") ? "fine"
                                                                                        : "wrong")
              << "\n";
  }
}
