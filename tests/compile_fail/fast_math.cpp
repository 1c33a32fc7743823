// expect: -ffast-math changes the bits of decoded weights
// flags: -ffast-math
#include <qlora/core/config.hpp>
