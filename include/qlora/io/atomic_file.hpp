/// Writing that leaves the whole new file or the old one, never a part: a temporary beside the
/// target, fsync, rename.
///
///     qlora::AtomicFile file(directory / "adapter_model.safetensors");
///     file.write(bytes.data(), bytes.size());
///     file.commit();      // without it the temporary disappears
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// A file that takes its place when it is committed. One thread uses an object at a time; different
/// objects may write to different paths at the same time.
class AtomicFile {
 public:
  /// Throws IoError when the folder can't be written.
  explicit AtomicFile(std::filesystem::path target) : target_(std::move(target)) {
    temporary_ = target_.string() + ".partial-XXXXXX";
    descriptor_ = ::mkstemp(temporary_.data());
    require<IoError>(descriptor_ >= 0, target_.string(), ": can't write: ", std::strerror(errno));
    ::fchmod(descriptor_, 0644);
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!committed_) ::unlink(temporary_.c_str());
  }

  /// Throws IoError when the disk is full or fails.
  void write(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t written = ::write(descriptor_, bytes, std::min<std::size_t>(size, 1 << 30));
      if (written < 0 && errno == EINTR) continue;
      require<IoError>(written > 0, target_.string(), ": can't write: ", std::strerror(errno));
      bytes += written;
      size -= static_cast<std::size_t>(written);
    }
  }

  /// Writes over bytes that are there already. Throws IoError.
  void write_at(std::size_t offset, const void* data, std::size_t size) {
    const off_t end = ::lseek(descriptor_, 0, SEEK_CUR);
    require<IoError>(end >= 0 && ::lseek(descriptor_, static_cast<off_t>(offset), SEEK_SET) >= 0,
                     target_.string(), ": can't write: ", std::strerror(errno));
    write(data, size);
    require<IoError>(::lseek(descriptor_, end, SEEK_SET) >= 0, target_.string(),
                     ": can't write: ", std::strerror(errno));
  }

  /// The name that the file has until `commit`, for who must remove it in a hurry.
  const std::string& temporary() const { return temporary_; }

  /// Puts the file in its place.
  void commit() {
    require<IoError>(::fsync(descriptor_) == 0, target_.string(),
                     ": can't write: ", std::strerror(errno));
    const int closed = ::close(std::exchange(descriptor_, -1));
    require<IoError>(closed == 0 && ::rename(temporary_.c_str(), target_.c_str()) == 0,
                     target_.string(), ": can't write: ", std::strerror(errno));
    committed_ = true;
  }

 private:
  std::filesystem::path target_;
  std::string temporary_;
  int descriptor_ = -1;
  bool committed_ = false;
};

/// The text as a file, whole or not at all.
inline void write_text_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text.data(), text.size());
  file.commit();
}

}  // namespace qlora::inline QLORA_ABI
