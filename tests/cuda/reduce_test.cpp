#include "qlora/cuda/reduce.hpp"

#include <vector>

#include "cuda/device.hpp"

using qlora::Index;
using namespace qlora::cuda;

namespace {

// Each thread's own sum and maximum over its warp and over the block.
struct Reduce {
  static constexpr int threads = 96;
  static constexpr const char* name = "reduce";
  enum SharedArray { sums, maxima };
  const float* x;
  float* out;  // [threads, 4]

  Index blocks() const { return 1; }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    const float value = thread.load(x + thread.thread());
    float* to = out + 4 * thread.thread();
    thread.store(to, detail::warp_sum(thread, value));
    thread.store(to + 1, detail::warp_maximum(thread, value));
    thread.store(to + 2, detail::block_sum<threads, sums>(thread, value));
    thread.store(to + 3, detail::block_maximum<threads, maxima>(thread, value));
  }
};

std::vector<float> reduced(const std::vector<float>& x) {
  std::vector<float> out(4 * Reduce::threads);
  test::run_kernel(Reduce{x.data(), out.data()}, test::readable(x), std::span(out));
  return out;
}

}  // namespace

TEST_CASE("every thread has the sum and the maximum of its warp and of its block") {
  std::vector<float> x;  // small whole numbers: sums are exact
  for (int i = 0; i < Reduce::threads; ++i) x.push_back(static_cast<float>((i * 37) % 101 - 50));
  const auto out = reduced(x);
  float total = 0, most = -100;
  for (const float value : x) total += value, most = std::max(most, value);
  for (std::size_t i = 0; i < x.size(); ++i) {
    float sum = 0, largest = -100;
    for (std::size_t k = i / 32 * 32; k < i / 32 * 32 + 32; ++k)
      sum += x[k], largest = std::max(largest, x[k]);
    REQUIRE(out[4 * i] == sum);
    REQUIRE(out[4 * i + 1] == largest);
    REQUIRE(out[4 * i + 2] == total);
    REQUIRE(out[4 * i + 3] == most);
  }
}

TEST_CASE("a NaN is the maximum, wherever it is") {
  for (const std::size_t at : {0u, 40u, 95u}) {
    std::vector<float> x(Reduce::threads, 1.f);
    x[at] = std::nanf("");
    const auto out = reduced(x);
    for (std::size_t i = 0; i < x.size(); ++i) {
      REQUIRE(std::isnan(out[4 * i + 1]) == (i / 32 == at / 32));
      REQUIRE(std::isnan(out[4 * i + 3]));
    }
  }
}
