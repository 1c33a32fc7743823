/// Signs of scales in a bit each, their magnitudes in any Scale: for SignedAbsoluteMaximum with
/// scales that are quantized themselves.
///
///     using Bof4S = qlora::BlockFormat<qlora::BOF4S<64>, 64, qlora::SignBit<qlora::DoubleQuant<>>,
///                                      qlora::SignedAbsoluteMaximum>;    // 4.14 bits a weight
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/quant/packing.hpp"
#include "qlora/quant/scale.hpp"

namespace qlora::inline QLORA_ABI {

/// Throws as Inner does.
template <class Inner>
struct SignBit {
  static_assert(Scale<Inner>, "SignBit: the argument must be a Scale, such as DoubleQuant<>");
  static constexpr double bits_per_scale = Inner::bits_per_scale + 1;
  static constexpr float largest_scale = quant_detail::held_scale<Inner>;

  struct View {
    const std::uint8_t* signs = nullptr;
    typename Inner::View inner{};
    QLORA_HD float operator()(Index block) const {
      const float size = inner(block);
      return read_code<1>(signs, block) != 0 ? -size : size;
    }
    template <class Move>
    View relocated(Index count, Move&& move) const {
      return {move(signs, packed_bytes(1, count)), inner.relocated(count, move)};
    }
  };

  struct Storage {
    std::vector<std::uint8_t> signs;
    typename Inner::Storage inner;
    View view() const& { return {signs.data(), inner.view()}; }
    View view() const&& = delete;
    Index size() const { return inner.size(); }
    Index bytes() const { return static_cast<Index>(signs.size()) + inner.bytes(); }
    template <class Archive>
    void describe(Archive& archive, Index count) {
      archive.array("absmax_sign", signs, packed_bytes(1, count));
      inner.describe(archive, count);
    }
  };

  static Storage store(std::span<const float> references, float value = 1) {
    Storage storage;
    const auto count = static_cast<Index>(references.size());
    storage.signs.assign(static_cast<std::size_t>(packed_bytes(1, count)), 0);
    std::vector<float> sizes;
    sizes.reserve(references.size());
    for (Index block = 0; block < count; ++block) {
      const float scale = references[static_cast<std::size_t>(block)] / value;
      if (scale < 0) write_code<1>(storage.signs.data(), block, 1);
      sizes.push_back(magnitude(scale));
    }
    storage.inner = Inner::store(sizes, 1.f);
    return storage;
  }
};

}  // namespace qlora::inline QLORA_ABI
