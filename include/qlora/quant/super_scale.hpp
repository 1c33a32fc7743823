/// Scales that are coded in turn, as in GGUF's K types: some blocks share a number in half precision
/// and have a few bits each. ggml, k-quants, 2023.
///
///     using Q6_K = qlora::BlockFormat<qlora::GgmlSigned<6>, 16, qlora::SuperScale<16, 8>>;
///     using Q4_K = qlora::BlockFormat<qlora::GgmlUnsigned<4>, 32, qlora::SuperAffineScale<8, 6>>;
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/quant/fitted_scale.hpp"
#include "qlora/quant/packing.hpp"
#include "qlora/quant/scale.hpp"

namespace qlora::inline QLORA_ABI {

namespace quant_detail {

inline Index supers_of(Index count, int parts) { return (count + parts - 1) / parts; }

}  // namespace quant_detail

/// `Parts` blocks share a half; each has a signed whole number of `Bits` bits. scale = half * code.
/// The half is chosen so that the scale of largest magnitude gets the least code, -2^(Bits-1).
/// `store` throws NumericError for a half beyond 65504.
template <int Parts, int Bits>
struct SuperScale {
  static_assert(Parts > 0, "SuperScale: the number of blocks that share a scale must be positive");
  static_assert(Bits >= 2 && Bits <= 8, "SuperScale: the width must be 2 to 8 bits");
  static constexpr int code_bits = Bits;
  static constexpr int offset = 1 << (Bits - 1);
  static constexpr double bits_per_scale = Bits + 16.0 / Parts;
  static constexpr bool codes_follow_stored = true;
  static constexpr float largest_scale = float16::largest / 2;

  /// The scale of a packed code.
  static QLORA_HD float scale_of(float16 super, std::uint8_t code) {
    return rounded_product(static_cast<float>(super), static_cast<float>(code - offset));
  }

  struct View {
    const std::uint8_t* codes = nullptr;
    const float16* supers = nullptr;
    QLORA_HD float operator()(Index block) const {
      return scale_of(supers[block / Parts], read_code<Bits>(codes, block));
    }
    template <class Move>
    View relocated(Index count, Move&& move) const {
      return {move(codes, packed_bytes(Bits, count)),
              move(supers, quant_detail::supers_of(count, Parts))};
    }
  };

  struct Storage {
    std::vector<std::uint8_t> codes;  ///< packed, code + 2^(Bits-1)
    std::vector<float16> supers;
    Index count = 0;
    View view() const& { return {codes.data(), supers.data()}; }
    View view() const&& = delete;
    Index size() const { return count; }
    Index bytes() const { return static_cast<Index>(codes.size() + supers.size() * 2); }
    /// Makes room for `scales` scales of 0.
    void resize(Index scales) {
      count = scales;
      codes.assign(static_cast<std::size_t>(packed_bytes(Bits, scales)), 0);
      supers.assign(static_cast<std::size_t>(quant_detail::supers_of(scales, Parts)), {});
    }
    template <class Archive>
    void describe(Archive& archive, Index scales) {
      count = scales;
      archive.array("absmax", codes, packed_bytes(Bits, scales));
      archive.array("super_scale", supers, quant_detail::supers_of(scales, Parts));
    }
  };

  /// One scale for each reference, which `value` of the codebook stands for.
  static Storage store(std::span<const float> references, float value = 1) {
    Storage storage;
    storage.resize(static_cast<Index>(references.size()));
    for (std::size_t begin = 0; begin < references.size(); begin += Parts) {
      const auto part =
          references.subspan(begin, std::min<std::size_t>(Parts, references.size() - begin));
      float largest = 0;
      for (const float each : part)
        if (magnitude(each / value) > magnitude(largest)) largest = each / value;
      const float inverse = largest == 0 ? 0.f : static_cast<float>(-offset) / largest;
      storage.supers[begin / Parts] = quant_detail::stored_number<float16>(
          largest == 0 ? 0.f : 1 / inverse, begin, "scale of scales");
      for (std::size_t i = 0; i < part.size(); ++i) {
        const int code = quant_detail::nearest_whole(rounded_product(inverse, part[i] / value));
        write_code<Bits>(storage.codes.data(), static_cast<Index>(begin + i),
                         static_cast<std::uint8_t>(std::clamp(code, -offset, offset - 1) + offset));
      }
    }
    return storage;
  }
};

/// `Parts` blocks share two halves; each has two numbers of `Bits` bits, its scale's and its
/// minimum's: weight = half * scale code * value - other half * minimum code. Minima are 0 or
/// negative. `store` throws NumericError for a half beyond 65504.
template <int Parts, int Bits>
struct SuperAffineScale {
  static_assert(Parts > 0,
                "SuperAffineScale: the number of blocks that share a scale must be positive");
  static_assert(Bits >= 2 && Bits <= 8, "SuperAffineScale: the width must be 2 to 8 bits");
  using NormalizationType = FittedStep<15>;
  static constexpr int code_bits = Bits;
  static constexpr int largest_code = (1 << Bits) - 1;
  static constexpr double bits_per_scale = 2 * Bits + 32.0 / Parts;
  static constexpr bool codes_follow_stored = true;
  static constexpr float largest_scale = float16::largest / 2;

  /// What blocks share.
  struct Super {
    float16 scale{}, minimum{};
  };

  /// The scale and the offset of packed codes.
  static QLORA_HD ScaleAndOffset scale_of(Super super, std::uint8_t code, std::uint8_t minimum) {
    return {rounded_product(static_cast<float>(super.scale), static_cast<float>(code)),
            -rounded_product(static_cast<float>(super.minimum), static_cast<float>(minimum))};
  }

  struct View {
    const std::uint8_t* codes = nullptr;
    const std::uint8_t* minima = nullptr;
    const Super* supers = nullptr;
    QLORA_HD ScaleAndOffset operator()(Index block) const {
      return scale_of(supers[block / Parts], read_code<Bits>(codes, block),
                      read_code<Bits>(minima, block));
    }
    template <class Move>
    View relocated(Index count, Move&& move) const {
      return {move(codes, packed_bytes(Bits, count)), move(minima, packed_bytes(Bits, count)),
              move(supers, quant_detail::supers_of(count, Parts))};
    }
  };

  struct Storage {
    std::vector<std::uint8_t> codes, minima;  ///< packed codes
    std::vector<Super> supers;
    Index count = 0;
    View view() const& { return {codes.data(), minima.data(), supers.data()}; }
    View view() const&& = delete;
    Index size() const { return count; }
    Index bytes() const {
      return static_cast<Index>(codes.size() + minima.size() + supers.size() * sizeof(Super));
    }
    /// Makes room for `blocks` scales and minima of 0.
    void resize(Index blocks) {
      count = blocks;
      codes.assign(static_cast<std::size_t>(packed_bytes(Bits, blocks)), 0);
      minima = codes;
      supers.assign(static_cast<std::size_t>(quant_detail::supers_of(blocks, Parts)), {});
    }
    template <class Archive>
    void describe(Archive& archive, Index blocks) {
      count = blocks;
      archive.array("absmax", codes, packed_bytes(Bits, blocks));
      archive.array("minimum", minima, packed_bytes(Bits, blocks));
      archive.template pairs<float16>("super_scale", supers,
                                      quant_detail::supers_of(blocks, Parts));
    }
  };

  /// One scale and one offset per block; offsets above 0 count as 0.
  static Storage store(std::span<const ScaleAndOffset> references, float = 1) {
    Storage storage;
    storage.resize(static_cast<Index>(references.size()));
    for (std::size_t begin = 0; begin < references.size(); begin += Parts) {
      const auto part =
          references.subspan(begin, std::min<std::size_t>(Parts, references.size() - begin));
      float scale = 0, minimum = 0;
      for (const ScaleAndOffset& each : part) {
        scale = std::max(scale, each.scale);
        minimum = std::max(minimum, -each.offset);
      }
      constexpr auto top = static_cast<float>(largest_code);
      storage.supers[begin / Parts] = {
          quant_detail::stored_number<float16>(scale / top, begin, "scale of scales"),
          quant_detail::stored_number<float16>(minimum / top, begin, "scale of minima")};
      const float by_scale = scale > 0 ? top / scale : 0.f,
                  by_minimum = minimum > 0 ? top / minimum : 0.f;
      const auto code = [](float x) {
        return static_cast<std::uint8_t>(
            std::clamp(quant_detail::nearest_whole(x), 0, largest_code));
      };
      for (std::size_t i = 0; i < part.size(); ++i) {
        const auto block = static_cast<Index>(begin + i);
        write_code<Bits>(storage.codes.data(), block,
                         code(rounded_product(by_scale, part[i].scale)));
        write_code<Bits>(storage.minima.data(), block,
                         code(rounded_product(by_minimum, -part[i].offset)));
      }
    }
    return storage;
  }
};

}  // namespace qlora::inline QLORA_ABI
