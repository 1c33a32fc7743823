// What nearly every test includes, parsed once (tests/CMakeLists.txt). Tests include what they use nevertheless.
#pragma once

#include <rapidcheck.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/simd.hpp"
#include "support/catch.hpp"

#if QLORA_HAS_JSON
#include <nlohmann/json.hpp>
#endif
