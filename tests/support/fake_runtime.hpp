// A CUDA runtime that records its calls and lets one of them fail; memory is the host's.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace test {

// What the calls were; the one with number `fails` fails.
struct Record {
  std::vector<std::string> calls;
  std::map<void*, std::size_t> held;  // and their bytes
  int fails = -1;
  std::size_t smallest = ~std::size_t{0};  // of the ranges that calls were about
  ~Record() {
    for (const auto& [at, bytes] : held)
      if (bytes > 0) std::free(at);  // 0: not the host's
  }
};

class FakeRuntime {
 public:
  FakeRuntime() = default;
  explicit FakeRuntime(std::shared_ptr<Record> record) : record_(std::move(record)) {}

  int allocate_managed(void** place, std::size_t bytes) {
    if (const int code = note("allocate")) return code;
    *place = std::malloc(bytes);
    record_->held[*place] = bytes;
    return 0;
  }
  int release(void* at) {
    record_->calls.push_back("release");
    record_->held.erase(at);
    std::free(at);
    return 0;
  }
  int clear(void* at, std::size_t bytes) {
    if (const int code = note("clear", bytes)) return code;
    std::memset(at, 0, bytes);
    return 0;
  }
  int prefer(void*, std::size_t bytes, int device) {
    return note("prefer " + std::to_string(device), bytes);
  }
  int prefetch(void*, std::size_t bytes, int device) {
    return note("move to " + std::to_string(device), bytes);
  }
  int synchronize() { return note("synchronize"); }
  const char* error_text(int code) const { return code == 2 ? "out of memory" : "another error"; }

 protected:
  int note(const std::string& call, std::size_t bytes = ~std::size_t{0}) {
    record_->smallest = std::min(record_->smallest, bytes);
    const bool fails = static_cast<int>(record_->calls.size()) == record_->fails;
    record_->calls.push_back(call);
    return fails ? 2 : 0;
  }
  std::shared_ptr<Record> record_;
};

}  // namespace test
