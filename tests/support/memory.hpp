// How much more memory a piece of work takes at its peak than is held before it.
#pragma once

#include <fstream>
#include <limits>
#include <string>

namespace test {

namespace detail {

// A line of /proc/self/status in MiB.
inline double status_mib(const std::string& key) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    double kib = 0;
    if (word == key + ":" && status >> kib) return kib / 1024;
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace detail

// The growth of resident memory at its peak while `body` runs, in MiB. The kernel's high-water mark
// is reset before.
template <class Body>
double peak_growth_mib(Body&& body) {
  std::ofstream("/proc/self/clear_refs") << 5 << std::flush;
  const double before = detail::status_mib("VmRSS");
  body();
  return detail::status_mib("VmHWM") - before;
}

}  // namespace test
