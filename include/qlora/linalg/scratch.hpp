/// Memory that a thread keeps between calls, so that a product allocates only the first time.
#pragma once

#include <cstddef>
#include <memory>
#include <new>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI::linalg_detail {

/// Numbers on a boundary of 64 bytes; grows, never shrinks. `Tag` tells the buffers of a thread
/// apart.
template <class Tag, class Number = float>
Number* scratch(Index count) {
  struct Free {
    void operator()(Number* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };
  thread_local std::unique_ptr<Number, Free> buffer;
  thread_local Index size = 0;
  if (count > size) {
    buffer.reset();
    size = 0;
    buffer.reset(static_cast<Number*>(
        ::operator new[](static_cast<std::size_t>(count) * sizeof(Number), std::align_val_t{64})));
    size = count;
  }
  return buffer.get();
}

}  // namespace qlora::inline QLORA_ABI::linalg_detail
