// expect: -ffast-math changes the bits of decoded weights
#ifndef QLORA_TEST_GOOD
#define __FAST_MATH__ 1  // what -ffast-math defines
#endif
#include <qlora/core/config.hpp>
