// What the example programs share: --help, --version, exit codes, and a check that all they printed
// was written.
#pragma once

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <string>
#include <type_traits>

#include "qlora/core/error.hpp"
#include "qlora/version.hpp"
#include "support/terminal.hpp"

namespace program {

inline constexpr int bad_input = 1, wrong_usage = 2;

namespace detail {

// --help with "INT (1 or more)" instead of "INT:1 or more".
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text = CLI::Formatter::make_option_opts(option);
    const std::string type = option->get_type_name();
    const auto colon = type.find(':');
    const auto at = text.find(type);
    if (colon == std::string::npos || at == std::string::npos) return text;
    const std::string shown = type.substr(0, colon) + " (" + type.substr(colon + 1) + ")";
    return text.replace(at, type.size(), shown);
  }
};

inline void print_error(const std::string& text) {
  std::cout.flush();
  std::cerr << painted("error:", Colour::red, stderr) << " " << text << "\n";
}

// A full disk behind stdout is an error too. `code`: that of the run so far.
inline int with_output_checked(int code) {
  errno = 0;
  std::cout.flush();
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
  if (written) return code;
  print_error(std::string("standard output: can't write") +
              (errno != 0 ? std::string(": ") + std::strerror(errno) : std::string()));
  return code == 0 ? bad_input : code;
}

template <class Body>
int run_body(Body& body) {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return 0;
    } else {
      return body();
    }
  } catch (const std::bad_alloc&) {
    print_error("out of memory");
  } catch (const std::exception& error) {
    print_error(error.what());
  }
  return bad_input;
}

}  // namespace detail

// Parses, runs, and turns errors into a message on stderr and an exit code. `body` may return a
// code of its own.
template <class Body>
int run(CLI::App& app, int argc, char** argv, Body body) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that grows beyond the limit is an error and no signal
  app.set_version_flag("--version", app.get_name() + " of qlora " QLORA_VERSION,
                       "print the version and exit");
  app.formatter(std::make_shared<detail::HelpFormatter>());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return detail::with_output_checked(app.exit(error) == 0 ? 0 : wrong_usage);
  }
  return detail::with_output_checked(detail::run_body(body));
}

}  // namespace program
