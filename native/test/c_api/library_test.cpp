#include <gtest/gtest.h>

#include <array>
#include <regex>
#include <string>
#include <thread>

#include "c_api/border.h"

namespace smpo::test {
namespace {

TEST(Library, AbiVersionIsTheHeaders) {
  uint32_t version = 0;
  EXPECT_EQ(smpo_abi_version(&version, nullptr), SMPO_OK);
  EXPECT_EQ(version, static_cast<uint32_t>(SMPO_ABI_VERSION));
}

TEST(Library, HeaderDigestIsThatOfTheFile) {
  std::array<char, 65> text{};
  ASSERT_EQ(smpo_abi_header_sha256(text.data(), text.size(), nullptr), SMPO_OK);
  EXPECT_TRUE(std::regex_match(text.data(), std::regex("[0-9a-f]{64}"))) << text.data();
  FILE* pipe = popen("sha256sum " SMPO_HEADER, "r");
  ASSERT_NE(pipe, nullptr);
  std::array<char, 65> expected{};
  ASSERT_EQ(fread(expected.data(), 1, 64, pipe), 64u);
  pclose(pipe);
  EXPECT_STREQ(text.data(), expected.data());
}

TEST(Library, HeaderDigestNeedsRoom) {
  std::array<char, 65> text{'x'};
  auto error = sized<smpo_error>();
  EXPECT_EQ(smpo_abi_header_sha256(text.data(), 64, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_STREQ(error.message, "smpo_abi_header_sha256: capacity: expected at least 65, got 64");
  EXPECT_EQ(text[0], 'x');
}

TEST(Library, DescribesItself) {
  auto info = sized<smpo_library_info>();
  ASSERT_EQ(smpo_library_describe(&info, nullptr), SMPO_OK);
  EXPECT_EQ(info.abi_version, static_cast<uint32_t>(SMPO_ABI_VERSION));
  EXPECT_TRUE(std::regex_match(info.version, std::regex(R"(\d+\.\d+\.\d+)"))) << info.version;
  EXPECT_TRUE(std::regex_match(info.commit, std::regex("unknown|[0-9a-f]{40}(-dirty)?"))) << info.commit;
  EXPECT_TRUE(std::regex_match(info.libtorch, std::regex(R"(2\.\d+\..*)"))) << info.libtorch;
  EXPECT_TRUE(std::regex_match(info.compiler, std::regex(R"(\w+ \d+\..*)"))) << info.compiler;
  EXPECT_STRNE(info.build_type, "");
  EXPECT_EQ(std::string(info.cuda_compiled).empty(), std::string(info.cuda_targets).empty());
}

TEST(Library, DescribesTheProcessor) {
  auto info = sized<smpo_cpu_info>();
  ASSERT_EQ(smpo_cpu_describe(&info, nullptr), SMPO_OK);
  EXPECT_GE(info.physical_cores, 1);
  EXPECT_GE(info.logical_cores, info.physical_cores);
  EXPECT_GE(info.total_memory, info.available_memory);
  EXPECT_STRNE(info.model, "");
}

TEST(Library, DescribesCuda) {
  auto info = sized<smpo_cuda_info>();
  ASSERT_EQ(smpo_cuda_describe(&info, nullptr), SMPO_OK);
  EXPECT_EQ(info.device_count == 0, std::string(info.problem) != "") << "a problem, and only then";
  if (info.compiled == 0) {
    EXPECT_EQ(info.device_count, 0);
    EXPECT_NE(std::string(info.problem).find("-DSMPO_CUDA=ON"), std::string::npos) << info.problem;
  }
  auto error = sized<smpo_error>();
  auto device = sized<smpo_cuda_device_info>();
  for (const int32_t index : {-1, info.device_count, INT32_MAX}) {
    EXPECT_EQ(smpo_cuda_device_describe(index, &device, &error), SMPO_INVALID_ARGUMENT);
    EXPECT_NE(std::string(error.message).find("index: expected"), std::string::npos) << error.message;
  }
  for (int32_t index = 0; index < info.device_count; ++index) {
    EXPECT_EQ(smpo_cuda_device_describe(index, &device, &error), SMPO_OK) << error.message;
    EXPECT_EQ(device.index, index);
    EXPECT_GT(device.total_memory, 0u);
  }
}

TEST(Library, FunctionsWithoutASessionServeAnyThread) {
  std::thread([] {
    auto info = sized<smpo_cpu_info>();
    EXPECT_EQ(smpo_cpu_describe(&info, nullptr), SMPO_OK);
  }).join();
}

}  // namespace
}  // namespace smpo::test
