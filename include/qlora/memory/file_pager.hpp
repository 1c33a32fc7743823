/// Paged memory in a file: a shared map of a file in a folder that the user names, with a resident
/// budget. The file has no name once it is open, so nothing is left behind, whatever happens.
///
///     qlora::FilePager pager({.directory = "/scratch", .resident = {.budget = 256 << 20}});
///
/// Space is reserved when memory is allocated, so a full disk is an Error there and no signal
/// later. What is pinned is brought in and written back by calls whose result is checked. Memory
/// may be used without a pin as well: the kernel then brings it in by itself, outside the budget
/// until `trim`, and a disk that fails to read is the signal SIGBUS.
///
/// A child made by fork does not have the memory, so that it can't change the parent's: a call of
/// its pager throws Error there, and so does a step of an optimizer over it.
///
/// Eviction takes pages out of the process; they stay in the kernel's page cache as long as it has
/// room, and are written to the disk by it. `flush` waits for that.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "qlora/core/config.hpp"
#include "qlora/memory/resident_set.hpp"
#include "qlora/memory/uring.hpp"

namespace qlora::inline QLORA_ABI::inline QLORA_ABI_RING {

/// Extents in unnamed files of a folder. Any number of threads may call it at a time, for one
/// extent one of them.
class FileStore {
 public:
  class Region {
   public:
    Region() = default;
    Region(std::string name, int file) : name_(std::move(name)), file_(file) {}
    Region(Region&& other) noexcept
        : name_(std::move(other.name_)),
          file_(std::exchange(other.file_, -1)),
          data_(std::exchange(other.data_, nullptr)),
          bytes_(other.bytes_) {}
    Region& operator=(Region&& other) noexcept {
      std::swap(name_, other.name_);
      std::swap(file_, other.file_);
      std::swap(data_, other.data_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~Region() {
      if (data_) munmap(data_, bytes_);
      if (file_ >= 0) close(file_);
    }
    /// Returns false and sets errno where the system refuses the map.
    bool map(std::size_t bytes) {
      void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
      if (data == MAP_FAILED) return false;
      data_ = static_cast<std::byte*>(data);
      bytes_ = bytes;
      return true;
    }
    std::byte* data() const { return data_; }
    int file() const { return file_; }
    const std::string& name() const { return name_; }

   private:
    std::string name_;
    int file_ = -1;
    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
  };

  explicit FileStore(std::filesystem::path directory, bool use_uring = true)
      : directory_(std::move(directory)), uring_(use_uring ? Uring::make() : nullptr) {}

  /// Waits for the kernel's queue.
  void finish() { uring_.reset(); }

  /// Whether io_uring does the work beside the caller; otherwise a thread does.
  bool uses_uring() const { return uring_ != nullptr; }

  /// Reserves addresses and disk space. Throws IoError if the disk is full.
  Region reserve(std::size_t bytes) {
    std::string path = (directory_ / "qlora-paged-XXXXXX").string();
    const int file = mkostemp(path.data(), O_CLOEXEC);
    check(file >= 0, "open a file in " + directory_.string());
    Region region(path, file);
    check(unlink(path.c_str()) == 0, "unlink " + path);
    int full = 0;
    do full = posix_fallocate(file, 0, static_cast<off_t>(bytes));
    while (full == EINTR);  // a signal came
    if (full != 0) {
      errno = full;
      check(false, message("reserve ", bytes, " bytes in ", directory_.string()));
    }
    check(region.map(bytes), message("map ", bytes, " bytes of ", path));
    check(madvise(region.data(), bytes, MADV_DONTFORK) == 0, "keep " + path + " from children");
    madvise(region.data(), bytes, MADV_HUGEPAGE);  // where the file system has them, as tmpfs may
    return region;
  }

  /// Reads an extent into memory. Throws IoError if the disk fails, now or in an earlier
  /// write-back.
  void bring_in(const Region& region, std::size_t offset, std::size_t bytes, Access access) {
    // A write-back of these bytes that failed says so here.
    check(sync_file_range(region.file(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                          SYNC_FILE_RANGE_WAIT_BEFORE) == 0 ||
              errno == EINVAL || errno == ESPIPE,
          at(region, "earlier write-back", offset));
    std::byte* begin = region.data() + offset;
    const int advice = access == Access::write ? populate_write : populate_read;
    if (madvise(begin, bytes, advice) == 0) return;
    check(errno == EINVAL, at(region, "read", offset));
    // Kernels before 5.14: read into the page cache, where errors are seen.
    char piece[4096];
    for (std::size_t i = 0; i < bytes; i += sizeof(piece)) {
      check(pread(region.file(), piece, sizeof(piece), static_cast<off_t>(offset + i)) >= 0,
            at(region, "read", offset + i));
      volatile std::byte* touched = begin + i;
      *touched = *touched;
    }
  }

  /// bring_in by the kernel's queue, which then calls `arrived(came)`; false where there is none.
  bool begin_bring_in(const Region& region, std::size_t offset, std::size_t bytes, Access access,
                      std::function<void(bool)> arrived) {
    return uring_ && uring_->bring_in(region.file(), offset, region.data() + offset, bytes,
                                      access == Access::write ? populate_write : populate_read,
                                      [arrived = std::move(arrived)](int r) { arrived(r >= 0); });
  }

  /// write_back likewise, which then calls `written(failure or null)`.
  bool begin_write_back(const Region& region, std::size_t offset, std::size_t bytes,
                        std::function<void(std::exception_ptr)> written) {
    if (!uring_) return false;
    const std::string what = at(region, "write back", offset);
    return uring_->write_back(
        region.file(), offset, bytes, [written = std::move(written), what](int result) {
          const bool good = result >= 0 || result == -EINVAL || result == -ESPIPE;
          written(good ? nullptr
                       : std::make_exception_ptr(IoError(message("paged memory: could not ", what,
                                                                 ": ", std::strerror(-result)))));
        });
  }

  /// Begins to write an extent to the disk. Throws IoError if the system refuses.
  void write_back(const Region& region, std::size_t offset, std::size_t bytes) {
    check(sync_file_range(region.file(), static_cast<off_t>(offset), static_cast<off_t>(bytes),
                          SYNC_FILE_RANGE_WRITE) == 0 ||
              errno == EINVAL || errno == ESPIPE,
          at(region, "write back", offset));
  }

  /// Takes an extent's pages out of the process. Throws IoError if the system refuses.
  void drop(const Region& region, std::size_t offset, std::size_t bytes) {
    check(madvise(region.data() + offset, bytes, MADV_DONTNEED) == 0, at(region, "drop", offset));
  }

  /// Waits until a region is on the disk. Throws IoError where it is not.
  void flush(const Region& region) {
    check(fdatasync(region.file()) == 0, "write back " + region.name());
  }

 private:
  // <sys/mman.h> of glibc before 2.35 has no names for these.
  static constexpr int populate_read = 22, populate_write = 23;

  static std::string at(const Region& region, const char* what, std::size_t offset) {
    return message(what, " ", region.name(), " (unlinked) at byte ", offset);
  }
  static void check(bool good, const std::string& what) {
    if (!good) throw IoError(message("paged memory: could not ", what, ": ", std::strerror(errno)));
  }

  std::filesystem::path directory_;
  std::unique_ptr<Uring> uring_;
};

/// Where the files lie, and how much of them may be in memory.
struct FilePagerOptions {
  std::filesystem::path directory;
  ResidentOptions resident = {};
  bool use_uring = true;  ///< where it is compiled in and the kernel has it
};

/// A handle on paged memory in files; copies share it, and so do pins. Any number of threads may
/// call it at a time.
class FilePager {
 public:
  using Pin = ResidentSet<FileStore>::Pin;

  /// Throws IoError for a folder that is not there or can't be written.
  explicit FilePager(const FilePagerOptions& options)
      : set_(ResidentSet<FileStore>::make(FileStore(options.directory, options.use_uring),
                                          options.resident)) {
    set_->deallocate(set_->allocate(1));
  }

  /// These do what the members of ResidentSet do, and throw what they throw.
  void* allocate(std::size_t bytes) { return set_->allocate(bytes); }
  void deallocate(void* at, std::size_t) noexcept { set_->deallocate(at); }
  Pin pin(const void* at, std::size_t bytes, Access access = Access::write) {
    return set_->pin(at, bytes, access);
  }
  void prefetch(const void* at, std::size_t bytes, Access access = Access::write) {
    set_->prefetch(at, bytes, access);
  }
  void trim() { set_->trim(); }
  /// Waits until everything is on the disk. Throws IoError where it is not.
  void flush() { set_->flush(); }
  /// Whether io_uring does the work beside the caller; otherwise a thread does.
  bool uses_uring() const { return set_->store().uses_uring(); }
  /// The options, and what was counted so far.
  std::size_t extent_bytes() const { return set_->options().extent_bytes; }
  std::size_t budget() const { return set_->options().budget; }
  std::size_t resident_bytes() const { return set_->resident_bytes(); }
  PagerCounters counters() const { return set_->counters(); }
  friend bool operator==(const FilePager& a, const FilePager& b) { return a.set_ == b.set_; }

 private:
  std::shared_ptr<ResidentSet<FileStore>> set_;
};

}  // namespace qlora::inline QLORA_ABI::inline QLORA_ABI_RING
