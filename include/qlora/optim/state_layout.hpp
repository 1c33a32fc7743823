/// Where the state of parameters lies in one run of bytes: tiles of some thousand elements, each
/// with all its states, none of them across the border of two extents.
#pragma once

#include <algorithm>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora {

/// Elements [begin, begin + count) of a parameter; their states lie one after the other from
/// `offset` on, each `state_bytes` long.
struct StateTile {
  Index parameter = 0, begin = 0, count = 0;
  Index offset = 0, state_bytes = 0;
  bool small = false;  ///< kept in float, whatever the state is
};

struct StateLayout {
  std::vector<StateTile> tiles;
  Index bytes = 0;

  /// The layout for parameters of these sizes. `State` says how `states` numbers an element are
  /// kept, `Small` how those of parameters below State::smallest are. Throws FormatError for an
  /// extent that holds no block.
  template <class State, class Small>
  static StateLayout make(const std::vector<Index>& sizes, int states, Index extent) {
    StateLayout layout;
    for (std::size_t parameter = 0; parameter < sizes.size(); ++parameter) {
      const Index size = sizes[parameter];
      if (size < State::smallest) {
        layout.template add<Small>(static_cast<Index>(parameter), size, states, extent, true);
      } else {
        layout.template add<State>(static_cast<Index>(parameter), size, states, extent, false);
      }
    }
    return layout;
  }

 private:
  static constexpr Index most = 4096;  // elements of a tile: their numbers stay in the cache
  static constexpr Index alignment = 64;

  static constexpr Index aligned(Index bytes) {
    return (bytes + alignment - 1) / alignment * alignment;
  }

  template <class State>
  void add(Index parameter, Index size, int states, Index extent, bool small) {
    constexpr Index least = State::block;
    Index elements = std::max(least, most / least * least);
    while (elements > least && states * aligned(State::bytes(elements)) > extent) elements -= least;
    require<FormatError>(states * aligned(State::bytes(elements)) <= extent,
                         "optimizer: expected extents of at least ",
                         states * aligned(State::bytes(elements)), " bytes, found ", extent);
    for (Index begin = 0; begin < size; begin += elements) {
      const Index count = std::min(elements, size - begin);
      const Index each = aligned(State::bytes(count));
      if (bytes / extent != (bytes + states * each - 1) / extent)
        bytes = (bytes + extent - 1) / extent * extent;
      tiles.push_back({parameter, begin, count, bytes, each, small});
      bytes += states * each;
    }
  }
};

}  // namespace qlora
