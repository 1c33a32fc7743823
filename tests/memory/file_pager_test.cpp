#include "qlora/memory/file_pager.hpp"

#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "qlora/optim/adam.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"
#include "support/memory_group.hpp"
#include "support/numbers.hpp"
#include "support/sanitized.hpp"

using qlora::Access;
using qlora::FilePager;

namespace {

// Resident memory of this process in KiB, as the kernel counts it page by page.
[[maybe_unused]] long resident_kib() {
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

TEST_CASE("a pin and a copy keep the memory of a pager that is gone") {
  const test::TemporaryFolder folder;
  std::optional<FilePager> pager(
      qlora::FilePagerOptions{folder.path(), {.budget = 8192, .extent_bytes = 4096}});
  auto* at = static_cast<int*>(pager->allocate(4096));
  const auto pin = pager->pin(at, 4096);
  pager.reset();
  at[0] = 7;
  REQUIRE(at[0] == 7);
}

namespace {

// What a child made by fork gives back: 0 for `body` true. A child that hangs is ended by a signal.
template <class Body>
int in_child(Body&& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    bool good = false;
    try {
      good = body();
    } catch (...) {
    }
    _exit(good ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

template <class Call>
bool refuses(Call&& call) {
  try {
    call();
  } catch (const qlora::Error& failure) {
    return test::contains(failure.what(), "process that made it");
  }
  return false;
}

}  // namespace

#if !QLORA_SANITIZED
TEST_CASE("a child made by fork is refused the memory, and the parent's numbers stay right",
          "[fork]") {
  const test::TemporaryFolder folder;
  const bool use_uring = GENERATE(false, true);
  using Paged = qlora::AdamW<qlora::NumberState<float>, qlora::Paged<FilePager>>;
  FilePager pager({folder.path(), {.budget = 16384, .extent_bytes = 8192}, use_uring});
  auto paged = std::make_unique<Paged>(qlora::AdamWOptions{}, pager);
  qlora::AdamW<> plain;
  qlora::Parameter<float> p("p", 1, 5000), q("q", 1, 5000);
  const auto step = [](auto& optimizer, qlora::Parameter<float>& parameter, std::uint64_t seed) {
    parameter.grad = test::normal_matrix(1, 5000, seed);
    return optimizer.step(qlora::ParameterList<float>{&parameter});
  };
  for (std::uint64_t seed = 0; seed < 2; ++seed) {
    step(*paged, p, seed);
    step(plain, q, seed);
  }
  auto* at = static_cast<int*>(pager.allocate(4096));
  auto pin = std::make_unique<FilePager::Pin>(pager.pin(at, 4096));
  const int status = in_child([&] {
    const auto before = p.value;
    const bool refused = refuses([&] { step(*paged, p, 9); }) &&
                         refuses([&] { pager.pin(at, 4096); }) &&
                         refuses([&] { pager.prefetch(at, 4096); }) &&
                         refuses([&] { pager.allocate(1); }) && refuses([&] { pager.trim(); }) &&
                         refuses([&] { pager.flush(); }) && refuses([&] { pager.counters(); });
    // What the child takes apart is its own copy only.
    pin.reset();
    paged.reset();
    pager.deallocate(at, 4096);
    // A pager of its own works.
    FilePager own({folder.path(), {.budget = 8192, .extent_bytes = 4096}, false});
    auto* mine = static_cast<int*>(own.allocate(4096));
    const auto held = own.pin(mine, 4096);
    mine[0] = 3;
    return refused && p.value == before && mine[0] == 3;
  });
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  at[0] = 5;
  pin.reset();
  for (std::uint64_t seed = 2; seed < 4; ++seed) {
    step(*paged, p, seed);
    step(plain, q, seed);
    REQUIRE(test::same_bits(p.value, q.value));
  }
  REQUIRE(at[0] == 5);
  pager.deallocate(at, 4096);
}
#endif

TEST_CASE("more memory than any disk has is an error, and asks for nothing else") {
  const test::TemporaryFolder folder;
  FilePager pager({folder.path(), {.budget = 8192, .extent_bytes = 4096}});
  for (const std::size_t bytes : {std::size_t{1} << 60, ~std::size_t{0} / 2, ~std::size_t{0}})
    REQUIRE_THROWS_AS(pager.allocate(bytes), qlora::IoError);
  REQUIRE(folder.names().empty());
}
