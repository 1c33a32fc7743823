/// A counter-based generator: the number at (key, position) is a pure function, the same on CPU and
/// CUDA and for any number of threads. Philox4x32-10: Salmon et al., "Parallel random numbers: as
/// easy as 1, 2, 3", SC 2011.
///
///     float u = qlora::uniform01(key, i);       // in [0, 1)
///     for (auto i : qlora::permutation(n, key)) ...
///
/// All of it is pure functions: safe to call from several threads.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "qlora/core/config.hpp"

namespace qlora::inline QLORA_ABI {

/// Four 32-bit words, Philox's block.
struct PhiloxBlock {
  std::uint32_t word[4];
};

/// Ten rounds of Philox4x32 on a 128-bit counter (two 64-bit halves) with a 64-bit key.
QLORA_HD constexpr PhiloxBlock philox(std::uint64_t key, std::uint64_t counter_low,
                                      std::uint64_t counter_high = 0) {
  PhiloxBlock x{
      {static_cast<std::uint32_t>(counter_low), static_cast<std::uint32_t>(counter_low >> 32),
       static_cast<std::uint32_t>(counter_high), static_cast<std::uint32_t>(counter_high >> 32)}};
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * x.word[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * x.word[2];
    x = PhiloxBlock{
        {static_cast<std::uint32_t>(p1 >> 32) ^ x.word[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ x.word[3] ^ k1, static_cast<std::uint32_t>(p0)}};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return x;
}

/// 32 random bits at `position` of the stream `key`.
QLORA_HD constexpr std::uint32_t random_bits(std::uint64_t key, std::uint64_t position) {
  return philox(key, position >> 2).word[position & 3];
}

/// A float in [0, 1) with 24 random bits, at `position` of the stream `key`.
QLORA_HD constexpr float uniform01(std::uint64_t key, std::uint64_t position) {
  return static_cast<float>(random_bits(key, position) >> 8) * 5.9604644775390625e-8f;
}

/// Makes a new key from `key` for its part number `part`, so that layers, steps and epochs get
/// independent streams.
QLORA_HD constexpr std::uint64_t derive_key(std::uint64_t key, std::uint64_t part) {
  const PhiloxBlock block = philox(key, part, 0x9d5c1f2ba75e3c41u);
  return (std::uint64_t{block.word[1]} << 32) | block.word[0];
}

/// A whole number in [0, bound): the upper half of 64 random bits times the bound. Its bias is
/// below bound / 2^64.
QLORA_HD constexpr std::uint64_t uniform_below(std::uint64_t key, std::uint64_t position,
                                               std::uint64_t bound) {
  const PhiloxBlock block = philox(key, position, 1);
  const std::uint64_t bits = (std::uint64_t{block.word[1]} << 32) | block.word[0];
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>((static_cast<Wide>(bits) * bound) >> 64);
}

/// 0, 1, ..., count - 1 in a random order that depends on nothing but `key` (Fisher and Yates).
inline std::vector<Index> permutation(Index count, std::uint64_t key) {
  std::vector<Index> order(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i) order[static_cast<std::size_t>(i)] = i;
  for (Index i = count - 1; i > 0; --i) {
    const auto j =
        uniform_below(key, static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(i) + 1);
    std::swap(order[static_cast<std::size_t>(i)], order[j]);
  }
  return order;
}

}  // namespace qlora::inline QLORA_ABI
