/// The measurements of a training step, and a CSV file of them, which is flushed after every line.
///
///     qlora::MetricsFile file("out/metrics.csv");
///     qlora::StepMetrics metrics;
///     metrics.loss = 2.5;
///     file.append(metrics);
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
#include "qlora/core/progress.hpp"

namespace qlora::inline QLORA_ABI {

/// The measurements of one training step; `done` counts the steps of the run so far, this one
/// included, and `total` all. A plain value, which several threads may read together.
struct StepMetrics : Progress {
  double loss = 0;               ///< mean over the counted targets of the step, in nats
  double learning_rate = 0;      ///< of this step
  double gradient_norm = 0;      ///< of all gradients together, before clipping
  double tokens_per_second = 0;  ///< of this step alone
  double resident_mib = 0;       ///< memory of the process after the step
};

/// The memory of this process that is in RAM, in MiB; 0 where the system does not tell. Safe to
/// call from several threads.
inline double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  double pages = 0, resident = 0;
  statm >> pages >> resident;
  return statm ? resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1024.0 * 1024.0) : 0;
}

/// Writes StepMetrics to a CSV file. One thread may append at a time.
class MetricsFile {
 public:
  /// Makes the file, or empties it, and writes the line of column names. Throws IoError when it
  /// can't be written.
  explicit MetricsFile(const std::filesystem::path& path) : path_(path), stream_(path) {
    write("step,loss,learning_rate,gradient_norm,tokens_per_second,resident_mib\n");
  }

  /// Adds a line. Throws IoError when it can't be written, for example on a full disk.
  void append(const StepMetrics& m) {
    std::ostringstream line;
    line << m.done << ',' << std::setprecision(9) << m.loss << ',' << m.learning_rate << ','
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

}  // namespace qlora::inline QLORA_ABI
