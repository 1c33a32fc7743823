#include "qlora/memory/uring.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "support/catch.hpp"
#include "support/files.hpp"

TEST_CASE("the kernel's queue brings in, writes back, and says what failed") {
  const auto ring = qlora::Uring::make();
  if (!ring) {
    WARN("skipped: no io_uring here");
    return;
  }
  const test::TemporaryFolder folder;
  const int file = open((folder / "f").c_str(), O_RDWR | O_CREAT, 0600);
  REQUIRE(posix_fallocate(file, 0, 65536) == 0);
  void* at = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  std::atomic<int> result = 1;
  const auto wait = [&] {
    result.wait(1);
    return result.exchange(1);
  };
  const auto done = [&](int r) {
    result = r > 0 ? 0 : r;
    result.notify_all();
  };
  REQUIRE(ring->bring_in(file, 0, at, 65536, MADV_WILLNEED, done));
  REQUIRE(wait() == 0);
  static_cast<char*>(at)[5] = 'x';
  REQUIRE(ring->write_back(file, 0, 65536, done));
  REQUIRE(wait() == 0);
  REQUIRE(ring->bring_in(-1, 0, at, 65536, MADV_WILLNEED, done));
  REQUIRE(wait() == -EBADF);
  REQUIRE(ring->bring_in(file, 0, static_cast<char*>(at) + 1, 4096, MADV_WILLNEED, done));
  REQUIRE(wait() == -EINVAL);
  munmap(at, 65536);
  close(file);
}
