// expect: a kernel must say its launch: static constexpr int threads
#include "runtime.hpp"

struct Twice {
#ifdef QLORA_TEST_GOOD
  static constexpr int threads = 128;
#endif
  static constexpr const char* name = "twice";
  qlora::Index blocks() const { return 1; }
  float* x = nullptr;
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    thread.store(x, 2 * thread.load(x));
  }
};

void use(const qlora::cuda::Device<NoRuntime>& device) { device.launch(Twice{}); }
