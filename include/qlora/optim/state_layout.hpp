/// Where the state of parameters lies in one run of bytes: tiles of some thousand elements, each
/// with all its states, none of them across the border of two extents.
#pragma once

#include <algorithm>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora {

/// Elements [begin, begin + count) of a parameter; their states lie one after the other from
/// `offset` on, `bytes` together.
struct StateTile {
  Index parameter = 0, begin = 0, count = 0;
  Index offset = 0, bytes = 0;
  bool small = false;  ///< kept as parameters below the size for codes are
};

/// How the states of a parameter are kept: the elements that stay together, and the bytes of all
/// states of some elements.
struct StateKind {
  Index block = 1;
  Index (*bytes)(Index count) = nullptr;
};

struct StateLayout {
  std::vector<StateTile> tiles;
  Index bytes = 0;

  static constexpr Index alignment = 64;  ///< of each state in a tile

  static constexpr Index aligned(Index bytes) {
    return (bytes + alignment - 1) / alignment * alignment;
  }

  /// The layout for parameters of these sizes; those below `smallest` are kept as `small` says.
  /// Throws FormatError for an extent that holds no block.
  static StateLayout make(const std::vector<Index>& sizes, Index extent, const StateKind& large,
                          const StateKind& small, Index smallest) {
    StateLayout layout;
    for (std::size_t parameter = 0; parameter < sizes.size(); ++parameter) {
      const bool is_small = sizes[parameter] < smallest;
      layout.add(static_cast<Index>(parameter), sizes[parameter], extent, is_small ? small : large,
                 is_small);
    }
    return layout;
  }

 private:
  static constexpr Index most = 4096;  // elements of a tile: their numbers stay in the cache

  void add(Index parameter, Index size, Index extent, const StateKind& kind, bool small) {
    const Index least = kind.block;
    Index elements = std::max(least, most / least * least);
    while (elements > least && kind.bytes(elements) > extent) elements -= least;
    require<FormatError>(kind.bytes(elements) <= extent, "optimizer: expected extents of at least ",
                         kind.bytes(elements), " bytes, found ", extent);
    for (Index begin = 0; begin < size; begin += elements) {
      const Index count = std::min(elements, size - begin);
      const Index each = kind.bytes(count);
      if (bytes / extent != (bytes + each - 1) / extent)
        bytes = (bytes + extent - 1) / extent * extent;
      tiles.push_back({parameter, begin, count, bytes, each, small});
      bytes += each;
    }
  }
};

}  // namespace qlora
