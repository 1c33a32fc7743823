// Pictures by gnuplot; without gnuplot the numbers in the CSV file are all there is.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>

#include "qlora/io/atomic_file.hpp"

namespace program {

// Runs a gnuplot script, whose files are CSV, in a folder; `what` is the picture it makes there.
inline void draw(const std::filesystem::path& folder, const std::string& what,
                 const std::string& script) {
  const std::filesystem::path file = folder / (what + ".gnuplot");
  qlora::write_text_file(file, "set datafile separator ','; " + script + "\n");
  const auto quoted = [](const std::string& text) {
    std::string all = "'";
    for (const char c : text) all += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return all + "'";
  };
  const std::string command = "cd -- " + quoted(folder.string()) + " && gnuplot " +
                              quoted(what + ".gnuplot") + " >/dev/null 2>&1";
  if (std::system(command.c_str()) != 0)
    std::cerr << "warning: gnuplot failed or is missing; no " << what << "\n";
  std::filesystem::remove(file);
}

// NAME.png and NAME.svg of a script that sets neither terminal nor output.
inline void draw_both(const std::filesystem::path& folder, const std::string& name,
                      const std::string& script) {
  for (const auto& [ending, terminal] : {std::pair<std::string, std::string>{".png", "pngcairo"},
                                         {".svg", "svg background rgb 'white'"}})
    draw(folder, name + ending,
         "set terminal " + terminal + " size 900,500 enhanced font 'sans,11'; set output '" + name +
             ending + "'; set termoption noenhanced; " + script);
}

}  // namespace program
