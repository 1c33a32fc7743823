// What the timings on a device share: options, launches timed by events, JSON lines.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "qlora/core/random.hpp"
#include "qlora/cuda/cuda_runtime.hpp"
#include "qlora/cuda/device_matrix.hpp"

namespace bench {

using qlora::Index;
using Device = qlora::cuda::Device<qlora::cuda::CudaRuntime>;
template <class T>
using Buffer = qlora::cuda::Buffer<T, qlora::cuda::CudaRuntime>;

// Arguments of the form --name or --name VALUE, each known one taken out; the rest is a mistake.
class Arguments {
 public:
  Arguments(int argc, char** argv) : left_(argv + 1, argv + argc) {}
  bool flag(const std::string& name) {
    const auto at = std::find(left_.begin(), left_.end(), name);
    if (at == left_.end()) return false;
    left_.erase(at);
    return true;
  }
  std::string text(const std::string& name, std::string otherwise) {
    const auto at = std::find(left_.begin(), left_.end(), name);
    if (at == left_.end()) return otherwise;
    if (at + 1 == left_.end()) throw std::runtime_error(name + ": expected a value");
    otherwise = *(at + 1);
    left_.erase(at, at + 2);
    return otherwise;
  }
  Index number(const std::string& name, Index otherwise) {
    const std::string found = text(name, std::to_string(otherwise));
    char* end = nullptr;
    const long long value = std::strtoll(found.c_str(), &end, 10);
    if (*end != 0 || value < 1)
      throw std::runtime_error(name + ": expected a number of 1 or more, found " + found);
    return static_cast<Index>(value);
  }
  void require_none_left() const {
    if (!left_.empty()) throw std::runtime_error("unknown argument " + left_.front());
  }

 private:
  std::vector<std::string> left_;
};

// One JSON object per line, at once, so that what was measured survives an interruption.
class JsonLines {
 public:
  explicit JsonLines(const std::string& path) {
    if (path.empty()) return;
    file_.open(path, std::ios::app);
    if (!file_) throw std::runtime_error(path + ": can't be written");
  }
  // fields: the inside of an object.
  void add(const std::string& fields) {
    if (!file_.is_open()) return;
    file_ << '{' << fields << "}\n" << std::flush;
    if (!file_) throw std::runtime_error("a result could not be written");
  }

 private:
  std::ofstream file_;
};

inline std::string field(const char* name, const std::string& value) {
  return std::string("\"") + name + "\": \"" + value + "\"";
}
inline std::string field(const char* name, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "\"%s\": %.6g", name, value);
  return text;
}

// The median over some rounds of the mean time of a launch, in microseconds. launch(i) is called
// with i = 0, 1, ...: it may take another weight each time, so that none stays in the cache.
template <class Launch>
double microseconds(const Device& device, int rounds, int launches, Launch launch) {
  cudaEvent_t start, stop;
  device.check(cudaEventCreate(&start), "event");
  device.check(cudaEventCreate(&stop), "event");
  const auto stream = device.runtime().stream();
  std::vector<float> times;
  int number = 0;
  for (int round = -1; round < rounds; ++round) {
    device.check(cudaEventRecord(start, stream), "event");
    for (int i = 0; i < launches; ++i) launch(number++);
    device.check(cudaEventRecord(stop, stream), "event");
    device.check(cudaEventSynchronize(stop), "event");
    float milliseconds = 0;
    device.check(cudaEventElapsedTime(&milliseconds, start, stop), "event");
    if (round >= 0) times.push_back(1000 * milliseconds / static_cast<float>(launches));
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  std::nth_element(times.begin(), times.begin() + rounds / 2, times.end());
  return static_cast<double>(times[static_cast<std::size_t>(rounds) / 2]);
}

// Uniform numbers in [-scale, scale), made on the device.
template <class T>
struct Uniform {
  static constexpr int threads = 256;
  static constexpr const char* name = "uniform";
  T* out;
  Index count;
  float scale;
  std::uint64_t key;
  Index blocks() const { return std::min<Index>(4096, qlora::cuda::blocks_for(count, threads)); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (Index i = thread.first(); i < count; i += thread.stride())
      thread.store(
          out + i,
          static_cast<T>(scale * (2 * qlora::uniform01(key, static_cast<std::uint64_t>(i)) - 1)));
  }
};

template <class T>
Buffer<T> uniform(const Device& device, Index count, float scale, std::uint64_t key) {
  Buffer<T> numbers(device, std::max<Index>(1, count));
  device.launch(Uniform<T>{numbers.data(), count, scale, key});
  return numbers;
}

}  // namespace bench
