// What a terminal shows: its width as it is now, and colour where it is wanted.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

namespace program {

enum class Colour { red = 31, green = 32, yellow = 33 };

inline bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }

// Columns. Asked at each use, since a window may be resized; 80 where the terminal does not say.
inline std::size_t terminal_width(std::FILE* stream) {
  struct winsize size {};
  if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

// On terminals that know it, unless NO_COLOR is set (https://no-color.org).
inline bool wants_colour(std::FILE* stream) {
  const char* refused = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  return is_terminal(stream) && (refused == nullptr || *refused == '\0') && kind != nullptr &&
         std::string_view(kind) != "dumb";
}

inline std::string painted(const std::string& text, Colour colour, std::FILE* stream) {
  if (text.empty() || !wants_colour(stream)) return text;
  return "\033[" + std::to_string(static_cast<int>(colour)) + "m" + text + "\033[0m";
}

// One line on stderr, of what went on all the same.
inline void warn(const std::string& text) {
  std::cerr << painted("warning:", Colour::yellow, stderr) << " " << text << "\n";
}

}  // namespace program
