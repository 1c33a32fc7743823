/// What a reader tells its caller and can go on with.
#pragma once

#include <functional>
#include <string>

namespace qlora {

/// Receives one sentence that names the file; an empty function ignores it.
using Warn = std::function<void(const std::string&)>;

}  // namespace qlora
