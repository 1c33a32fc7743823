/// The header of an optimizer's saved state. It says what optimizer the state belongs to, and which
/// sizes it has. It is a line of text, followed by the sizes as integers in the machine's own byte
/// order.
///
///   qlora optimizer 2 adamw numbers-4 100 0 0 1 28
///
/// gives the version, the rule, how state is kept, the number of steps, whether the parameters hold
/// their average, the seed, the number of groups and the number of parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <istream>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI::optim_detail {

struct StateHeader {
  std::string rule, state;
  Index steps = 0;
  bool averaged = false;
  std::uint64_t seed = 0;
  std::vector<Index> group_sizes;  // parameters of each group; none before the first step
  std::vector<Index> sizes;        // numbers of each parameter
};

inline void write_state_header(std::ostream& out, const StateHeader& header) {
  out << "qlora optimizer 2 " << header.rule << " " << header.state << " " << header.steps << " "
      << header.averaged << " " << header.seed << " " << header.group_sizes.size() << " "
      << header.sizes.size() << "\n";
  for (const auto* sizes : {&header.group_sizes, &header.sizes})
    out.write(reinterpret_cast<const char*>(sizes->data()),
              static_cast<std::streamsize>(sizes->size() * sizeof(Index)));
}

inline void read_state(std::istream& in, std::byte* bytes, std::size_t count) {
  in.read(reinterpret_cast<char*>(bytes), static_cast<std::streamsize>(count));
  require<IoError>(in.good(), "optimizer state: ends too early");
}

/// The number of bytes that are left in a stream; nothing where the stream can't tell.
inline std::optional<Index> bytes_left(std::istream& in) {
  const std::istream::pos_type here = in.tellg();
  if (here == std::istream::pos_type(-1)) return std::nullopt;
  in.seekg(0, std::ios::end);
  const std::istream::pos_type end = in.tellg();
  in.seekg(here);
  require<IoError>(in.good(), "optimizer state: can't be read");
  return static_cast<Index>(end - here);
}

/// Reads `count` sizes one by one. A wrong count in the file does not reserve memory: the stream
/// ends first.
inline std::vector<Index> read_sizes(std::istream& in, std::uint64_t count, const char* what) {
  std::vector<Index> sizes;
  for (std::uint64_t i = 0; i < count; ++i) {
    Index size = 0;
    read_state(in, reinterpret_cast<std::byte*>(&size), sizeof(size));
    require<FormatError>(size >= 0, "optimizer state: ", what, " ", i,
                         ": expected a size of 0 or more, found ", size);
    sizes.push_back(size);
  }
  return sizes;
}

/// Reads a header. Throws FormatError unless it has the rule and the kind of state of `own` and the
/// expected sizes, and IoError where the stream ends too early. Without expected sizes it takes all
/// that the rest of the stream can hold, and throws FormatError where the stream can't tell its
/// length.
inline StateHeader read_state_header(std::istream& in, const StateHeader& own,
                                     const std::vector<Index>& expected) {
  std::string word, kind;
  Index version = 0;
  StateHeader header;
  std::uint64_t groups = 0, parameters = 0;
  in >> word >> kind >> version;
  require<FormatError>(in.good() && word == "qlora" && kind == "optimizer" && version == 2,
                       "optimizer state: expected 'qlora optimizer 2', found '", word.substr(0, 40),
                       " ", kind.substr(0, 40), " ", version, "'");
  in >> header.rule >> header.state;
  require<FormatError>(header.rule == own.rule && header.state == own.state,
                       "optimizer state: expected that of ", own.rule, " in ", own.state,
                       ", found ", header.rule.substr(0, 40), " in ", header.state.substr(0, 40));
  in >> header.steps >> header.averaged >> header.seed >> groups >> parameters;
  require<FormatError>(in.good() && in.get() == '\n' && header.steps >= 0,
                       "optimizer state: its first line is no whole one");
  header.group_sizes = read_sizes(in, groups, "group");
  header.sizes = read_sizes(in, parameters, "parameter");
  require<FormatError>(expected.empty() || header.sizes.size() == expected.size(),
                       "optimizer state: expected ", expected.size(), " parameters, found ",
                       header.sizes.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    require<FormatError>(header.sizes[i] == expected[i], "optimizer state: parameter ", i,
                         ": expected ", expected[i], " numbers, found ", header.sizes[i]);
  Index grouped = 0;
  for (const Index size : header.group_sizes) {
    require<FormatError>(size <= static_cast<Index>(header.sizes.size()) - grouped,
                         "optimizer state: its groups hold more than ", header.sizes.size(),
                         " parameters");
    grouped += size;
  }
  require<FormatError>(header.steps == 0 || grouped == static_cast<Index>(header.sizes.size()),
                       "optimizer state: its groups hold ", grouped, " of ", header.sizes.size(),
                       " parameters");
  if (expected.empty() && !header.sizes.empty()) {
    std::optional<Index> left = bytes_left(in);
    require<FormatError>(left.has_value(),
                         "optimizer state: the stream does not tell its length; load it for the "
                         "parameters, or after a first step");
    for (std::size_t i = 0; i < header.sizes.size(); ++i) {  // a number has a byte at least
      require<IoError>(header.sizes[i] <= *left, "optimizer state: parameter ", i, ": ",
                       header.sizes[i], " numbers, but the stream ends before");
      *left -= header.sizes[i];
    }
  }
  return header;
}

}  // namespace qlora::inline QLORA_ABI::optim_detail
