#include "engine/failure.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

#include "engine/error.h"
#include "kernels/cuda/error.h"

namespace smpo::engine {
namespace {

Failure failure_of(const std::function<void()>& body) {
  try {
    body();
  } catch (...) {
    return current_failure();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST(Failure, EveryKindOfExceptionHasAStatus) {
  EXPECT_EQ(failure_of([] { throw Error(SMPO_NON_FINITE, "m", 5); }).status, SMPO_NON_FINITE);
  EXPECT_EQ(failure_of([] { throw Error(SMPO_NON_FINITE, "m", 5); }).detail, 5);
  EXPECT_EQ(failure_of([] { throw std::bad_alloc(); }).status, SMPO_OUT_OF_MEMORY);
  EXPECT_EQ(failure_of([] { throw std::invalid_argument("m"); }).status, SMPO_INVALID_ARGUMENT);
  EXPECT_EQ(failure_of([] { throw std::out_of_range("m"); }).status, SMPO_INTERNAL);
  EXPECT_EQ(failure_of([] { TORCH_CHECK(false, "m"); }).status, SMPO_INTERNAL);
  EXPECT_EQ(failure_of([] { TORCH_CHECK_INDEX(false, "m"); }).status, SMPO_INTERNAL);
  EXPECT_EQ(failure_of([] { TORCH_CHECK_WITH(OutOfMemoryError, false, "m"); }).status, SMPO_OUT_OF_MEMORY);
  EXPECT_EQ(failure_of([] { throw "text"; }).status, SMPO_INTERNAL);
}

TEST(Failure, ATorchErrorIsReportedWithoutItsStack) {
  const Failure failure = failure_of([] { TORCH_CHECK(false, "what went wrong"); });
  EXPECT_STREQ(failure.message, "what went wrong");
}

TEST(Failure, OnlyAStickyDeviceErrorIsAFault) {
  const auto with_code = [](int32_t code) {
    return failure_of([code] { throw c10::AcceleratorError({"f", "f.cpp", 1}, code, "m"); });
  };
  EXPECT_EQ(with_code(700).status, SMPO_DEVICE_FAULT);  // illegal address
  EXPECT_EQ(with_code(700).detail, 700);
  EXPECT_EQ(with_code(719).status, SMPO_DEVICE_FAULT);  // launch failure
  EXPECT_EQ(with_code(2).status, SMPO_OUT_OF_MEMORY);   // memory allocation
  EXPECT_EQ(with_code(1).status, SMPO_INTERNAL);        // invalid value
  EXPECT_EQ(with_code(1).detail, 1);
  EXPECT_EQ(with_code(98).status, SMPO_INTERNAL);  // invalid device function
}

TEST(Failure, AKernelErrorIsClassifiedLikeLibTorchs) {
  const auto with_code = [](int code) {
    return failure_of([code] { throw kernels::cuda::Error(code, "adamw: refused"); });
  };
  EXPECT_EQ(with_code(700).status, SMPO_DEVICE_FAULT);
  EXPECT_EQ(with_code(700).detail, 700);
  EXPECT_STREQ(with_code(700).message, "adamw: refused");
  EXPECT_EQ(with_code(2).status, SMPO_OUT_OF_MEMORY);
  EXPECT_EQ(with_code(1).status, SMPO_INTERNAL);
}

TEST(Failure, TextIsCutBetweenCharacters) {
  std::array<char, 8> target{};
  copy_text(target.data(), target.size(), "1234567");
  EXPECT_STREQ(target.data(), "1234567");
  copy_text(target.data(), target.size(), "12345678");
  EXPECT_STREQ(target.data(), "1234567");
  copy_text(target.data(), target.size(), "12345\u00e9");  // two bytes: fits
  EXPECT_STREQ(target.data(), "12345\u00e9");
  copy_text(target.data(), target.size(), "123456\u00e9");  // would be cut in the middle
  EXPECT_STREQ(target.data(), "123456");
  copy_text(target.data(), target.size(), "12345\u20ac");  // three bytes
  EXPECT_STREQ(target.data(), "12345");
  copy_text(target.data(), 1, "x");
  EXPECT_STREQ(target.data(), "");
}

TEST(Failure, WhereMemoryRunsOutTheAdviceComesFirst) {
  const auto advised = [](FunctionRef body) {
    return failure_of([body] { with_memory_advice(body, "batch.pairs: lower it"); });
  };
  const Failure torch = advised([] { TORCH_CHECK_WITH(OutOfMemoryError, false, "CUDA out of memory. Tried 2 GiB"); });
  EXPECT_EQ(torch.status, SMPO_OUT_OF_MEMORY);
  EXPECT_TRUE(std::string(torch.message).starts_with("batch.pairs: lower it: CUDA out of memory. Tried 2 GiB"))
      << torch.message;
  EXPECT_EQ(advised([] { throw std::bad_alloc(); }).status, SMPO_OUT_OF_MEMORY);
  EXPECT_STREQ(advised([] { throw std::runtime_error("other"); }).message, "other");
}

TEST(Failure, ContextsComeBeforeTheCauseWhoseStatusCounts) {
  const auto within = [](const char* doing, FunctionRef body) { in_context([&] { return std::string(doing); }, body); };
  const Failure failure = failure_of([&] {
    within("pairs 4..7 of 16",
           [&] { within("forward of the reference", [] { throw Error(SMPO_NON_FINITE, "w", 5); }); });
  });
  EXPECT_EQ(failure.status, SMPO_NON_FINITE);
  EXPECT_EQ(failure.detail, 5);
  EXPECT_STREQ(failure.message, "pairs 4..7 of 16: forward of the reference: w");

  const Failure memory = failure_of(
      [&] { with_memory_advice([&] { within("step 3", [] { throw std::bad_alloc(); }); }, "batch.pairs: lower it"); });
  EXPECT_EQ(memory.status, SMPO_OUT_OF_MEMORY);
  EXPECT_STREQ(memory.message, "batch.pairs: lower it: step 3: host memory: an allocation failed");

  const Failure foreign = failure_of([&] { within("step 3", [] { throw 42; }); });
  EXPECT_EQ(foreign.status, SMPO_INTERNAL);
  EXPECT_STREQ(foreign.message, "step 3: an exception of a foreign type");
  EXPECT_NO_THROW(within("step 3", [] {}));
}

TEST(Failure, ALongContextIsCutAndTheStatusKept) {
  const Failure failure = failure_of(
      [] { in_context([] { return std::string(5000, 'x'); }, [] { throw Error(SMPO_CANCELLED, "stopped"); }); });
  EXPECT_EQ(failure.status, SMPO_CANCELLED);
  EXPECT_EQ(std::strlen(failure.message), sizeof failure.message - 1);
}

TEST(Failure, ALongMessageIsCut) {
  const Failure failure = failure_of([] { throw Error(SMPO_INTERNAL, std::string(5000, 'x')); });
  EXPECT_EQ(std::strlen(failure.message), sizeof failure.message - 1);
}

}  // namespace
}  // namespace smpo::engine
