// Paged AdamW whose state comes from the disk and goes back to it, beside the disk's own rate and a
// naive map:
//
//   build/bench/bench_disk --directory build --state 1GiB --budget 128MiB
//
// Before each turn the file's pages are dropped from the page cache. "disk" reads extents in order,
// writes each back, and waits for them at the end: the rate that there is. The paged step moves the
// same bytes and computes; the naive map is a loop over a mapped file, without pins or prefetch.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "qlora/memory/file_pager.hpp"
#include "qlora/optim/adam.hpp"

namespace {

using qlora::Index;
constexpr std::size_t extent = std::size_t{2} << 20;

// Writes back and drops the pages of every unnamed file below a folder: a pager's.
void drop_pages(const std::string& folder) {
  const std::string below = std::filesystem::canonical(folder).string() + "/";
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (gone || !target.starts_with(below)) continue;
    const int file = std::stoi(entry.path().filename().string());
    fdatasync(file);
    posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  }
}

double median_seconds(int turns, const std::string& folder, const std::function<void()>& body) {
  std::vector<double> times;
  for (int turn = 0; turn < turns; ++turn) {
    drop_pages(folder);
    const auto start = std::chrono::steady_clock::now();
    body();
    times.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + turns / 2, times.end());
  return times[static_cast<std::size_t>(turns / 2)];
}

void print(const char* name, double seconds, double bytes, double disk_rate) {
  std::printf("| %s | %.2f | %.0f | %.2f |\n", name, seconds, bytes / seconds / 1e6,
              bytes / seconds / disk_rate);
  std::fflush(stdout);
}

// Reads and writes back a file of `bytes` in order; bytes a second, both ways together.
double disk_rate(const std::string& folder, std::size_t bytes, int turns) {
  qlora::FileStore store(folder);
  auto region = store.reserve(bytes);
  std::vector<std::byte> buffer(extent, std::byte{1});
  for (std::size_t at = 0; at < bytes; at += extent)
    if (pwrite(region.file(), buffer.data(), extent, static_cast<off_t>(at)) < 0)
      std::perror("write");
  const double seconds = median_seconds(turns, folder, [&] {
    for (std::size_t at = 0; at < bytes; at += extent) {
      const auto offset = static_cast<off_t>(at);
      readahead(region.file(), offset + static_cast<off_t>(extent), 4 * extent);
      if (pread(region.file(), buffer.data(), extent, offset) < 0) std::perror("read");
      if (pwrite(region.file(), buffer.data(), extent, offset) < 0) std::perror("write");
      sync_file_range(region.file(), offset, extent, SYNC_FILE_RANGE_WRITE);
    }
    fdatasync(region.file());
  });
  print("disk", seconds, 2.0 * static_cast<double>(bytes),
        2.0 * static_cast<double>(bytes) / seconds);
  return 2.0 * static_cast<double>(bytes) / seconds;
}

void paged(const std::string& folder, Index numbers, std::size_t budget, int turns, double rate) {
  qlora::Parameter<float> p("p", 4096, numbers / 4096);
  p.value.setConstant(1);
  p.grad.setConstant(0.25f);
  const qlora::ParameterList<float> list{&p};
  const qlora::FilePager pager(
      {.directory = folder, .resident = {.budget = budget, .extent_bytes = extent}});
  qlora::AdamW<qlora::NumberState<float>, qlora::Paged<qlora::FilePager>> optimizer({}, pager);
  optimizer.step(list);
  qlora::FilePager flushed = pager;
  const auto before = flushed.counters();
  const double seconds = median_seconds(turns, folder, [&] {
    optimizer.step(list);
    flushed.flush();
  });
  const auto after = flushed.counters();
  const double moved =
      static_cast<double>(after.bytes_in - before.bytes_in + after.bytes_out - before.bytes_out) /
      turns;
  print("paged AdamW", seconds, moved, rate);
}

void naive(const std::string& folder, Index numbers, int turns, double rate) {
  qlora::FileStore store(folder);
  const auto bytes = 8 * static_cast<std::size_t>(numbers);
  auto region = store.reserve(bytes);
  auto* m = reinterpret_cast<float*>(region.data());
  auto* v = m + numbers;
  std::vector<float> p(static_cast<std::size_t>(numbers), 1.f), g(p.size(), 0.25f);
  const auto step = [&] {
    qlora::parallel_ranges(numbers, 4096, [&](Index a, Index b) {
      using Run = qlora::Run<float>;
      Run mr(m + a, b - a), vr(v + a, b - a), pr(p.data() + a, b - a), gr(g.data() + a, b - a);
      mr = 0.9f * mr + 0.1f * gr;
      vr = 0.999f * vr + 0.001f * gr.square();
      pr -= 2e-4f * mr / (vr.sqrt() + 1e-8f);
    });
    msync(region.data(), bytes, MS_SYNC);
    madvise(region.data(), bytes, MADV_DONTNEED);
  };
  step();
  const double seconds = median_seconds(turns, folder, step);
  print("naive map", seconds, 2.0 * static_cast<double>(bytes), rate);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Paged AdamW from the disk beside the disk's own rate", "bench_disk");
  std::string folder = "build";
  std::size_t state = std::size_t{1} << 30, budget = std::size_t{128} << 20;
  int turns = 5;
  app.add_option("--directory", folder, "on the disk to measure")->capture_default_str();
  app.add_option("--state", state, "bytes")->transform(CLI::AsSizeValue(false));
  app.add_option("--budget", budget, "resident bytes of it")->transform(CLI::AsSizeValue(false));
  app.add_option("--turns", turns, "of each; the median counts")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const Index numbers = static_cast<Index>(state / 8 / (1 << 20)) << 20;
  std::printf(
      "| %zu MiB of state, %zu MiB resident | seconds | MB/s | of the disk |\n|---|---|---|---|\n",
      state >> 20, budget >> 20);
  const double rate = disk_rate(folder, 8 * static_cast<std::size_t>(numbers), turns);
  paged(folder, numbers, budget, turns, rate);
  naive(folder, numbers, turns, rate);
}
