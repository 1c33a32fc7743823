/// What one rendering may cost, so that a hostile template ends.
#pragma once

#include <cstddef>

#include "qlora/core/config.hpp"
#include "qlora/text/jinja/value.hpp"

namespace qlora::inline QLORA_ABI::jinja {

/// The most that one rendering may use.
struct Limits {
  std::size_t steps = 5'000'000;              ///< evaluations, and 16 bytes of text each
  std::size_t bytes = std::size_t{16} << 20;  ///< of one text
  std::size_t items = 1'000'000;              ///< of one list
  int depth = 400;  ///< of calls, blocks and expressions within each other
};

/// Counts what one rendering uses. It belongs to that rendering's thread.
class Budget {
 public:
  explicit Budget(const Limits& limits) : limits_(limits), left_(limits.steps) {}

  /// Throws Failure when the limit is reached.
  void spend(std::size_t steps = 1) {
    expect(steps <= left_, "the template takes more than ", limits_.steps, " steps");
    left_ -= steps;
  }
  /// `count` texts of `size` bytes.
  void spend_bytes(std::size_t size, std::size_t count = 1) {
    expect(size == 0 || count <= limits_.bytes / size, "a text grows beyond ", limits_.bytes,
           " bytes");
    spend(size * count / 16);
  }
  /// `count` times `size` items of a list.
  void spend_items(std::size_t size, std::size_t count = 1) {
    expect(size == 0 || count <= limits_.items / size, "a list grows beyond ", limits_.items,
           " items");
    spend(size * count);
  }
  /// The limits that it was made with.
  const Limits& limits() const { return limits_; }

 private:
  Limits limits_;
  std::size_t left_;
};

}  // namespace qlora::inline QLORA_ABI::jinja
