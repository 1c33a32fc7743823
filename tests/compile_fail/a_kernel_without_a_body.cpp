// expect: a kernel must have a body: template <class Context>
#include "runtime.hpp"

struct Twice {
  static constexpr int threads = 128;
  static constexpr const char* name = "twice";
  qlora::Index blocks() const { return 1; }
  float* x = nullptr;
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread)
#ifdef QLORA_TEST_GOOD
      const
#endif
  {
    thread.store(x, 2 * thread.load(x));
  }
};

void use(const qlora::cuda::Device<NoRuntime>& device) { device.launch(Twice{}); }
