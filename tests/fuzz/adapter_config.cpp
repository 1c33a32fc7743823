// Any text as an adapter_config.json.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fuzz.hpp"
#include "qlora/io/peft.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::filesystem::path folder = [] {
    char pattern[] = "/dev/shm/qlora-fuzz-XXXXXX";
    if (!::mkdtemp(pattern)) std::abort();
    return std::filesystem::path(pattern);
  }();
  std::ofstream(folder / "adapter_config.json", std::ios::binary)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const int result = fuzz::run([&] { (void)qlora::read_adapter_config(folder); });
  std::filesystem::remove(folder / "adapter_config.json");
  return result;
}
