// Helpers for the tests of the C API: structs with their size set, a session that closes itself, names of statuses.
#ifndef SMPO_TEST_C_API_BORDER_H_
#define SMPO_TEST_C_API_BORDER_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "smpo.h"

namespace smpo::test {

/// Returns a zeroed struct of smpo.h with its size set.
template <typename Struct>
Struct sized() {
  Struct value{};
  value.size = sizeof value;
  return value;
}

inline smpo_session_config cpu_config() {
  auto config = sized<smpo_session_config>();
  config.device_type = SMPO_DEVICE_CPU;
  config.threads = 2;
  config.seed = 42;
  config.log_capacity = 64;
  return config;
}

inline smpo_tensor_spec spec_of(int32_t dtype, std::initializer_list<int64_t> shape) {
  auto spec = sized<smpo_tensor_spec>();
  spec.dtype = dtype;
  for (const int64_t size : shape) spec.shape[spec.rank++] = size;
  return spec;
}

inline uint64_t elements_of(const smpo_tensor_spec& spec) {
  uint64_t elements = 1;
  for (int32_t i = 0; i < spec.rank; ++i) elements *= static_cast<uint64_t>(spec.shape[i]);
  return elements;
}

/// Expects success; shows the error message otherwise.
#define EXPECT_OK(call)                                                     \
  do {                                                                      \
    const smpo_status expect_ok_status = (call);                            \
    EXPECT_EQ(expect_ok_status, SMPO_OK) << #call << ": " << error.message; \
  } while (0)
#define ASSERT_OK(call)                                                     \
  do {                                                                      \
    const smpo_status assert_ok_status = (call);                            \
    ASSERT_EQ(assert_ok_status, SMPO_OK) << #call << ": " << error.message; \
  } while (0)

/// An open session on the CPU, closed at the end of the test.
class BorderTest : public ::testing::Test {
 protected:
  BorderTest() { EXPECT_OK(smpo_session_open(&config, &session, &error)); }
  ~BorderTest() override {
    if (session != 0) {
      EXPECT_EQ(smpo_session_close(session, nullptr), SMPO_OK);
    }
  }

  smpo_tensor zeros(const smpo_tensor_spec& spec) {
    smpo_tensor tensor = 0;
    EXPECT_OK(smpo_tensor_zeros(session, &spec, &tensor, &error));
    return tensor;
  }
  template <typename Value>
  smpo_tensor from_host(const smpo_tensor_spec& spec, const std::vector<Value>& values) {
    smpo_tensor tensor = 0;
    EXPECT_OK(smpo_tensor_from_host(session, &spec, values.data(), values.size() * sizeof(Value), &tensor, &error));
    return tensor;
  }
  template <typename Value>
  std::vector<Value> to_host(smpo_tensor tensor) {
    auto spec = sized<smpo_tensor_spec>();
    EXPECT_OK(smpo_tensor_describe(session, tensor, &spec, &error));
    std::vector<Value> values(elements_of(spec));
    EXPECT_OK(smpo_tensor_to_host(session, tensor, &spec, values.data(), values.size() * sizeof(Value), &error));
    return values;
  }
  smpo_tensor convert(smpo_tensor tensor, int32_t dtype) {
    smpo_tensor converted = 0;
    EXPECT_OK(smpo_tensor_convert(session, tensor, dtype, &converted, &error));
    return converted;
  }
  void close(smpo_tensor tensor) { EXPECT_OK(smpo_tensor_close(session, tensor, &error)); }
  smpo_session_statistics statistics() {
    auto result = sized<smpo_session_statistics>();
    EXPECT_OK(smpo_session_describe(session, &result, &error));
    return result;
  }

  smpo_error error = sized<smpo_error>();
  smpo_session_config config = cpu_config();
  smpo_session session = 0;
};

/// Names of the functions that smpo.h declares, read from its text.
std::set<std::string> declared_functions();

}  // namespace smpo::test

#endif  // SMPO_TEST_C_API_BORDER_H_
