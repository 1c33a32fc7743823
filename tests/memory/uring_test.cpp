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
    WARN("skipped: no io_uring here");  // ctest reports it so
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

#if defined(QLORA_USE_URING)
namespace {

std::atomic<int> taken = -1;  // how many more calls the kernel takes; -1: all

int limited_submit(io_uring* ring) {
  if (taken == 0) return -EAGAIN;
  if (taken > 0) --taken;
  return io_uring_submit(ring);
}

}  // namespace

TEST_CASE("what the kernel does not take is said at once, and nothing waits for it") {
  taken = -1;
  auto ring = qlora::Uring::make(limited_submit);
  if (!ring) {
    WARN("skipped: no io_uring here");
    return;
  }
  const test::TemporaryFolder folder;
  const int file = open((folder / "f").c_str(), O_RDWR | O_CREAT, 0600);
  REQUIRE(posix_fallocate(file, 0, 65536) == 0);
  void* at = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  std::atomic<int> calls = 0, result = 1;
  const auto done = [&](int r) {
    result = r;
    ++calls;
    calls.notify_all();
  };
  // More refusals than the queue has places: refused entries do not fill it for ever.
  for (int i = 0; i < 300; ++i) {
    taken = 0;
    REQUIRE_FALSE(ring->write_back(file, 0, 65536, done));
    REQUIRE_FALSE(ring->bring_in(file, 0, at, 65536, MADV_WILLNEED, done));
    taken = -1;
    if (i % 100 != 0) continue;
    const int before = calls;
    REQUIRE(ring->write_back(file, 0, 65536, done));
    calls.wait(before);
    REQUIRE(calls == before + 1);
    REQUIRE(result == 0);
  }
  // The second half of bringing in is refused: its end says so.
  const int before = calls;
  taken = 1;
  REQUIRE(ring->bring_in(file, 0, at, 65536, MADV_WILLNEED, done));
  calls.wait(before);
  REQUIRE(result == -EAGAIN);
  taken = -1;
  // Ranges that the kernel can't count are not handed in.
  for (const std::size_t bytes :
       {std::size_t{0}, std::size_t{1} << 32, (std::size_t{1} << 32) + 1}) {
    REQUIRE_FALSE(ring->write_back(file, 0, bytes, done));
    REQUIRE_FALSE(ring->bring_in(file, 0, at, bytes, MADV_WILLNEED, done));
  }
  REQUIRE(calls == before + 1);
  taken = 0;
  REQUIRE_FALSE(ring->write_back(file, 0, 65536, done));
  ring.reset();  // ends although the kernel takes nothing
  munmap(at, 65536);
  close(file);
}
#endif
