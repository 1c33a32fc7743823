// expect: qlora needs C++20
// flags: -std=c++17
#include <qlora/quant.hpp>
