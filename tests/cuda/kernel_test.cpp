#include "qlora/cuda/kernel.hpp"

#include <memory>
#include <vector>

#include "cuda/device.hpp"

using qlora::Index;

namespace {

struct Twice {
  static constexpr int threads = 64;
  static constexpr const char* name = "twice";
  const float* x;
  float* y;
  Index count;

  Index blocks() const { return qlora::cuda::blocks_for(count, threads); }
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    for (auto i = thread.first(); i < count; i += thread.stride())
      thread.store(y + i, 2 * thread.load(x + i));
  }
};

struct OwnsMemory : Twice {
  std::shared_ptr<float> owner;
};
struct WithoutLaunch {
  template <class Context>
  QLORA_DEVICE void operator()(Context&) const {}
};
struct WithoutBody {
  static constexpr int threads = 64;
  static constexpr const char* name = "nothing";
  Index blocks() const { return 1; }
};
struct ChangesItself : WithoutBody {
  template <class Context>
  QLORA_DEVICE void operator()(Context&) {}
};

}  // namespace

TEST_CASE("blocks give every thing a thread, and no thing no block") {
  REQUIRE(qlora::cuda::blocks_for(0, 64) == 0);
  REQUIRE(qlora::cuda::blocks_for(1, 64) == 1);
  REQUIRE(qlora::cuda::blocks_for(64, 64) == 1);
  REQUIRE(qlora::cuda::blocks_for(65, 64) == 2);
  REQUIRE(qlora::cuda::blocks_for(65, 64, 8) == 1);
  REQUIRE(qlora::cuda::blocks_for(513, 64, 8) == 2);
}

TEST_CASE("a kernel is what is trivially copied, says its launch, and has a body") {
  using namespace qlora::cuda;
  STATIC_REQUIRE(Kernel<Twice>);
  STATIC_REQUIRE(check_kernel<Twice>());
  STATIC_REQUIRE(KernelLaunch<OwnsMemory>);
  STATIC_REQUIRE_FALSE(KernelArguments<OwnsMemory>);
  STATIC_REQUIRE(KernelBody<WithoutLaunch>);
  STATIC_REQUIRE_FALSE(KernelLaunch<WithoutLaunch>);
  STATIC_REQUIRE(KernelLaunch<WithoutBody>);
  STATIC_REQUIRE_FALSE(KernelBody<WithoutBody>);
  STATIC_REQUIRE_FALSE(KernelBody<ChangesItself>);
  STATIC_REQUIRE_FALSE(Kernel<ChangesItself>);
}

TEST_CASE("the example of the header doubles its numbers, whole blocks or not") {
  for (const Index count : {1, 64, 100}) {
    const std::vector<float> x(static_cast<std::size_t>(count), 1.5f);
    std::vector<float> y(x.size());
    test::run_kernel(Twice{x.data(), y.data(), count}, test::readable(x), std::span(y));
    REQUIRE(y == std::vector<float>(x.size(), 3.f));
  }
}
