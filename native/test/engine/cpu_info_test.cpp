#include "engine/cpu_info.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "smpo.h"

namespace smpo::engine {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kGiB = uint64_t{1} << 30;

// A folder with files of /proc and /sys that a test writes.
class CpuInfoTest : public ::testing::Test {
 protected:
  CpuInfoTest() : root_(fs::temp_directory_path() / ("smpo_cpu_info_" + std::to_string(getpid()))) {
    fs::remove_all(root_);
    write("proc/meminfo", "MemTotal:       67108864 kB\nMemFree:         1000 kB\nMemAvailable:   33554432 kB\n");
  }
  ~CpuInfoTest() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void core(int processor, int package, int core) {
    const std::string topology = "sys/devices/system/cpu/cpu" + std::to_string(processor) + "/topology/";
    write(topology + "physical_package_id", std::to_string(package) + "\n");
    write(topology + "core_id", std::to_string(core) + "\n");
  }
  CpuInfo info(const std::vector<int>& processors = {0, 1, 2, 3}) { return CpuInfo::of(root_, processors); }

  fs::path root_;
};

TEST_F(CpuInfoTest, SiblingsShareACore) {
  for (int i = 0; i < 8; ++i) core(i, i / 4, i % 2);
  EXPECT_EQ(info({0, 1, 2, 3, 4, 5, 6, 7}).physical_cores, 4) << "two packages with two cores of two threads";
  EXPECT_EQ(info({0, 1, 2, 3, 4, 5, 6, 7}).logical_cores, 8);
  EXPECT_EQ(info({0, 2}).physical_cores, 1) << "the affinity leaves both threads of one core";
  EXPECT_EQ(info({0, 2}).logical_cores, 2);
}

TEST_F(CpuInfoTest, UnknownTopologyCountsProcessors) {
  EXPECT_EQ(info().physical_cores, 4);
  EXPECT_EQ(info({}).physical_cores, 1);
  EXPECT_EQ(info({}).logical_cores, 1);
}

TEST_F(CpuInfoTest, MemoryOfTheMachine) {
  EXPECT_EQ(info().total_memory, 64 * kGiB);
  EXPECT_EQ(info().available_memory, 32 * kGiB);
}

TEST_F(CpuInfoTest, TheTightestControlGroupOfVersion2Counts) {
  write("proc/self/cgroup", "0::/outer/inner\n");
  write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  write("sys/fs/cgroup/outer/memory.max", std::to_string(8 * kGiB) + "\n");
  write("sys/fs/cgroup/outer/memory.current", std::to_string(6 * kGiB) + "\n");
  write("sys/fs/cgroup/outer/memory.stat", "anon 5\ninactive_file " + std::to_string(2 * kGiB) + "\n");
  EXPECT_EQ(info().total_memory, 8 * kGiB);
  EXPECT_EQ(info().available_memory, 4 * kGiB) << "8 - (6 used - 2 that would go)";
}

TEST_F(CpuInfoTest, AContainerSeesItsOwnGroupAtTheBase) {
  write("proc/self/cgroup", "0::/docker/0123456789abcdef\n");  // the host's path, which is not mounted
  write("sys/fs/cgroup/memory.max", std::to_string(4 * kGiB) + "\n");
  write("sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(info().total_memory, 4 * kGiB);
  EXPECT_EQ(info().logical_cores, 2) << "one and a half, rounded up";
  EXPECT_EQ(info().physical_cores, 2);
}

TEST_F(CpuInfoTest, ControlGroupsOfVersion1) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/b\n");
  write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", std::to_string(2 * kGiB) + "\n");
  write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", std::to_string(kGiB) + "\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "300000\n");
  write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(info().total_memory, 2 * kGiB);
  EXPECT_EQ(info().available_memory, kGiB);
  EXPECT_EQ(info().logical_cores, 3);
}

TEST_F(CpuInfoTest, MoreInUseThanTheLimitLeavesNothing) {
  write("proc/self/cgroup", "0::/\n");
  write("sys/fs/cgroup/memory.max", std::to_string(kGiB) + "\n");
  write("sys/fs/cgroup/memory.current", std::to_string(2 * kGiB) + "\n");
  EXPECT_EQ(info().available_memory, 0u);
}

TEST(CpuInfo, OfThisMachineIsPlausible) {
  const CpuInfo info = CpuInfo::of_this_process();
  EXPECT_GE(info.physical_cores, 1);
  EXPECT_LE(info.physical_cores, info.logical_cores);
  EXPECT_LE(info.logical_cores, sysconf(_SC_NPROCESSORS_CONF));
  EXPECT_GT(info.total_memory, kGiB / 4);
  EXPECT_LE(info.available_memory, info.total_memory);
  EXPECT_FALSE(info.model.empty());
}

// Linux lists a feature only if it has enabled it, which is what our bits mean as well.
TEST(CpuInfo, FeaturesAgreeWithTheKernel) {
  std::ifstream in("/proc/cpuinfo");
  std::string flags;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("flags")) {
      flags = line + " ";
      break;
    }
  }
  if (flags.empty()) GTEST_SKIP() << "/proc/cpuinfo has no line of flags";
  const uint32_t features = CpuInfo::of_this_process().features;
  const auto kernel_has = [&flags](const std::string& flag) {
    return flags.find(" " + flag + " ") != std::string::npos;
  };
  EXPECT_EQ((features & SMPO_CPU_AVX2) != 0, kernel_has("avx2"));
  EXPECT_EQ((features & SMPO_CPU_FMA) != 0, kernel_has("fma"));
  EXPECT_EQ((features & SMPO_CPU_AVX512F) != 0, kernel_has("avx512f"));
  EXPECT_EQ((features & SMPO_CPU_AVX512_BF16) != 0, kernel_has("avx512_bf16"));
  if ((features & SMPO_CPU_AMX_BF16) != 0) {
    EXPECT_TRUE(kernel_has("amx_bf16")) << "a thread may be refused its tiles, but not the other way round";
  }
}

}  // namespace
}  // namespace smpo::engine
