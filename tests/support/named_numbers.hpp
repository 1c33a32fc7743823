// Numbers that are a function of a name, the same as in tests/golden/make_families.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "qlora/core/config.hpp"

namespace test {

// Numbers in [-1, 1), multiples of 2^-23: splitmix64 from the FNV-1a hash of the name on.
inline std::vector<float> named_numbers(std::string_view name, std::size_t count) {
  std::uint64_t state = 14695981039346656037u;
  for (const char byte : name) state = (state ^ static_cast<unsigned char>(byte)) * 1099511628211u;
  std::vector<float> values(count);
  for (float& value : values) {
    state += 0x9E3779B97F4A7C15u;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    value = static_cast<float>(z >> 40) / 8388608.f - 1.f;
  }
  return values;
}

// A weight of a model. adds_one: the family adds 1 to the weights of its norms.
inline std::vector<float> named_weight(const std::string& name,
                                       const std::vector<qlora::Index>& shape, bool adds_one) {
  std::size_t count = 1;
  for (const qlora::Index size : shape) count *= static_cast<std::size_t>(size);
  std::vector<float> values = named_numbers(name, count);
  for (float& value : values) {
    if (name.ends_with("norm.weight")) {
      value = value * 0.5f + (adds_one ? 0.f : 1.f);
    } else if (shape.size() == 1 || name.find("lora") != std::string::npos) {
      value *= 0.5f;
    } else {
      value *= 0.25f;
    }
  }
  return values;
}

}  // namespace test
