// expect: qlora reports bad input by exceptions: compile without -fno-exceptions
// flags: -fno-exceptions
#include "qlora/core/config.hpp"

int main() {}
