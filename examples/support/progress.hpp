// A progress bar on a terminal, plain lines elsewhere.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "qlora/core/config.hpp"

namespace program {

class ProgressBar {
 public:
  // Programs whose output is a table show their progress on stderr.
  explicit ProgressBar(qlora::Index total, std::FILE* stream = stdout)
      : total_(std::max<qlora::Index>(1, total)),
        stream_(stream),
        terminal_(::isatty(::fileno(stream)) == 1),
        start_(std::chrono::steady_clock::now()) {}

  bool terminal() const { return terminal_; }

  // `done` of the total, what to say of it, and the time that is left.
  void show(qlora::Index done, const std::string& text) const {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
    const auto left =
        static_cast<int>(spent.count() / static_cast<double>(std::max<qlora::Index>(1, done)) *
                         static_cast<double>(total_ - done));
    char eta[32];
    std::snprintf(eta, sizeof(eta), "ETA %d:%02d", left / 60, left % 60);
    if (terminal_) {
      constexpr qlora::Index width = 30;
      const auto filled = static_cast<std::size_t>(width * done / total_);
      std::fprintf(stream_, "\r[%s%s] %s  %s\033[K", std::string(filled, '#').c_str(),
                   std::string(static_cast<std::size_t>(width) - filled, '.').c_str(), text.c_str(),
                   eta);
      if (done == total_) std::fprintf(stream_, "\n");
    } else {
      std::fprintf(stream_, "%s  %s\n", text.c_str(), eta);
    }
    std::fflush(stream_);
  }

 private:
  qlora::Index total_;
  std::FILE* stream_;
  bool terminal_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace program
