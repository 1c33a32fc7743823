// The golden files of tests/golden; their README says how they were made.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qlora/io/json_file.hpp"

namespace test {

inline nlohmann::json golden(const std::string& name) {
  return nlohmann::json::parse(
      qlora::read_text_file(std::string(QLORA_TEST_FOLDER) + "/golden/" + name));
}

// Floats that a golden file holds as the whole numbers of their bits.
inline std::vector<float> floats_of_bits(const nlohmann::json& bits) {
  std::vector<float> values;
  for (const auto& each : bits)
    values.push_back(__builtin_bit_cast(float, each.get<std::uint32_t>()));
  return values;
}

}  // namespace test
