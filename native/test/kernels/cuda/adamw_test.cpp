#include "kernels/adamw.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "cuda_on_cpu/device_buffer.h"
#include "cuda_on_cpu/every_schedule.h"
#include "kernels/adamw_case.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::kernels {
namespace {

using test::AdamWState;

AdamWState run_cpu(const AdamWState& before, AdamWArgs args, bool copy, DType dtype) {
  AdamWState after = before;
  after.bf16_copy.resize(copy && dtype == DType::kBF16 ? before.parameter.size() : 0);
  after.f32_copy.resize(copy && dtype == DType::kF32 ? before.parameter.size() : 0);
  test::attach(args, after);
  if (copy) {
    args.compute = dtype == DType::kF32 ? static_cast<void*>(after.f32_copy.data()) : after.bf16_copy.data();
    args.compute_dtype = dtype;
  }
  cpu::adamw(args);
  return after;
}

struct Device {
  Device(const AdamWState& state, bool copy, DType dtype, size_t misalign)
      : parameter(state.parameter, misalign),
        gradient(state.gradient, misalign),
        m(state.m, misalign),
        v(state.v, misalign),
        bf16_copy(copy && dtype == DType::kBF16 ? state.parameter.size() : 0, misalign),
        f32_copy(copy && dtype == DType::kF32 ? state.parameter.size() : 0, misalign) {}

  void attach(AdamWArgs& args, bool copy, DType dtype) {
    args.elements = static_cast<int64_t>(parameter.size());
    args.parameter = parameter.data();
    args.gradient = gradient.data();
    args.m = m.data();
    args.v = v.data();
    if (copy) {
      args.compute = dtype == DType::kF32 ? static_cast<void*>(f32_copy.data()) : bf16_copy.data();
      args.compute_dtype = dtype;
    }
  }

  test::DeviceBuffer<float> parameter, gradient, m, v;
  test::DeviceBuffer<BFloat16> bf16_copy;
  test::DeviceBuffer<float> f32_copy;
};

void expect_same_bits(const Device& got, const AdamWState& wanted) {
  EXPECT_TRUE(test::same_bits(got.parameter.download(), wanted.parameter));
  EXPECT_TRUE(test::same_bits(got.m.download(), wanted.m));
  EXPECT_TRUE(test::same_bits(got.v.download(), wanted.v));
  EXPECT_TRUE(test::same_bits(got.bf16_copy.download(), wanted.bf16_copy));
  EXPECT_TRUE(test::same_bits(got.f32_copy.download(), wanted.f32_copy));
}

TEST(AdamWCuda, SameBitsAsTheCpu) {
  SMPO_NEEDS_DEVICE();
  const float scale = 0.7f;
  for (const int64_t elements : {0, 1, 3, 4, 5, 8, 1023, 1024, 1027}) {
    const AdamWState before = test::adamw_state(elements);
    for (const auto& [copy, dtype] : {std::pair{false, DType::kF32}, {true, DType::kF32}, {true, DType::kBF16}}) {
      AdamWArgs args = test::adamw_settings();
      args.grad_scale = &scale;
      const AdamWState wanted = run_cpu(before, args, copy, dtype);
      const test::DeviceBuffer<float> device_scale(std::vector<float>{scale});
      const test::DeviceBuffer<int32_t> finite(std::vector<int32_t>{1});
      args.grad_scale = device_scale.data();
      args.finite = finite.data();
      for (const size_t misalign : {size_t{0}, size_t{1}}) {
        test::for_every_schedule([&] {
          SCOPED_TRACE(testing::Message() << elements << " elements, misaligned by " << misalign);
          Device device(before, copy, dtype, misalign);
          device.attach(args, copy, dtype);
          cuda::adamw(args, nullptr);
          expect_same_bits(device, wanted);
        });
      }
    }
  }
}

TEST(AdamWCuda, WritesNothingWhenTheGradientIsNotFinite) {
  SMPO_NEEDS_DEVICE();
  AdamWState before = test::adamw_state(777);
  Device device(before, true, DType::kBF16, 0);
  AdamWArgs args = test::adamw_settings();
  device.attach(args, true, DType::kBF16);
  const test::DeviceBuffer<int32_t> finite(std::vector<int32_t>{0});
  args.finite = finite.data();
  cuda::adamw(args, nullptr);
  before.bf16_copy.assign(before.parameter.size(), BFloat16{0xffff});  // the initial content of a DeviceBuffer
  expect_same_bits(device, before);
}

}  // namespace
}  // namespace smpo::kernels
