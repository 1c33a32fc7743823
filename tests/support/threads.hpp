// Runs a body with one thread and with several, for comparison.
#pragma once

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <utility>

namespace test {

// The results of `body()` on one thread and on four.
template <class Body>
auto with_one_and_four_threads(Body&& body) {
#if defined(_OPENMP)
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  auto one = body();
  omp_set_num_threads(4);
  auto four = body();
  omp_set_num_threads(before);
  return std::pair{std::move(one), std::move(four)};
#else
  return std::pair{body(), body()};
#endif
}

}  // namespace test
