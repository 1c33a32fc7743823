// These tests need the real model: without it they end with 77, which ctest counts as skipped.
#define CATCH_CONFIG_RUNNER
#include <filesystem>
#include <iostream>

#include "support/catch.hpp"

int main(int argc, char** argv) {
  if (!std::filesystem::exists(QLORA_TEST_MODEL)) {
    std::cout << "skipped: " << QLORA_TEST_MODEL << " is not there; tests/run.sh downloads it\n";
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
