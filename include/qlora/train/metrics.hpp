/// What a training step measured, and its CSV file: whole lines, flushed one by one.
///
///     qlora::MetricsFile file("out/metrics.csv");
///     file.append({.step = 1, .loss = 2.5});
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <sstream>
#include <string>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora {

struct StepMetrics {
  Index step = 0;  ///< from 1
  double loss = 0;
  double learning_rate = 0;
  double gradient_norm = 0;      ///< before clipping
  double tokens_per_second = 0;  ///< of this step alone
  double resident_mib = 0;
};

/// Memory of this process that is in RAM, in MiB; 0 where the system does not tell.
inline double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double pages = 0, resident = 0;
  statm >> pages >> resident;
  return statm ? resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1024.0 * 1024.0) : 0;
}

/// The CSV file. One thread may append at a time.
class MetricsFile {
 public:
  /// Starts the file anew. Throws IoError when it can't be written.
  explicit MetricsFile(const std::filesystem::path& path) : path_(path), stream_(path) {
    write("step,loss,learning_rate,gradient_norm,tokens_per_second,resident_mib\n");
  }

  /// Throws IoError when the line can't be written, on a full disk say.
  void append(const StepMetrics& m) {
    std::ostringstream line;
    line << m.step << ',' << std::setprecision(9) << m.loss << ',' << m.learning_rate << ','
         << m.gradient_norm << ',' << std::setprecision(5) << m.tokens_per_second << ','
         << m.resident_mib << '\n';
    write(line.str());
  }

 private:
  void write(const std::string& text) {
    stream_ << text << std::flush;
    require<IoError>(stream_.good(), path_.string(), ": can't write: ", std::strerror(errno));
  }

  std::filesystem::path path_;
  std::ofstream stream_;
};

}  // namespace qlora
