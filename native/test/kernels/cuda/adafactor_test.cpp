#include "kernels/adafactor.h"

#include <gtest/gtest.h>

#include <memory>
#include <sstream>
#include <vector>

#include "cuda_on_cpu/device_buffer.h"
#include "cuda_on_cpu/every_schedule.h"
#include "kernels/adafactor_case.h"
#include "support/samples.h"
#include "support/tolerance.h"

namespace smpo::kernels {
namespace {

using test::AdafactorState;

struct Device {
  Device(const AdafactorState& s, size_t misalign)
      : parameter(s.parameter, misalign),
        gradient(s.gradient, misalign),
        m(s.m, misalign),
        row(s.row, misalign),
        column(s.column, misalign),
        v(s.v, misalign),
        bf16_copy(s.parameter.size(), misalign),
        workspace(static_cast<size_t>(adafactor_workspace_bytes(s.shape) / 8 + 1)) {}

  test::DeviceBuffer<float> parameter, gradient, m, row, column, v;
  test::DeviceBuffer<BFloat16> bf16_copy;
  test::DeviceBuffer<double> workspace;
};

/// A table of tensors on the device, with its arguments.
struct Table {
  Table(std::vector<AdafactorTensor> of, const AdafactorArgs& rule, bool copies)
      : group{.count = static_cast<int64_t>(of.size()), .rule = rule, .copies = copies} {
    adafactor_place(of.data(), group.count, group.units);
    tensors = std::make_unique<test::DeviceBuffer<AdafactorTensor>>(of);
    group.tensors = tensors->data();
  }

  AdafactorGroupArgs group;
  std::unique_ptr<test::DeviceBuffer<AdafactorTensor>> tensors;
};

AdafactorTensor tensor_of(Device& device, const AdafactorShape& shape) {
  AdafactorArgs args;
  test::attach(args, device, shape);
  return {.shape = shape,
          .parameter = args.parameter,
          .gradient = args.gradient,
          .m = args.m,
          .row = args.row,
          .column = args.column,
          .v = args.v,
          .compute = device.bf16_copy.data(),
          .workspace = device.workspace.data()};
}

AdafactorState run_cpu(const AdafactorState& before, AdafactorArgs args) {
  AdafactorState after = before;
  after.bf16_copy.resize(before.parameter.size());
  std::vector<double> workspace(static_cast<size_t>(adafactor_workspace_bytes(before.shape) / 8 + 1));
  test::attach(args, after, before.shape);
  args.compute = after.bf16_copy.data();
  args.workspace = workspace.data();
  cpu::adafactor(args);
  return after;
}

void expect_same_bits(const Device& got, const AdafactorState& wanted) {
  EXPECT_TRUE(test::same_bits(got.parameter.download(), wanted.parameter));
  EXPECT_TRUE(test::same_bits(got.m.download(), wanted.m));
  EXPECT_TRUE(test::same_bits(got.row.download(), wanted.row));
  EXPECT_TRUE(test::same_bits(got.column.download(), wanted.column));
  EXPECT_TRUE(test::same_bits(got.v.download(), wanted.v));
  EXPECT_TRUE(test::same_bits(got.bf16_copy.download(), wanted.bf16_copy));
}

TEST(AdafactorCuda, SameBitsAsTheCpu) {
  SMPO_NEEDS_DEVICE();
  const float scale = 0.7f;
  const test::DeviceBuffer<float> device_scale(std::vector<float>{scale});
  const test::DeviceBuffer<int32_t> finite(std::vector<int32_t>{1});
  for (const AdafactorShape& shape : test::adafactor_shapes()) {
    for (const bool scaled : {false, true}) {
      const AdafactorState before = test::adafactor_state(shape, scaled);
      AdafactorArgs args = test::adafactor_settings(scaled);
      args.grad_scale = &scale;
      const AdafactorState wanted = run_cpu(before, args);
      args.grad_scale = device_scale.data();
      args.finite = finite.data();
      // Every order of threads for small shapes; a single order for shapes with several chunks and blocks of rows.
      const auto run = [&](size_t misalign) {
        std::ostringstream title;
        test::name(title, shape) << (scaled ? " scaled" : "") << ", misaligned by " << misalign;
        SCOPED_TRACE(title.str());
        Device device(before, misalign);
        const Table table({tensor_of(device, shape)}, args, /*copies=*/true);
        cuda::adafactor_group(table.group, nullptr);
        expect_same_bits(device, wanted);
      };
      if (shape.elements() < 2000) {
        test::for_every_schedule([&] { run(1); });
      } else {
        run(0);
      }
    }
  }
}

/// All shapes in one group, some of them empty: every block must find its tensor.
TEST(AdafactorCuda, AllTensorsAtOnceHaveTheBitsOfEachAlone) {
  SMPO_NEEDS_DEVICE();
  for (const bool scaled : {false, true}) {
    const AdafactorArgs args = test::adafactor_settings(scaled);
    std::vector<AdafactorState> wanted;
    std::vector<std::unique_ptr<Device>> devices;
    std::vector<AdafactorTensor> tensors;
    for (const AdafactorShape& shape : test::adafactor_shapes()) {
      const AdafactorState before = test::adafactor_state(shape, scaled, static_cast<uint32_t>(10 * tensors.size()));
      wanted.push_back(run_cpu(before, args));
      devices.push_back(std::make_unique<Device>(before, tensors.size() % 2));
      tensors.push_back(tensor_of(*devices.back(), shape));
    }
    const Table table(tensors, args, /*copies=*/true);
    cuda::adafactor_group(table.group, nullptr);
    for (size_t i = 0; i < wanted.size(); ++i) {
      std::ostringstream title;
      test::name(title, wanted[i].shape);
      SCOPED_TRACE(title.str());
      expect_same_bits(*devices[i], wanted[i]);
    }
  }
}

TEST(AdafactorCuda, WritesNothingWhenTheGradientIsNotFinite) {
  SMPO_NEEDS_DEVICE();
  const test::DeviceBuffer<int32_t> finite(std::vector<int32_t>{0});
  for (const AdafactorShape& shape : {AdafactorShape{.rows = 70, .columns = 9},
                                      {.outer = 2, .rows = 3, .columns = 3, .inner = 5},
                                      {.columns = 11, .factored = false}}) {
    AdafactorState before = test::adafactor_state(shape, true);
    Device device(before, 0);
    AdafactorArgs args = test::adafactor_settings(true);
    args.finite = finite.data();
    const Table table({tensor_of(device, shape)}, args, /*copies=*/true);
    cuda::adafactor_group(table.group, nullptr);
    before.bf16_copy.assign(before.parameter.size(), BFloat16{0xffff});  // the initial content of a DeviceBuffer
    expect_same_bits(device, before);
  }
}

}  // namespace
}  // namespace smpo::kernels
