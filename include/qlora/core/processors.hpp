/// Counts the processors that this process may use: those of its affinity, but no more than the CPU
/// quota of its cgroup pays for.
///
///     const int threads = qlora::usable_processors();
///
/// Source: sched(7), cgroups(7), the kernel's admin-guide/cgroup-v2 (cpu.max) and
/// scheduler/sched-bwc (cpu.cfs_quota_us).
#pragma once

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

namespace qlora {

namespace thread_detail {

/// A small file's content; empty if it can't be read.
inline std::string small_file(const std::string& path) {
  std::string text;
  if (std::FILE* file = std::fopen(path.c_str(), "re")) {
    char buffer[4096];
    while (const std::size_t read = std::fread(buffer, 1, sizeof(buffer), file))
      text.append(buffer, read);
    std::fclose(file);
  }
  return text;
}

/// Takes what stands before the next `end` off `text`.
inline std::string_view take(std::string_view& text, char end) {
  const std::size_t at = std::min(text.find(end), text.size());
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return part;
}

/// Whether `list`, words with commas between, has `word`.
inline bool has_word(std::string_view list, std::string_view word) {
  while (!list.empty())
    if (take(list, ',') == word) return true;
  return false;
}

/// Processors' worth of time in each period, from the two numbers of the kernel's files; nothing
/// where there is no limit ("max" or -1) or no file.
inline std::optional<double> processors_of(const std::string& quota, const std::string& period) {
  const double time = std::atof(quota.c_str()), each = std::atof(period.c_str());
  if (time <= 0 || each <= 0) return std::nullopt;
  return time / each;
}

/// The limit of one cgroup's folder, of version 2 or 1.
inline std::optional<double> folder_quota(const std::string& folder, bool second_version) {
  if (!second_version)
    return processors_of(small_file(folder + "/cpu.cfs_quota_us"),
                         small_file(folder + "/cpu.cfs_period_us"));
  const std::string both = small_file(folder + "/cpu.max");
  std::string_view rest = both;
  const std::string quota(take(rest, ' '));
  return processors_of(quota, std::string(rest));
}

}  // namespace thread_detail

/// The CPU quota of this process's cgroup and of those around it, in processors; nothing if there
/// is none. Files are looked up below `root`. Safe to call from several threads.
inline std::optional<double> cpu_quota(const std::string& root = "") {
  const std::string groups = thread_detail::small_file(root + "/proc/self/cgroup");
  const std::string mounts = thread_detail::small_file(root + "/proc/self/mountinfo");
  std::optional<double> least;
  for (std::string_view lines = groups; !lines.empty();) {
    std::string_view path = thread_detail::take(lines, '\n');
    const std::string_view number = thread_detail::take(path, ':'),
                           controllers = thread_detail::take(path, ':');
    const bool second_version = number == "0" && controllers.empty();
    if (!second_version && !thread_detail::has_word(controllers, "cpu")) continue;
    for (std::string_view mount_lines = mounts; !mount_lines.empty();) {
      const std::string_view line = thread_detail::take(mount_lines, '\n');
      const std::size_t dash = line.find(" - ");
      if (dash == std::string_view::npos) continue;
      std::string_view fields = line.substr(0, dash), kind = line.substr(dash + 3);
      for (int skipped = 0; skipped < 3; ++skipped) thread_detail::take(fields, ' ');
      const std::string_view top = thread_detail::take(fields, ' ');
      const std::string_view mount = thread_detail::take(fields, ' ');
      const std::string_view type = thread_detail::take(kind, ' ');
      thread_detail::take(kind, ' ');
      if (type != (second_version ? "cgroup2" : "cgroup")) continue;
      if (!second_version && !thread_detail::has_word(kind, "cpu")) continue;
      // A container sees its own group at the mount, whatever path the host knows it by: folders
      // that are not there have no limit, and the walk ends at the mount.
      std::string_view below = path;
      if (top != "/" && below.substr(0, top.size()) == top) below.remove_prefix(top.size());
      for (std::string folder(below);; folder.resize(folder.rfind('/'))) {
        const auto quota =
            thread_detail::folder_quota(root + std::string(mount) + folder, second_version);
        if (quota && (!least || *quota < *least)) least = quota;
        if (folder.rfind('/') == std::string::npos) break;
      }
    }
  }
  return least;
}

/// The number of processors that the calling thread may run on. Safe to call from several threads.
inline int processors_of_affinity() {
  for (int most = 1024; most <= 1 << 20; most *= 2) {
    cpu_set_t* set = CPU_ALLOC(most);
    if (!set) break;
    const std::size_t size = CPU_ALLOC_SIZE(most);
    const int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return 1;
}

/// The number of threads that can run at once: by affinity, and by the CPU quota, rounded up.
/// At least 1. Safe to call from several threads.
inline int usable_processors() {
  const int count = processors_of_affinity();
  const std::optional<double> quota = cpu_quota();
  if (!quota || *quota >= count) return count;
  const int whole = static_cast<int>(*quota);
  return std::max(1, whole + (whole < *quota ? 1 : 0));
}

}  // namespace qlora
