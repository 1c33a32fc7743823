/// How far a long operation is. Each one takes a callback that gets a Progress, or a type derived
/// from it that says more; returning false stops the operation, which then throws Cancelled.
///
///     auto ratings = qlora::elo(matches, systems, {.progress = [](const qlora::Progress& now) {
///                                                    return now.done < 1000;
///                                                  }});
#pragma once

#include <functional>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Parts that are done, of all.
struct Progress {
  Index done = 0;
  Index total = 0;
};

/// Called in the thread that called the operation, never by two threads at once. Empty: nobody is
/// told. `Now` is Progress or derived from it, so that a callback for Progress fits everywhere.
template <class Now = Progress>
using ProgressCallback = std::function<bool(const Now&)>;

}  // namespace qlora::inline QLORA_ABI
