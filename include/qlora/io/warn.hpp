/// Warnings: what a reader tells its caller before it goes on.
#pragma once

#include <functional>
#include <string>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Receives one sentence that names the file; an empty function ignores it.
using Warn = std::function<void(const std::string&)>;

}  // namespace qlora::inline QLORA_ABI
