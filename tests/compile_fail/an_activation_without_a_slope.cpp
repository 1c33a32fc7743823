// expect: Activation: the function must have static members value(z) and slope(z)
#include <qlora/nn/activation.hpp>

struct Square {
  static float value(float z) { return z * z; }
#ifdef QLORA_TEST_GOOD
  static float slope(float z) { return 2 * z; }
#endif
};
qlora::Activation<Square> layer;
