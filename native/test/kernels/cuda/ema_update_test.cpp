#include "kernels/ema_update.h"

#include <gtest/gtest.h>

#include <vector>

#include "cuda_on_cpu/device_buffer.h"
#include "cuda_on_cpu/every_schedule.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::kernels {
namespace {

TEST(EmaUpdateCuda, SameBitsAsTheCpu) {
  SMPO_NEEDS_DEVICE();
  for (const int64_t elements : {0, 1, 3, 4, 5, 8, 1023, 1024, 1027}) {
    const std::vector<float> before = test::normal_floats(elements, 1), parameter = test::normal_floats(elements, 2);
    std::vector<float> wanted = before;
    cpu::ema_update({.elements = elements, .average = wanted.data(), .parameter = parameter.data(), .decay = 0.99});
    for (const int32_t finite : {0, 1}) {
      const test::DeviceBuffer<int32_t> flag(std::vector<int32_t>{finite});
      for (const size_t misalign : {size_t{0}, size_t{1}}) {
        test::for_every_schedule([&] {
          SCOPED_TRACE(testing::Message() << elements << " elements, misaligned by " << misalign);
          test::DeviceBuffer<float> average(before, misalign), source(parameter, misalign);
          cuda::ema_update({.elements = elements,
                            .average = average.data(),
                            .parameter = source.data(),
                            .decay = 0.99,
                            .finite = flag.data()},
                           nullptr);
          EXPECT_TRUE(test::same_bits(average.download(), finite == 1 ? wanted : before));
        });
      }
    }
  }
}

}  // namespace
}  // namespace smpo::kernels
