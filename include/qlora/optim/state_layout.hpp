/// Where the state of parameters lies in one run of bytes. The elements are cut into tiles of some
/// thousand, and a tile holds all states of its elements. No tile lies in two extents of the pager.
#pragma once

#include <algorithm>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// Elements [begin, begin + count) of a parameter. Their states lie one after the other in `bytes`
/// bytes from `offset` on.
struct StateTile {
  Index parameter = 0, begin = 0, count = 0;
  Index offset = 0, bytes = 0;
  bool small = false;  ///< whether its state is kept as that of small parameters is
};

/// How the states of a parameter are kept. A block is what no tile divides, counted in elements;
/// bytes(count) is what all states of `count` elements take.
struct StateKind {
  Index block = 1;
  Index (*bytes)(Index count) = nullptr;
};

/// The tiles of all parameters, and the bytes that they take. A plain value, which several threads
/// may read together.
struct StateLayout {
  std::vector<StateTile> tiles;
  Index bytes = 0;

  static constexpr Index alignment = 64;  ///< bytes that each state in a tile is aligned to

  /// The next multiple of the alignment that is not below `bytes`.
  static constexpr Index aligned(Index bytes) {
    return (bytes + alignment - 1) / alignment * alignment;
  }

  /// The layout for parameters of these sizes, in elements. The state of a parameter below
  /// `smallest` elements is kept as `small` says, that of the others as `large` says. extent: in
  /// bytes. Throws OptionError for an extent that can't hold a block with all its states.
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
    require<OptionError>(kind.bytes(elements) <= extent, "optimizer: expected extents of at least ",
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

}  // namespace qlora::inline QLORA_ABI
