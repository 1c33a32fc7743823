// Pictures by gnuplot; without gnuplot the numbers in the CSV file are all there is.
#pragma once

#include <stdio.h>

#include <array>
#include <filesystem>
#include <string>
#include <utility>

#include "qlora/io/atomic_file.hpp"
#include "support/terminal.hpp"

namespace program {

// Runs a gnuplot script, whose files are CSV, in a folder. `what` is the picture that it prints on
// its standard output; it is written here, so that a full disk is noticed.
inline void draw(const std::filesystem::path& folder, const std::string& what,
                 const std::string& script) {
  const auto quoted = [](const std::string& text) {
    std::string all = "'";
    for (const char c : text) all += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return all + "'";
  };
  const std::string command = "cd -- " + quoted(folder.string()) + " && gnuplot -e " +
                              quoted("set datafile separator ','; " + script) + " 2>/dev/null";
  std::string bytes;
  int status = -1;
  if (std::FILE* pipe = ::popen(command.c_str(), "r")) {
    std::array<char, 65536> part;
    while (const std::size_t size = std::fread(part.data(), 1, part.size(), pipe))
      bytes.append(part.data(), size);
    status = ::pclose(pipe);
  }
  if (status == 0 && !bytes.empty()) {
    qlora::write_text_file(folder / what, bytes);
  } else {
    warn("gnuplot failed or is missing; no " + what);
  }
}

// NAME.png and NAME.svg of a script that sets no terminal.
inline void draw_both(const std::filesystem::path& folder, const std::string& name,
                      const std::string& script) {
  for (const auto& [ending, terminal] : {std::pair<std::string, std::string>{".png", "pngcairo"},
                                         {".svg", "svg background rgb 'white'"}})
    draw(folder, name + ending,
         "set terminal " + terminal +
             " size 900,500 enhanced font 'sans,11'; set termoption noenhanced; " + script);
}

}  // namespace program
