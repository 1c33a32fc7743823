/// A file mapped for reading: nothing is copied, pages come when touched and may be given back.
///
///     qlora::MappedFile file("model.gguf");
///     std::span<const std::byte> bytes = file.bytes();
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <span>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/core/error.hpp"

namespace qlora::inline QLORA_ABI {

/// One mapped file. Several threads may read it at once: nothing changes after the constructor.
class MappedFile {
 public:
  /// Throws IoError when the file is missing, no plain file, or can't be mapped.
  explicit MappedFile(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    require<IoError>(descriptor >= 0, path.string(), ": can't open: ", std::strerror(errno));
    struct stat status {};
    const bool plain = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    size_ = plain ? static_cast<std::size_t>(status.st_size) : 0;
    if (size_ > 0) data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    const int failure = errno;
    ::close(descriptor);
    require<IoError>(plain, path.string(), ": expected a plain file");
    require<IoError>(data_ != MAP_FAILED, path.string(), ": can't map: ", std::strerror(failure));
  }
  MappedFile(MappedFile&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~MappedFile() {
    if (data_) ::munmap(data_, size_);
  }

  /// The whole file; valid as long as this object.
  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }

  /// Gives the pages back to the system; touching them reads the file again.
  void release_pages() const {
    if (data_) ::madvise(data_, size_, MADV_DONTNEED);
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace qlora::inline QLORA_ABI
