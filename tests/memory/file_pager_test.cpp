#include "qlora/memory/file_pager.hpp"

#include <sys/mount.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/memory_group.hpp"
#include "support/sanitized.hpp"

using qlora::Access;
using qlora::FilePager;

namespace {

// Resident memory of this process in KiB, as the kernel counts it page by page.
long resident_kib() {
  std::ifstream rollup("/proc/self/smaps_rollup");
  std::string line;
  while (std::getline(rollup, line))
    if (line.rfind("Rss:", 0) == 0) return std::stol(line.substr(4));
  return 0;
}

}  // namespace

TEST_CASE("memory in a file keeps what is written, and leaves no file") {
  const test::TemporaryFolder folder;
  for (const bool use_uring : {false, true}) {
    FilePager pager({folder.path(), {.budget = 8192, .extent_bytes = 4096}, use_uring});
    REQUIRE((use_uring || !pager.uses_uring()));
    auto* at = static_cast<int*>(pager.allocate(10 * 4096 + 100));
    for (int round = 0; round < 3; ++round)
      for (int i = 0; i < 10; ++i) {
        const auto pin = pager.pin(at + 1024 * i, 4096, Access::write);
        REQUIRE(at[1024 * i] == round * (i + 1));
        at[1024 * i] += i + 1;
      }
    REQUIRE(folder.names().empty());
    REQUIRE(at[1024 * 3] == 12);  // without a pin
    pager.flush();
    pager.trim();
    REQUIRE(pager.resident_bytes() == 0);
    pager.deallocate(at, 10 * 4096 + 100);
  }
  REQUIRE(folder.names().empty());
}

#if !QLORA_SANITIZED
TEST_CASE("resident memory stays below the budget and a little while twenty times as much is used",
          "[slow]") {
  const test::TemporaryFolder folder;
  const test::MemoryGroup group;
  constexpr std::size_t mib = 1 << 20, budget = 8 * mib, all = 20 * budget;
  constexpr long slack_kib = 3 * 1024;  // the pager's own records, the background's stack, the test
  FilePager pager({folder.path(), {.budget = budget, .extent_bytes = mib}});
  auto* at = static_cast<char*>(pager.allocate(all));
  const long before = resident_kib(), group_before = group.bytes();
  long most = 0, group_most = 0;
  for (int round = 0; round < 3; ++round)
    for (std::size_t i = 0; i < all; i += mib) {
      if (i + mib < all) pager.prefetch(at + i + mib, mib);
      const auto pin = pager.pin(at + i, mib);
      for (std::size_t k = 0; k < mib; k += 64) ++at[i + k];
      most = std::max(most, resident_kib());
      group_most = std::max(group_most, group.bytes());
    }
  REQUIRE(most - before <= static_cast<long>(budget / 1024) + slack_kib);
  if (group.there()) {
    // What was there before the move is counted where it was.
    REQUIRE(group_most - group_before <= static_cast<long>(budget) + slack_kib * 1024);
  } else {
    WARN("no memory cgroup of its own: only the process's pages were counted");
  }
  for (std::size_t i = 0; i < all; i += mib / 2) REQUIRE(at[i] == 3);
  REQUIRE(resident_kib() - before > static_cast<long>(budget / 1024) / 8);
  pager.trim();
  REQUIRE(resident_kib() - before < slack_kib);
  pager.deallocate(at, all);
}
#endif

TEST_CASE("a folder that is not there, or no folder, is an error that names it") {
  const test::TemporaryFolder folder;
  const auto missing = folder / "missing", file = folder.write("file", "x");
  REQUIRE_THROWS_WITH(FilePager({missing}), test::contains(missing.string()));
  REQUIRE_THROWS_AS(FilePager({file}), qlora::IoError);
}

TEST_CASE("a folder removed meanwhile takes nothing from memory that is there, but gives no more") {
  const test::TemporaryFolder folder;
  const auto inner = folder / "inner";
  std::filesystem::create_directory(inner);
  FilePager pager({inner, {.budget = 8192, .extent_bytes = 4096}});
  auto* at = static_cast<int*>(pager.allocate(4 * 4096));
  std::filesystem::remove(inner);
  for (int i = 0; i < 4; ++i) {
    const auto pin = pager.pin(at + 1024 * i, 4096);
    at[1024 * i] = i + 1;
  }
  const auto pin = pager.pin(at, 4096);
  REQUIRE(at[0] == 1);
  REQUIRE_THROWS_AS(pager.allocate(4096), qlora::IoError);
}

TEST_CASE("a full or read-only disk is an error when memory is allocated, and leaves no file") {
  const test::TemporaryFolder folder;
  const auto disk = folder / "disk";
  std::filesystem::create_directory(disk);
  if (mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=1m") != 0) {
    WARN("skipped: mounting a small file system needs rights");
    return;
  }
  {
    FilePager pager({disk, {.budget = 65536, .extent_bytes = 65536}});
    void* some = pager.allocate(512 << 10);
    REQUIRE_THROWS_WITH(pager.allocate(1 << 20), test::contains(disk.string()));
    pager.deallocate(some, 512 << 10);
    REQUIRE_NOTHROW(pager.deallocate(pager.allocate(900 << 10), 900 << 10));
    REQUIRE(std::filesystem::is_empty(disk));
    REQUIRE(mount("tmpfs", disk.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) == 0);
    REQUIRE_THROWS_AS(pager.allocate(4096), qlora::IoError);
    REQUIRE_THROWS_AS(FilePager({disk}), qlora::IoError);
  }
  umount(disk.c_str());
}

TEST_CASE("several threads pin their own ranges at once, with io_uring and without") {
  const test::TemporaryFolder folder;
  const bool use_uring = GENERATE(false, true);
  FilePager pager({folder.path(), {.budget = 16 * 4096, .extent_bytes = 4096}, use_uring});
  constexpr int threads = 4, extents = 12;
  auto* at = static_cast<int*>(pager.allocate(threads * extents * 4096));
  std::vector<std::jthread> workers;
  for (int t = 0; t < threads; ++t)
    workers.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round)
        for (int i = 0; i < extents; ++i) {
          int* mine = at + 1024 * (t * extents + i);
          pager.prefetch(mine, 4096);
          const auto pin = pager.pin(mine, 4096);
          ++*mine;
        }
    });
  workers.clear();
  for (int i = 0; i < threads * extents; ++i) REQUIRE(at[1024 * i] == 20);
}
