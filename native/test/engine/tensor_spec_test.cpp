#include "engine/tensor_spec.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/error.h"

namespace smpo::engine {
namespace {

void expect_refused(int32_t dtype, const std::vector<int64_t>& shape, const char* reason) {
  try {
    const TensorSpec spec(dtype, shape);
    FAIL() << shape_text(shape) << " was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SMPO_INVALID_ARGUMENT);
    EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
  }
}

TEST(TensorSpec, CountsElementsAndBytes) {
  EXPECT_EQ(TensorSpec(SMPO_F32, std::vector<int64_t>{}).bytes(), 4);
  EXPECT_EQ(TensorSpec(SMPO_BF16, std::vector<int64_t>{2, 3, 5}).bytes(), 60);
  EXPECT_EQ(TensorSpec(SMPO_I64, std::vector<int64_t>{7}).bytes(), 56);
  EXPECT_EQ(TensorSpec(SMPO_F16, std::vector<int64_t>{4, 0, 9}).elements(), 0);
  EXPECT_EQ(TensorSpec(SMPO_F32, std::vector<int64_t>{(INT64_MAX / 4), 1}).bytes(), INT64_MAX / 4 * 4);
}

TEST(TensorSpec, RefusesWhatIsOutOfRange) {
  expect_refused(0, {1}, "dtype: expected 1..5, got 0");
  expect_refused(6, {1}, "dtype: expected 1..5, got 6");
  expect_refused(SMPO_F32, std::vector<int64_t>(9, 1), "rank: expected 0..8, got 9");
  expect_refused(SMPO_F32, {2, -1}, "shape: expected sizes of 0 or more, got [2,-1]");
  expect_refused(SMPO_F32, {INT64_MIN}, "shape: expected sizes of 0 or more");
}

TEST(TensorSpec, RefusesSizesThatOverflow) {
  expect_refused(SMPO_F32, {INT64_MAX / 4 + 1}, "shape: expected at most");
  expect_refused(SMPO_F32, {int64_t{1} << 31, int64_t{1} << 31}, "shape: expected at most");
  expect_refused(SMPO_I64, {1, INT64_MAX}, "shape: expected at most");
  // No elements, but strides that exceed 64 bits.
  expect_refused(SMPO_F32, {0, int64_t{1} << 62, int64_t{1} << 62}, "shape: expected at most");
}

TEST(TensorSpec, SaysWhatDiffers) {
  const TensorSpec own(SMPO_F32, std::vector<int64_t>{2, 4});
  require_same(own, TensorSpec(SMPO_F32, std::vector<int64_t>{2, 4}));
  try {
    require_same(own, TensorSpec(SMPO_F32, std::vector<int64_t>{2, 4, 1}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SMPO_SHAPE_MISMATCH);
    EXPECT_STREQ(error.what(), "shape: expected [2,4], got [2,4,1]");
  }
  try {
    require_same(own, TensorSpec(SMPO_I32, std::vector<int64_t>{2, 4}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), SMPO_DTYPE_MISMATCH);
    EXPECT_STREQ(error.what(), "dtype: expected f32, got i32");
  }
}

}  // namespace
}  // namespace smpo::engine
