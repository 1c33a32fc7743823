// A progress bar on a terminal, plain lines elsewhere.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>

#include "qlora/core/config.hpp"
#include "support/terminal.hpp"

namespace program {

// Seconds as minutes and seconds, with hours in front where there are any.
inline std::string clock_time(double seconds) {
  constexpr double longest = 999 * 3600 + 3599;
  const auto whole = static_cast<long>(std::clamp(seconds, 0.0, longest));
  char text[40];
  if (whole >= 3600) {
    std::snprintf(text, sizeof(text), "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  } else {
    std::snprintf(text, sizeof(text), "%ld:%02ld", whole / 60, whole % 60);
  }
  return text;
}

class ProgressBar {
 public:
  // Programs whose output is a table show their progress on stderr.
  explicit ProgressBar(qlora::Index total, std::FILE* stream = stdout)
      : total_(std::max<qlora::Index>(1, total)),
        stream_(stream),
        terminal_(is_terminal(stream)),
        start_(std::chrono::steady_clock::now()) {}
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  // What is printed next begins on a line of its own.
  ~ProgressBar() {
    if (!open_) return;
    std::fprintf(stream_, "\n");
    std::fflush(stream_);
  }

  bool terminal() const { return terminal_; }

  // `done` of the total, what to say of it, and the time that is left.
  void show(qlora::Index done, const std::string& text) const {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
    const double each = spent.count() / static_cast<double>(std::max<qlora::Index>(1, done));
    const std::string line =
        text + "  ETA " +
        clock_time(each * static_cast<double>(std::max<qlora::Index>(0, total_ - done)));
    if (terminal_) {
      std::fprintf(stream_, "\r%s\033[K", fitted(done, line).c_str());
      open_ = done < total_;
      if (!open_) std::fprintf(stream_, "\n");
    } else {
      std::fprintf(stream_, "%s\n", line.c_str());
    }
    std::fflush(stream_);
  }

 private:
  // The bar takes what the text leaves of the window. The last column stays free: some terminals
  // wrap a line that fills it.
  std::string fitted(qlora::Index done, const std::string& text) const {
    constexpr std::size_t longest = 30, shortest = 5, frame = 3;
    const std::size_t columns = std::max<std::size_t>(1, terminal_width(stream_) - 1);
    if (text.size() + frame + shortest > columns) return text.substr(0, columns);
    const std::size_t length = std::min(longest, columns - text.size() - frame);
    const double share = static_cast<double>(std::clamp<qlora::Index>(done, 0, total_)) /
                         static_cast<double>(total_);
    const auto filled = static_cast<std::size_t>(share * static_cast<double>(length));
    return "[" + painted(std::string(filled, '#'), Colour::green, stream_) +
           std::string(length - filled, '.') + "] " + text;
  }

  qlora::Index total_;
  std::FILE* stream_;
  bool terminal_;
  mutable bool open_ = false;  // a line on the terminal is not ended yet
  std::chrono::steady_clock::time_point start_;
};

}  // namespace program
