// One test per status: a real cause (or a request, where this build has no real cause yet) returns the status's number
// and message, and the session remains usable unless the status says otherwise.

#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "c_api/border.h"

namespace smpo::test {
namespace {

class StatusTest : public BorderTest {
 protected:
  void expect_usable() { close(zeros(spec_of(SMPO_F32, {2}))); }
  smpo_status raise(int32_t kind, smpo_status status = SMPO_OK) {
    return smpo_debug_raise(session, kind, status, &error);
  }
};

TEST_F(StatusTest, Ok) { EXPECT_EQ(raise(SMPO_RAISE_NOTHING), SMPO_OK); }

TEST_F(StatusTest, InvalidArgument) {
  EXPECT_EQ(smpo_tensor_zeros(session, nullptr, nullptr, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_STREQ(error.message, "smpo_tensor_zeros: spec: expected a pointer, got null");
  EXPECT_EQ(error.code, SMPO_INVALID_ARGUMENT);
  EXPECT_EQ(error.detail, 0);
  expect_usable();
}

TEST_F(StatusTest, ShapeMismatch) {
  const smpo_tensor tensor = zeros(spec_of(SMPO_F32, {2, 4}));
  const auto other = spec_of(SMPO_F32, {4, 2});
  float data[8];
  EXPECT_EQ(smpo_tensor_to_host(session, tensor, &other, data, sizeof data, &error), SMPO_SHAPE_MISMATCH);
  EXPECT_STREQ(error.message, "smpo_tensor_to_host: shape: expected [2,4], got [4,2]");
  expect_usable();
}

TEST_F(StatusTest, DtypeMismatch) {
  const smpo_tensor tensor = zeros(spec_of(SMPO_I32, {2}));
  const int64_t items[2] = {0, 1};
  EXPECT_EQ(smpo_tensor_fill_normal(session, tensor, 0, 0, items, 2, &error), SMPO_DTYPE_MISMATCH);
  EXPECT_STREQ(error.message, "smpo_tensor_fill_normal: tensor: expected a floating type, got i32");
  expect_usable();
}

TEST_F(StatusTest, InvalidHandle) {
  EXPECT_EQ(smpo_tensor_close(session, 0, &error), SMPO_INVALID_HANDLE);
  EXPECT_STREQ(error.message, "smpo_tensor_close: tensor: expected a tensor handle, got the null handle");
  expect_usable();
}

TEST_F(StatusTest, WrongThread) {
  smpo_status status = SMPO_OK;
  std::thread([&] { status = smpo_session_synchronize(session, &error); }).join();
  EXPECT_EQ(status, SMPO_WRONG_THREAD);
  EXPECT_STREQ(
      error.message,
      "smpo_session_synchronize: session: expected a call from the thread that opened it, got one from another");
  expect_usable();
}

TEST_F(StatusTest, Unsupported) {
  const smpo_tensor tensor = zeros(spec_of(SMPO_F32, {2}));
  smpo_tensor converted = 0;
  EXPECT_EQ(smpo_tensor_convert(session, tensor, SMPO_I32, &converted, &error), SMPO_UNSUPPORTED);
  EXPECT_STREQ(error.message, "smpo_tensor_convert: dtype: expected a floating type for a tensor of f32, got i32");
  expect_usable();
}

TEST_F(StatusTest, UnsupportedDevice) {
  auto cuda = sized<smpo_cuda_info>();
  EXPECT_OK(smpo_cuda_describe(&cuda, &error));
  if (cuda.device_count > 0) GTEST_SKIP() << "this machine has a CUDA device that the library can use";
  config.device_type = SMPO_DEVICE_CUDA;
  smpo_session other = 99;
  EXPECT_EQ(smpo_session_open(&config, &other, &error), SMPO_UNSUPPORTED);
  EXPECT_NE(std::string(error.message).find(cuda.problem), std::string::npos) << error.message;
  EXPECT_EQ(other, 99u);
}

TEST_F(StatusTest, OutOfMemory) {
  // A pebibyte: more than any machine has, but a valid size.
  const auto spec = spec_of(SMPO_F32, {int64_t{1} << 20, int64_t{1} << 28});
  smpo_tensor tensor = 99;
  EXPECT_EQ(smpo_tensor_zeros(session, &spec, &tensor, &error), SMPO_OUT_OF_MEMORY);
  EXPECT_TRUE(std::string(error.message).starts_with("smpo_tensor_zeros: host memory: 1125899906842624 bytes"))
      << error.message;
  EXPECT_EQ(tensor, 99u);
  expect_usable();
}

TEST_F(StatusTest, DeviceFault) {
  EXPECT_EQ(raise(SMPO_RAISE_DEVICE_FAULT), SMPO_DEVICE_FAULT);
  EXPECT_EQ(error.code, SMPO_DEVICE_FAULT);
  EXPECT_EQ(error.detail, 719) << "cudaErrorLaunchFailure";
  EXPECT_STREQ(error.message, "smpo_debug_raise: raised on request: a sticky device error");
}

TEST_F(StatusTest, SessionPoisoned) {
  EXPECT_EQ(raise(SMPO_RAISE_DEVICE_FAULT), SMPO_DEVICE_FAULT);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(smpo_session_trim(session, &error), SMPO_SESSION_POISONED);
    EXPECT_EQ(error.detail, 719);
    EXPECT_STREQ(error.message,
                 "smpo_session_trim: session: unusable since an earlier device fault: "
                 "raised on request: a sticky device error");
  }
  EXPECT_OK(smpo_session_close(session, &error));
  EXPECT_OK(smpo_session_open(&config, &session, &error));
  expect_usable();
}

TEST_F(StatusTest, Cancelled) {
  const smpo_tensor tensor = zeros(spec_of(SMPO_F32, {1, 4}));
  const int64_t item = 0;
  EXPECT_OK(smpo_session_cancel(session, &error));
  EXPECT_EQ(smpo_tensor_fill_normal(session, tensor, 0, 0, &item, 1, &error), SMPO_CANCELLED);
  EXPECT_STREQ(error.message, "smpo_tensor_fill_normal: stopped by smpo_session_cancel");
  EXPECT_OK(smpo_tensor_fill_normal(session, tensor, 0, 0, &item, 1, &error));
  expect_usable();
}

TEST_F(StatusTest, NonFinite) {
  EXPECT_EQ(raise(SMPO_RAISE_ENGINE_ERROR, SMPO_NON_FINITE), SMPO_NON_FINITE);
  EXPECT_STREQ(error.message, "smpo_debug_raise: raised on request: an engine error with status 11");
  expect_usable();
}

TEST_F(StatusTest, Internal) {
  EXPECT_EQ(raise(SMPO_RAISE_RUNTIME_ERROR), SMPO_INTERNAL);
  EXPECT_STREQ(error.message, "smpo_debug_raise: raised on request: std::runtime_error");
  expect_usable();
}

// No exception crosses the C API, whatever its type.
TEST_F(StatusTest, EveryKindOfException) {
  const struct {
    int32_t kind;
    smpo_status status;
    const char* message;
  } kinds[] = {
      {SMPO_RAISE_INVALID_ARGUMENT, SMPO_INVALID_ARGUMENT, "raised on request: std::invalid_argument"},
      {SMPO_RAISE_BAD_ALLOC, SMPO_OUT_OF_MEMORY, "host memory: an allocation failed"},
      {SMPO_RAISE_RUNTIME_ERROR, SMPO_INTERNAL, "raised on request: std::runtime_error"},
      {SMPO_RAISE_TORCH_ERROR, SMPO_INTERNAL, "raised on request: c10::Error"},
      {SMPO_RAISE_TORCH_OUT_OF_MEMORY, SMPO_OUT_OF_MEMORY, "raised on request: c10::OutOfMemoryError"},
      {SMPO_RAISE_FOREIGN, SMPO_INTERNAL, "an exception of a foreign type"},
  };
  for (const auto& [kind, status, message] : kinds) {
    EXPECT_EQ(raise(kind), status) << kind;
    EXPECT_EQ(error.code, status) << kind;
    EXPECT_EQ(error.detail, 0) << kind;
    EXPECT_EQ(std::string(error.message), std::string("smpo_debug_raise: ") + message);
    expect_usable();
  }
}

TEST_F(StatusTest, EveryStatusOfTheEnginesOwnException) {
  for (smpo_status status = SMPO_INVALID_ARGUMENT; status <= SMPO_PEER_LOST; ++status) {
    if (status == SMPO_DEVICE_FAULT) continue;
    EXPECT_EQ(raise(SMPO_RAISE_ENGINE_ERROR, status), status);
    EXPECT_EQ(error.code, status);
    expect_usable();
  }
  EXPECT_EQ(raise(SMPO_RAISE_ENGINE_ERROR, SMPO_DEVICE_FAULT), SMPO_DEVICE_FAULT);
  EXPECT_EQ(raise(SMPO_RAISE_NOTHING), SMPO_SESSION_POISONED);
}

}  // namespace
}  // namespace smpo::test
