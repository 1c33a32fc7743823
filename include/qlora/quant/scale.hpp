/// How the scales of blocks are stored. A Scale turns one float a block into a Storage that owns
/// bytes, and reads it back through a trivially copyable View.
///
///     using Single = qlora::FloatScale<float>;   // 32 bits a block
///     using Paper = qlora::DoubleQuant<>;        // 8 bits a block; 256 blocks share a float
///     using Twice = qlora::DoubleQuant<qlora::Dynamic8, 256, Paper>;   // nested again
///
/// A scale that its storage can't hold is a NumericError; none is stored as infinite. One below the
/// smallest number of its storage becomes 0, and its block decodes to zeros.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <vector>

#include "qlora/codebook/dynamic.hpp"
#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"
#include "qlora/core/numeric.hpp"
#include "qlora/quant/apply_scale.hpp"
#include "qlora/quant/block_encoder.hpp"
#include "qlora/quant/encode.hpp"
#include "qlora/quant/normalization.hpp"

namespace qlora::inline QLORA_ABI {

namespace quant_detail {
template <class S>
concept stores_references = requires(std::span<const float> references) {
  { S::store(references, 1.f) } -> std::same_as<typename S::Storage>;
}
|| requires(std::span<const Range> references) {
  { S::store(references, 1.f) } -> std::same_as<typename S::Storage>;
}
|| requires(std::span<const ScaleAndOffset> references) {
  { S::store(references, 1.f) } -> std::same_as<typename S::Storage>;
};

/// The largest number of a type that scales are stored in, at most the largest float.
template <class T>
inline constexpr float largest_stored = [] {
  if constexpr (requires { T::largest; }) {
    return static_cast<float>(T::largest);
  } else if constexpr (std::numeric_limits<T>::is_specialized &&
                       std::numeric_limits<T>::max() < largest_float) {
    return static_cast<float>(std::numeric_limits<T>::max());
  } else {
    return largest_float;
  }
}();

/// A block's number as a T, to nearest. Throws NumericError where T can't hold it.
template <class T>
T stored_number(float number, std::size_t block, const char* what) {
  constexpr float largest = largest_stored<T>;
  const auto held = [&] {
    if constexpr (std::is_integral_v<T>) {
      const auto wide = static_cast<double>(number);
      return wide > static_cast<double>(std::numeric_limits<T>::min()) - 1 &&
             wide < static_cast<double>(std::numeric_limits<T>::max()) + 1;
    } else {
      // Up to half a step above its largest, float16 rounds down to that.
      return is_finite(number) && magnitude(number) <= largest + largest / 4096;
    }
  };
  const auto refuse = [&] {
    throw NumericError(message("quantize: block ", block, ": expected a ", what, " of at most ",
                               largest, ", which is the largest that its ", 8 * sizeof(T),
                               " bits hold, found ", number));
  };
  if (!held()) refuse();
  const T stored = static_cast<T>(number);
  if (!is_finite(static_cast<float>(stored))) refuse();
  return stored;
}

}  // namespace quant_detail

/// `store(references, value)` keeps one scale a block: what the block is normalized by over the
/// code value that it maps to; it throws NumericError for a scale that it can't hold. `View(block)`
/// gives it back, on host and device, as a float, a ScaleAndOffset or TwoFactors, or as a type of your own
/// with a function `scaled(value, that type)` beside it; `bits_per_scale` is the cost of one.
///
/// What a Scale may have besides:
/// - `codes_follow_stored` (true): weights are coded by the scale as it was stored, not as it was.
///   A View that gives a type of your own then needs `unscaled(weight, that type)`, the inverse.
/// - `largest_scale`: scales up to this magnitude it surely holds, 0 if that is not known.
///   `quantize` need not look at smaller weights again, and saturates there if it is asked to.
/// - `relocated(count, move)` of a View, the View of `count` scales elsewhere, where move(pointer, n)
///   is the new place of n numbers: it can lie in a device's memory (cuda/device_matrix.hpp).
/// - `describe(archive, count)` of a Storage, which names its parts: it can be written to files and
///   read back (io/packed_file.hpp).
template <class S>
concept Scale = quant_detail::stores_references<S> &&
    requires(const typename S::Storage& storage, const typename S::View& view) {
  { storage.view() } -> std::same_as<typename S::View>;
  { storage.size() } -> std::convertible_to<Index>;
  { storage.bytes() } -> std::convertible_to<Index>;
  { scaled(1.f, view(Index{0})) } -> std::same_as<float>;
  { S::bits_per_scale } -> std::convertible_to<double>;
} && std::is_trivially_copyable_v<typename S::View>;

namespace quant_detail {
/// The largest scale that S surely holds, 0 where it does not say.
template <class S>
inline constexpr float held_scale = [] {
  if constexpr (requires { S::largest_scale; }) return static_cast<float>(S::largest_scale);
  return 0.f;
}();
}  // namespace quant_detail

/// One number of type T a block, rounded to nearest. `store` throws NumericError for a scale beyond
/// T's largest number (65504 for float16).
template <class T = float>
struct FloatScale {
  static_assert(
      requires(T t) { static_cast<float>(t); }, "FloatScale: the type must convert to float");
  static constexpr double bits_per_scale = 8.0 * sizeof(T);
  static constexpr float largest_scale = quant_detail::largest_stored<T>;

  struct View {
    const T* values = nullptr;
    QLORA_HD float operator()(Index block) const { return static_cast<float>(values[block]); }
    template <class Move>
    View relocated(Index count, Move&& move) const {
      return {move(values, count)};
    }
  };

  struct Storage {
    std::vector<T> values;
    View view() const& { return {values.data()}; }
    View view() const&& = delete;
    Index size() const { return static_cast<Index>(values.size()); }
    Index bytes() const { return static_cast<Index>(values.size() * sizeof(T)); }
    template <class Archive>
    void describe(Archive& archive, Index count) {
      archive.array("absmax", values, count);
    }
  };

  static Storage store(std::span<const float> references, float value = 1) {
    Storage storage;
    storage.values.reserve(references.size());
    for (const float reference : references)
      storage.values.push_back(
          quant_detail::stored_number<T>(reference / value, storage.values.size(), "scale"));
    return storage;
  }
};

/// Quantized scales: their mean is taken off, the rest is coded with `Map` in blocks of
/// `BlockSize`, whose own scales are stored by `Inner`, again any Scale. Dettmers et al. 2023,
/// section 3, "double quantization". A nested block of equal scales has an inner scale of 0 and
/// codes 0, as in bitsandbytes. Throws as Inner does.
template <class Map = Dynamic8, int BlockSize = 256, class Inner = FloatScale<float>>
struct DoubleQuant {
  static_assert(Codebook<Map>,
                "DoubleQuant: the first argument must be a codebook of at most 256 values");
  static_assert(BlockSize > 0, "DoubleQuant: the block size must be positive");
  static_assert(Scale<Inner>,
                "DoubleQuant: the third argument must be a Scale, such as FloatScale<float>");
  static constexpr double bits_per_scale = 8.0 + Inner::bits_per_scale / BlockSize;
  /// Scales of both signs may lie twice as far apart, and come back a little larger.
  static constexpr float largest_scale =
      std::min(1.f, largest_value<Map>) * (quant_detail::held_scale<Inner> / 4);

  struct View {
    using MapType = Map;
    static constexpr Index block_size = BlockSize;
    const std::uint8_t* codes = nullptr;
    typename Inner::View inner{};
    float offset = 0;

    /// map[code] * inner + offset, each rounded to float.
    QLORA_HD float operator()(Index block) const {
      return rounded_sum(
          rounded_product(decode<Map>(codes[block]),
                          inner(static_cast<Index>(static_cast<std::size_t>(block) / BlockSize))),
          offset);
    }
    template <class Move>
    View relocated(Index count, Move&& move) const {
      return {move(codes, count), inner.relocated((count + BlockSize - 1) / BlockSize, move),
              offset};
    }
  };

  struct Storage {
    std::vector<std::uint8_t> codes;
    typename Inner::Storage inner;
    float offset = 0;
    View view() const& { return {codes.data(), inner.view(), offset}; }
    View view() const&& = delete;
    Index size() const { return static_cast<Index>(codes.size()); }
    Index bytes() const {
      return static_cast<Index>(codes.size()) + inner.bytes() + static_cast<Index>(sizeof(float));
    }
    template <class Archive>
    void describe(Archive& archive, Index count) {
      archive.array("absmax", codes, count);
      archive.nested([&](auto& below) {
        inner.describe(below, (count + BlockSize - 1) / BlockSize);
        below.number("offset", offset);
        below.table("quant_map", decode_table<Map>.at);
      });
    }
  };

  static Storage store(std::span<const float> references, float value = 1) {
    Storage storage;
    std::vector<float> scales(references.begin(), references.end());
    for (float& scale : scales) scale /= value;
    storage.offset = mean_of_scales(scales.data(), static_cast<Index>(scales.size()));
    std::vector<float> inner_references, coded(BlockSize);
    for (std::size_t begin = 0; begin < scales.size(); begin += BlockSize) {
      const auto block = std::span<const float>(scales).subspan(
          begin, std::min<std::size_t>(BlockSize, scales.size() - begin));
      NestedBlock<Map> nested{storage.offset};
      for (const float scale : block)
        nested.largest = std::max(nested.largest, magnitude(nested.less_mean(scale)));
      storage.codes.resize(begin + block.size(), 0);
      if (nested.largest > 0) {
        for (std::size_t i = 0; i < block.size(); ++i) coded[i] = nested.in_units(block[i]);
        simd::encode_values<Map>(coded.data(), static_cast<Index>(block.size()),
                                 storage.codes.data() + begin);
      }
      inner_references.push_back(nested.largest);
    }
    storage.inner = Inner::store(inner_references, largest_value<Map>);
    return storage;
  }
};

}  // namespace qlora::inline QLORA_ABI
