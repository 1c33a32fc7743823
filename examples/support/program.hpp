// What the example programs share: one main loop with exit codes.
#pragma once

#include <CLI/CLI.hpp>
#include <exception>
#include <filesystem>
#include <functional>
#include <iostream>
#include <new>
#include <string>
#include <system_error>

#include "qlora/core/error.hpp"

namespace program {

inline constexpr int bad_input = 1, wrong_usage = 2;

// Parses, runs, and turns errors into a message on stderr and an exit code.
inline int run(CLI::App& app, int argc, char** argv, const std::function<void()>& body) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : wrong_usage;
  }
  try {
    body();
    return 0;
  } catch (const qlora::Error& error) {
    std::cerr << "\nerror: " << error.what() << "\n";
  } catch (const std::bad_alloc&) {
    std::cerr << "\nerror: out of memory\n";
  } catch (const std::exception& error) {
    std::cerr << "\nerror: " << error.what() << "\n";
  }
  return bad_input;
}

// A folder for what a program makes, made where it is missing. Throws IoError that names it.
inline std::filesystem::path output_folder(const std::string& name) {
  std::error_code failure;
  std::filesystem::create_directories(name, failure);
  qlora::require<qlora::IoError>(!failure, name, ": can't make the folder: ", failure.message());
  return name;
}

}  // namespace program
