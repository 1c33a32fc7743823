// A memory cgroup of the test's own, version 1 or 2, so that what it counts is this process's
// alone.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace test {

class MemoryGroup {
 public:
  // Moves this process into a new group below its own; where that is not allowed it is not there().
  MemoryGroup() {
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const auto second = line.find(':', line.find(':') + 1);
      if (second == std::string::npos) continue;
      const std::string controllers = line.substr(0, second + 1), path = line.substr(second + 1);
      if (controllers.find(":memory:") != std::string::npos) {
        parent_ = "/sys/fs/cgroup/memory" + path;
        anonymous_ = "rss";
        mapped_ = "mapped_file";
        break;
      }
      if (controllers == "0::") parent_ = "/sys/fs/cgroup" + path;
    }
    own_ = parent_ / ("qlora_test_" + std::to_string(getpid()));
    std::error_code failure;
    if (parent_.empty() || !std::filesystem::create_directory(own_, failure)) return;
    if (!std::filesystem::exists(own_ / "memory.stat") || !move_to(own_)) {
      std::filesystem::remove(own_, failure);
      return;
    }
    there_ = true;
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;
  ~MemoryGroup() {
    if (!there_) return;
    move_to(parent_);
    rmdir(own_.c_str());
  }

  bool there() const { return there_; }
  // Anonymous memory and mapped pages of files, without the page cache.
  long bytes() const {
    std::ifstream stat(own_ / "memory.stat");
    std::string key;
    long value = 0, sum = 0;
    while (stat >> key >> value)
      if (key == anonymous_ || key == mapped_) sum += value;
    return sum;
  }

 private:
  static bool move_to(const std::filesystem::path& group) {
    std::ofstream processes(group / "cgroup.procs");
    processes << getpid() << std::endl;
    return static_cast<bool>(processes);
  }

  std::filesystem::path parent_, own_;
  std::string anonymous_ = "anon", mapped_ = "file_mapped";
  bool there_ = false;
};

}  // namespace test
