/// A folder that appears whole or not at all: its files are written into a temporary one beside it.
///
///     qlora::AtomicFolder folder("out");
///     qlora::write_text_file(folder.path() / "config.json", text);
///     folder.commit();     // without it the temporary disappears
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "qlora/core/error.hpp"

namespace qlora {

/// A folder that takes its place when it is committed. One thread uses an object at a time.
class AtomicFolder {
 public:
  /// Throws IoError when the target holds something, or its parent can't be written.
  explicit AtomicFolder(std::filesystem::path target) : target_(std::move(target)) {
    if (!target_.has_filename()) target_ = target_.parent_path();  // "out/"
    std::error_code failure;
    require<IoError>(!std::filesystem::exists(target_, failure) ||
                         (std::filesystem::is_directory(target_, failure) &&
                          std::filesystem::is_empty(target_, failure)),
                     target_.string(), ": expected a new or empty folder");
    temporary_ = target_.string() + ".partial-XXXXXX";
    require<IoError>(::mkdtemp(temporary_.data()) != nullptr, target_.string(),
                     ": can't make the folder: ", std::strerror(errno));
    ::chmod(temporary_.c_str(), 0755);
  }
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;
  ~AtomicFolder() {
    std::error_code failure;
    if (!committed_) std::filesystem::remove_all(temporary_, failure);
  }

  /// Where files go until `commit`.
  std::filesystem::path path() const { return temporary_; }

  /// Puts the folder in its place. Throws IoError.
  void commit() {
    const int descriptor = ::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
    if (descriptor >= 0) ::close(descriptor);
    require<IoError>(synced && ::rename(temporary_.c_str(), target_.c_str()) == 0, target_.string(),
                     ": can't write: ", std::strerror(errno));
    committed_ = true;
  }

 private:
  std::filesystem::path target_;
  std::string temporary_;
  bool committed_ = false;
};

}  // namespace qlora
