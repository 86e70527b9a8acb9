#include "kernels/philox_normal.h"

#include <gtest/gtest.h>

#include <vector>

#include "cuda_on_cpu/device_buffer.h"
#include "cuda_on_cpu/every_schedule.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::kernels {
namespace {

PhiloxNormalArgs args_of(float* out, int64_t elements, const std::vector<int64_t>& items) {
  return {.out = out,
          .rows = static_cast<int64_t>(items.size()),
          .elements = elements,
          .seed = 0x0123456789abcdef,
          .purpose = 5,
          .step = 11,
          .items = items.data()};
}

TEST(PhiloxNormalCuda, SameBitsAsTheCpu) {
  SMPO_NEEDS_DEVICE();
  const std::vector<int64_t> items = {5, 0, (int64_t{1} << 56) - 1};
  for (const int64_t elements : {0, 1, 2, 3, 4, 5, 7, 8, 1023, 1024, 1025, 4099}) {
    std::vector<float> wanted(items.size() * static_cast<size_t>(elements));
    cpu::philox_normal(args_of(wanted.data(), elements, items));
    for (const size_t misalign : {size_t{0}, size_t{1}}) {
      test::for_every_schedule([&] {
        test::DeviceBuffer<float> out(wanted.size(), misalign);
        const test::DeviceBuffer<int64_t> device_items(items);
        PhiloxNormalArgs args = args_of(out.data(), elements, items);
        args.items = device_items.data();
        cuda::philox_normal(args, nullptr);
        EXPECT_TRUE(test::same_bits(out.download(), wanted)) << elements << " elements, misaligned by " << misalign;
      });
    }
  }
}

TEST(PhiloxNormalCuda, MoreRowsThanAGridHas) {
  SMPO_NEEDS_DEVICE();
  std::vector<int64_t> items(65535 + 2);
  for (size_t r = 0; r < items.size(); ++r) items[r] = static_cast<int64_t>(r);
  std::vector<float> wanted(items.size());
  cpu::philox_normal(args_of(wanted.data(), 1, items));
  test::DeviceBuffer<float> out(wanted.size());
  const test::DeviceBuffer<int64_t> device_items(items);
  PhiloxNormalArgs args = args_of(out.data(), 1, items);
  args.items = device_items.data();
  cuda::philox_normal(args, nullptr);
  EXPECT_TRUE(test::same_bits(out.download(), wanted));
}

TEST(PhiloxNormalCuda, NoRowsIsNothing) {
  SMPO_NEEDS_DEVICE();
  cuda::philox_normal(args_of(nullptr, 16, {}), nullptr);
}

}  // namespace
}  // namespace smpo::kernels
