#include "engine/tensor_spec.h"

#include <algorithm>

#include "engine/error.h"

namespace smpo::engine {

TensorSpec::TensorSpec(int32_t dtype, std::span<const int64_t> shape) : dtype_(dtype), rank_(0), elements_(1) {
  const int64_t element = element_size(dtype);
  if (shape.size() > SMPO_MAX_RANK) {
    fail(SMPO_INVALID_ARGUMENT, "rank: expected 0..", SMPO_MAX_RANK, ", got ", shape.size());
  }
  rank_ = static_cast<int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), shape_.begin());
  // Counts an empty dimension as 1, because row-major strides skip it and must fit as well.
  int64_t span = element;
  for (const int64_t size : shape) {
    if (size < 0) fail(SMPO_INVALID_ARGUMENT, "shape: expected sizes of 0 or more, got ", shape_text(shape));
    if (__builtin_mul_overflow(span, std::max<int64_t>(size, 1), &span)) {
      fail(SMPO_INVALID_ARGUMENT, "shape: expected at most ", INT64_MAX, " bytes, got ", shape_text(shape), " of ",
           dtype_name(dtype));
    }
  }
  for (const int64_t size : shape) elements_ *= size;
}

int64_t TensorSpec::element_size(int32_t dtype) {
  switch (dtype) {
    case SMPO_F32:
    case SMPO_I32:
      return 4;
    case SMPO_BF16:
    case SMPO_F16:
      return 2;
    case SMPO_I64:
      return 8;
    default:
      fail(SMPO_INVALID_ARGUMENT, "dtype: expected ", SMPO_F32, "..", SMPO_I64, ", got ", dtype);
  }
}

void require_same(const TensorSpec& expected, const TensorSpec& got) {
  if (got.dtype() != expected.dtype()) {
    fail(SMPO_DTYPE_MISMATCH, "dtype: expected ", dtype_name(expected.dtype()), ", got ", dtype_name(got.dtype()));
  }
  if (got != expected) {
    fail(SMPO_SHAPE_MISMATCH, "shape: expected ", shape_text(expected.shape()), ", got ", shape_text(got.shape()));
  }
}

const char* dtype_name(int32_t dtype) {
  switch (dtype) {
    case SMPO_F32:
      return "f32";
    case SMPO_BF16:
      return "bf16";
    case SMPO_F16:
      return "f16";
    case SMPO_I32:
      return "i32";
    case SMPO_I64:
      return "i64";
    default:
      return "?";
  }
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ',';
    text += std::to_string(shape[i]);
  }
  return text += ']';
}

}  // namespace smpo::engine
