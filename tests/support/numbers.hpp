// Seeded test matrices and comparisons.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "qlora/core/matrix.hpp"
#include "qlora/core/random.hpp"

namespace test {

using qlora::Index;

// About normal numbers (the sum of four uniform ones, centred, of variance 1), the same for a seed
// on every machine.
template <class T = float>
qlora::RowMatrix<T> normal_matrix(Index rows, Index cols, std::uint64_t seed, double scale = 1) {
  qlora::RowMatrix<T> m(rows, cols);
  for (Index i = 0; i < m.size(); ++i) {
    const auto at = static_cast<std::uint64_t>(i) * 4;
    double sum = -2;
    for (std::uint64_t k = 0; k < 4; ++k)
      sum += static_cast<double>(qlora::uniform01(seed, at + k));
    m.data()[i] = static_cast<T>(sum * std::sqrt(3.0) * scale);
  }
  return m;
}

inline bool same_bits(const float* a, const float* b, Index count) {
  return count == 0 || std::memcmp(a, b, static_cast<std::size_t>(count) * sizeof(float)) == 0;
}

template <class A, class B>
bool same_bits(const A& a, const B& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() && same_bits(a.data(), b.data(), a.size());
}

// The message of the exception of type E that `body` throws, or "nothing was thrown".
template <class E, class Body>
std::string message_of(Body&& body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  }
  return "nothing was thrown";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace test
