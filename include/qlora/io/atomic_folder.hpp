/// A folder that appears whole or not at all: its files are written into a temporary one beside it.
///
///     qlora::AtomicFolder folder("out");
///     qlora::write_text_file(folder.path() / "config.json", text);
///     folder.commit();     // without it the temporary disappears
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// What to do where a folder of that name holds something already.
enum class Existing : std::uint8_t { refuse, replace };

/// A folder that takes its place when it is committed. One thread uses an object at a time.
class AtomicFolder {
 public:
  /// With `replace` the old folder stays until `commit`, which removes all of it. Throws IoError
  /// when the target is a file or, with `refuse`, holds something, and when nothing can be written
  /// there.
  explicit AtomicFolder(std::filesystem::path target, Existing existing = Existing::refuse)
      : target_(std::move(target)), existing_(existing) {
    namespace fs = std::filesystem;
    if (!target_.has_filename()) target_ = target_.parent_path();  // "out/"
    std::error_code failure;
    const bool there = fs::exists(target_, failure);
    require<IoError>(!there || fs::is_directory(target_, failure), target_.string(),
                     ": expected a new or empty folder, found a file");
    require<IoError>(!there || existing_ == Existing::replace || fs::is_empty(target_, failure),
                     target_.string(), ": expected a new or empty folder");
    place_ = there ? fs::canonical(target_) : target_;  // a link is followed, not replaced
    temporary_ = place_.string() + ".partial-XXXXXX";
    bool made = ::mkdtemp(temporary_.data()) != nullptr;
    if (!made && there && (errno == EACCES || errno == EROFS || errno == EPERM)) {
      temporary_ = (place_ / ".partial-XXXXXX").string();  // nothing may be made beside it
      made = ::mkdtemp(temporary_.data()) != nullptr;
    }
    require<IoError>(made, target_.string(), ": can't make the folder: ", std::strerror(errno));
    ::chmod(temporary_.c_str(), 0755);
  }
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;
  ~AtomicFolder() { discard(); }

  /// Where files go until `commit`.
  std::filesystem::path path() const { return temporary_; }

  /// Puts the folder in its place. Throws IoError; what was written then stays in `path()`, which
  /// the message names.
  void commit() {
    const int descriptor = ::open(temporary_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
    const int failure = synced ? 0 : errno;
    if (descriptor >= 0) ::close(descriptor);
    done_ = true;
    require<IoError>(failure == 0, target_.string(), ": can't write: ", std::strerror(failure),
                     "; the files are in ", temporary_);
    put_in_place();
  }

  /// Removes what was written, unless it is in its place.
  void discard() {
    std::error_code failure;
    if (!done_) std::filesystem::remove_all(temporary_, failure);
    done_ = true;
  }

 private:
  void put_in_place() {
    const bool beside = std::filesystem::path(temporary_).parent_path() == place_.parent_path();
    int failure = EBUSY;
    if (beside) {
      if (::rename(temporary_.c_str(), place_.c_str()) == 0) return;
      failure = errno;
      if ((failure == ENOTEMPTY || failure == EEXIST) && existing_ == Existing::replace) {
        if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, place_.c_str(), RENAME_EXCHANGE) ==
            0) {
          std::error_code unseen;
          std::filesystem::remove_all(temporary_, unseen);  // the old one
          return;
        }
        failure = errno;
      }
    }
    // A mount point can't be renamed, and not every file system exchanges folders.
    const bool by_parts =
        failure == EBUSY || failure == EXDEV || failure == EINVAL || failure == ENOSYS;
    require<IoError>(by_parts, target_.string(), ": can't write: ", std::strerror(failure),
                     "; the files are in ", temporary_);
    try {
      move_parts();
    } catch (const std::filesystem::filesystem_error& error) {
      throw IoError(message(target_.string(), ": can't write: ", error.code().message(),
                            "; files are left in ", temporary_));
    }
  }

  // Each file by itself, by renaming it or, to another file system, by copying.
  void move_parts() {
    namespace fs = std::filesystem;
    for (const auto& entry : fs::directory_iterator(place_))
      if (existing_ == Existing::replace && entry.path() != temporary_)
        fs::remove_all(entry.path());
    for (const auto& entry : fs::directory_iterator(temporary_)) {
      const fs::path to = place_ / entry.path().filename();
      std::error_code failure;
      fs::rename(entry.path(), to, failure);
      if (failure) fs::copy(entry.path(), to, fs::copy_options::recursive);
    }
    fs::remove_all(temporary_);
  }

  std::filesystem::path target_, place_;
  Existing existing_;
  std::string temporary_;
  bool done_ = false;
};

}  // namespace qlora::inline QLORA_ABI
