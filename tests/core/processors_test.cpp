#include "qlora/core/processors.hpp"

#include <sched.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "support/catch.hpp"
#include "support/files.hpp"

namespace {

// Files as the kernel shows them, below a folder.
class Kernel {
 public:
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path to = folder_.path() / path;
    std::filesystem::create_directories(to.parent_path());
    std::ofstream(to) << text;
  }
  std::optional<double> quota() const { return qlora::cpu_quota(folder_.path().string()); }

 private:
  test::TemporaryFolder folder_;
};

constexpr const char* second_version =
    "22 1 0:20 / /proc rw,nosuid - proc proc rw\n"
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

}  // namespace

TEST_CASE("the least quota of the groups of version 2 counts") {
  const Kernel kernel;
  kernel.write("proc/self/cgroup", "0::/work.slice/job.scope\n");
  kernel.write("proc/self/mountinfo", second_version);
  REQUIRE_FALSE(kernel.quota());
  kernel.write("sys/fs/cgroup/work.slice/job.scope/cpu.max", "max 100000\n");
  REQUIRE_FALSE(kernel.quota());
  kernel.write("sys/fs/cgroup/work.slice/cpu.max", "350000 100000\n");
  REQUIRE(kernel.quota() == 3.5);
  kernel.write("sys/fs/cgroup/work.slice/job.scope/cpu.max", "50000 100000\n");
  REQUIRE(kernel.quota() == 0.5);
}

TEST_CASE("a container's quota stands at the mount") {
  const Kernel kernel;
  kernel.write("proc/self/cgroup", "0::/\n");
  kernel.write("proc/self/mountinfo", second_version);
  kernel.write("sys/fs/cgroup/cpu.max", "200000 100000\n");
  REQUIRE(kernel.quota() == 2.0);
}

TEST_CASE("quotas of version 1 are read beside groups of other controllers") {
  const Kernel kernel;
  kernel.write("proc/self/cgroup",
               "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n1:name=systemd:/docker/1f\n0::/\n");
  kernel.write(
      "proc/self/mountinfo",
      "31 30 0:27 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
      "32 30 0:28 /docker/1f /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
  kernel.write("sys/fs/cgroup/memory/cpu.cfs_quota_us", "1000\n");
  kernel.write("sys/fs/cgroup/memory/cpu.cfs_period_us", "100000\n");
  kernel.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  kernel.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  REQUIRE_FALSE(kernel.quota());
  kernel.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000\n");
  REQUIRE(kernel.quota() == 1.5);
}

TEST_CASE("a machine without cgroups has no quota") {
  const Kernel kernel;
  REQUIRE_FALSE(kernel.quota());
  kernel.write("proc/self/cgroup", "0::/\n");
  kernel.write("proc/self/mountinfo", "broken line\n");
  REQUIRE_FALSE(kernel.quota());
}

TEST_CASE("a thread that is bound to one processor may use one") {
  REQUIRE(qlora::usable_processors() <= qlora::processors_of_affinity());
  int bound = 0;
  std::thread([&] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    if (sched_setaffinity(0, sizeof(one), &one) == 0) bound = qlora::usable_processors();
  }).join();
  REQUIRE(bound == 1);
}
