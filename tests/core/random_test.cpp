#include "qlora/core/random.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

#include "support/law.hpp"

using qlora::Index;

// Known answers of Random123 (Salmon et al., file kat_vectors, philox4x32 with 10 rounds).
TEST_CASE("Philox gives the published known answers") {
  const auto words = [](const qlora::PhiloxBlock& block) {
    return std::array<std::uint32_t, 4>{block.word[0], block.word[1], block.word[2], block.word[3]};
  };
  REQUIRE(words(qlora::philox(0, 0, 0)) ==
          std::array<std::uint32_t, 4>{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  REQUIRE(words(qlora::philox(~0ull, ~0ull, ~0ull)) ==
          std::array<std::uint32_t, 4>{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  REQUIRE(
      words(qlora::philox(0x299f31d0a4093822ull, 0x85a308d3243f6a88ull, 0x0370734413198a2eull)) ==
      std::array<std::uint32_t, 4>{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("uniform numbers lie in [0, 1) and fill it evenly") {
  constexpr int count = 100000, cells = 20;
  std::array<int, cells> seen{};
  for (int i = 0; i < count; ++i) {
    const float u = qlora::uniform01(7, static_cast<std::uint64_t>(i));
    REQUIRE(u >= 0.f);
    REQUIRE(u < 1.f);
    ++seen[static_cast<std::size_t>(u * cells)];
  }
  double chi_square = 0;
  for (const int n : seen)
    chi_square += (n - count / cells) * (n - count / cells) / static_cast<double>(count / cells);
  REQUIRE(chi_square < 43.8);  // 19 degrees of freedom, p = 0.001
}

TEST_CASE("a permutation holds every index once and depends on its key only") {
  test::law("permutation", [](std::uint16_t size, std::uint64_t key) {
    const Index n = size % 500;
    auto order = qlora::permutation(n, key);
    RC_ASSERT(order == qlora::permutation(n, key));
    std::sort(order.begin(), order.end());
    std::vector<Index> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), Index{0});
    RC_ASSERT(order == all);
  });
  REQUIRE(qlora::permutation(100, 1) != qlora::permutation(100, 2));
}

TEST_CASE("uniform_below stays below its bound") {
  test::law("below", [](std::uint64_t key, std::uint64_t position, std::uint64_t bound) {
    RC_PRE(bound > 0u);
    RC_ASSERT(qlora::uniform_below(key, position, bound) < bound);
  });
}

TEST_CASE("derived keys differ from each other and from their parent") {
  std::vector<std::uint64_t> keys{5};
  for (std::uint64_t part = 0; part < 1000; ++part) keys.push_back(qlora::derive_key(5, part));
  std::sort(keys.begin(), keys.end());
  REQUIRE(std::adjacent_find(keys.begin(), keys.end()) == keys.end());
}
