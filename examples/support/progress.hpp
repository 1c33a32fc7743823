// A progress bar on a terminal, plain lines elsewhere.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "qlora/train/metrics.hpp"

namespace program {

class ProgressDisplay {
 public:
  explicit ProgressDisplay(qlora::Index total)
      : total_(total),
        terminal_(::isatty(STDOUT_FILENO) == 1),
        start_(std::chrono::steady_clock::now()) {}

  void show(const qlora::StepMetrics& m) const {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
    const double left =
        spent.count() / static_cast<double>(m.step) * static_cast<double>(total_ - m.step);
    char text[160];
    std::snprintf(text, sizeof(text), "step %td/%td  loss %.4f  %.0f tokens/s  ETA %d:%02d", m.step,
                  total_, m.loss, m.tokens_per_second, static_cast<int>(left) / 60,
                  static_cast<int>(left) % 60);
    if (terminal_) {
      constexpr qlora::Index width = 30;
      const auto filled =
          static_cast<std::size_t>(width * m.step / std::max<qlora::Index>(1, total_));
      std::printf("\r[%s%s] %s\033[K", std::string(filled, '#').c_str(),
                  std::string(static_cast<std::size_t>(width) - filled, '.').c_str(), text);
      if (m.step == total_) std::printf("\n");
    } else {
      std::printf("%s\n", text);
    }
    std::fflush(stdout);
  }

 private:
  qlora::Index total_;
  bool terminal_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace program
