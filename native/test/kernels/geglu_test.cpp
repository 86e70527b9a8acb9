#include "kernels/geglu.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/geglu_case.h"
#include "support/threads.h"

namespace smpo::kernels {
namespace {

using test::GegluCase;

TEST(GegluReference, IsTheDefinition) {
  GegluCase c(1, 2, DType::kF32);
  const float inputs[] = {2.0f, -3.0f, 1.0f, 0.0f};
  for (int64_t i = 0; i < 4; ++i) c.x.set(i, inputs[i]);
  reference::geglu(c.forward);
  EXPECT_NEAR(c.y.at(0), 2.0 * 0.8413447460685429, 1e-6);  // Phi(1)
  EXPECT_EQ(c.y.at(1), 0.0);
}

TEST(GegluReference, BackwardAgreesWithFiniteDifferences) {
  GegluCase c(2, 3, DType::kF32);
  reference::geglu_backward(c.backward);
  const auto slopes = test::finite_differences(c.x, [&] {
    reference::geglu(c.forward);
    return test::dot(c.y, c.d_y);
  });
  EXPECT_TRUE(test::agrees_with_slopes(c.d_x, slopes));
}

TEST(GegluCpu, AgreesWithTheReference) {
  for (const DType dtype : test::kDTypes) {
    for (const int64_t channels : {1, 3, 7, 16, 33, 320, 1280, 2561}) {
      for (const int64_t rows : {1, 3}) {
        SCOPED_TRACE(testing::Message() << rows << " rows of " << channels << ", " << test::name_of(dtype));
        GegluCase got(rows, channels, dtype), wanted(rows, channels, dtype);
        wanted.run(reference::geglu, reference::geglu_backward);
        got.run([](auto& args) { cpu::geglu(args); }, [](auto& args) { cpu::geglu_backward(args); });
        test::expect_geglu_agreement(got.y, wanted.y);
        test::expect_geglu_agreement(got.d_x, wanted.d_x);
      }
    }
  }
}

TEST(GegluCpu, SameBitsForEveryInstructionSetThreadCountAndInPlace) {
  for (const DType dtype : test::kDTypes) {
    GegluCase wanted(5, 1281, dtype);
    wanted.run([](auto& args) { cpu::geglu(args); }, [](auto& args) { cpu::geglu_backward(args); });
    for (const cpu::InstructionSet set : test::runnable_instruction_sets()) {
      for (const int threads : {1, 3}) {
        const test::ThreadScope scope(threads);
        GegluCase c(5, 1281, dtype);
        cpu::geglu(c.forward, set);
        c.backward.d_x_R2C = c.x.data();
        cpu::geglu_backward(c.backward, set);
        EXPECT_EQ(c.y.bits(), wanted.y.bits()) << name_of(set);
        EXPECT_EQ(c.x.bits(), wanted.d_x.bits()) << name_of(set);
      }
    }
  }
}

TEST(GegluCpu, NonFiniteElementsShow) {
  GegluCase c(1, 40, DType::kF32);
  c.x.set(40 + 17, std::numeric_limits<float>::quiet_NaN());
  c.x.set(39, std::numeric_limits<float>::infinity());
  cpu::geglu(c.forward);
  EXPECT_TRUE(std::isnan(c.y.at(17)));
  EXPECT_FALSE(std::isfinite(c.y.at(39)));
  EXPECT_TRUE(std::isfinite(c.y.at(16)));
}

TEST(GegluCpu, NoRowsIsNothing) {
  cpu::geglu({.rows = 0, .channels = 8});
  cpu::geglu_backward({.rows = 0, .channels = 8});
}

}  // namespace
}  // namespace smpo::kernels
