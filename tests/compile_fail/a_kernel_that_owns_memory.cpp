// expect: a kernel must be trivially copyable: pointers and sizes
#include "runtime.hpp"

struct Twice {
  static constexpr int threads = 128;
  static constexpr const char* name = "twice";
  qlora::Index blocks() const { return 1; }
#ifdef QLORA_TEST_GOOD
  float* x = nullptr;
#else
  std::shared_ptr<float> owner;
  float* x = owner.get();
#endif
  template <class Context>
  QLORA_DEVICE void operator()(Context& thread) const {
    thread.store(x, 2 * thread.load(x));
  }
};

void use(const qlora::cuda::Device<NoRuntime>& device) { device.launch(Twice{}); }
