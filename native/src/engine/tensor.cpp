#include "engine/tensor.h"

#include <ATen/ops/aminmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>

#include "engine/error.h"
#include "engine/session.h"
#include "engine/tensor_value.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"
#include "kernels/philox_normal.h"
#include "tape/kernel_call.h"

namespace smpo::engine {
namespace {

// Number of values generated between two checks of the cancel flag, and the size of the scratch buffer for narrower
// dtypes: a few milliseconds of work, enough for every thread to get a share.
constexpr int64_t kValuesPerDraw = int64_t{1} << 20;

constexpr int64_t kItemEnd = int64_t{1} << 56;
constexpr uint32_t kPurposeEnd = 256;
constexpr int64_t kMostRowElements = int64_t{1} << 34;  // the kernel's own limit

at::IntArrayRef sizes(const TensorSpec& spec) { return {spec.shape().data(), spec.shape().size()}; }

at::TensorOptions options(const Session& session, int32_t dtype) {
  return at::TensorOptions().dtype(scalar_type(dtype)).device(torch_device(session));
}

bool on_cpu(const Session& session) { return session.device().type() == SMPO_DEVICE_CPU; }

}  // namespace

at::ScalarType scalar_type(int32_t dtype) {
  switch (dtype) {
    case SMPO_F32:
      return at::kFloat;
    case SMPO_BF16:
      return at::kBFloat16;
    case SMPO_F16:
      return at::kHalf;
    case SMPO_I32:
      return at::kInt;
    case SMPO_I64:
      return at::kLong;
    default:
      fail(SMPO_INVALID_ARGUMENT, "dtype: expected ", SMPO_F32, "..", SMPO_I64, ", got ", dtype);
  }
}

int32_t dtype_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return SMPO_F32;
    case at::kBFloat16:
      return SMPO_BF16;
    case at::kHalf:
      return SMPO_F16;
    case at::kInt:
      return SMPO_I32;
    case at::kLong:
      return SMPO_I64;
    default:
      fail(SMPO_INTERNAL, "tensor: a type that has no number in smpo.h: ", at::toString(type));
  }
}

at::Device torch_device(const Session& session) {
  const Device& device = session.device();
  if (device.type() == SMPO_DEVICE_CPU) return at::Device(at::kCPU);
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device.index()));
}

std::shared_ptr<Tensor> hold(at::Tensor value) {
  return std::make_shared<Tensor>(Tensor{value.contiguous(at::MemoryFormat::Contiguous)});
}

at::Tensor view_of_host(const TensorSpec& spec, void* data) {
  return at::from_blob(data, sizes(spec), at::TensorOptions().dtype(scalar_type(spec.dtype())));
}

std::string shape_text(const at::Tensor& tensor) {
  return shape_text(std::span(tensor.sizes().data(), tensor.sizes().size()));
}

const at::Tensor& require_f32(const at::Tensor& value, const char* name) {
  if (value.scalar_type() != at::kFloat) {
    fail(SMPO_DTYPE_MISMATCH, name, ": expected f32, got ", dtype_name(dtype_of(value.scalar_type())));
  }
  return value;
}

const at::Tensor& require_floating(const at::Tensor& value, const char* name) {
  if (!at::isFloatingType(value.scalar_type())) {
    fail(SMPO_DTYPE_MISMATCH, name, ": expected a floating type, got ", dtype_name(dtype_of(value.scalar_type())));
  }
  return value;
}

std::shared_ptr<Tensor> zeros(Session& session, const TensorSpec& spec) {
  return hold(at::zeros(sizes(spec), options(session, spec.dtype())));
}

std::shared_ptr<Tensor> from_host(Session& session, const TensorSpec& spec, const void* data) {
  if (spec.bytes() > 0 && !on_cpu(session)) {
    return hold(upload(view_of_host(spec, const_cast<void*>(data)), torch_device(session)));
  }
  at::Tensor value = at::empty(sizes(spec), options(session, spec.dtype()));
  if (spec.bytes() > 0) std::memcpy(value.mutable_data_ptr(), data, static_cast<size_t>(spec.bytes()));
  return hold(std::move(value));
}

void to_host(Session& session, const Tensor& tensor, void* data) {
  const TensorSpec spec = describe(tensor);
  if (spec.bytes() == 0) return;
  if (on_cpu(session)) {
    std::memcpy(data, tensor.value.const_data_ptr(), static_cast<size_t>(spec.bytes()));
  } else {
    view_of_host(spec, data).copy_(download(session, tensor.value));
  }
}

TensorSpec describe(const Tensor& tensor) {
  const at::IntArrayRef shape = tensor.value.sizes();
  return TensorSpec(dtype_of(tensor.value.scalar_type()), {shape.data(), shape.size()});
}

std::shared_ptr<Tensor> convert(Session& session, const Tensor& tensor, int32_t dtype) {
  const TensorSpec own = describe(tensor);
  const TensorSpec converted(dtype, own.shape());
  if (own.floating() != converted.floating()) {
    fail(SMPO_UNSUPPORTED, "dtype: expected ", own.floating() ? "a floating type" : "an integer type",
         " for a tensor of ", dtype_name(own.dtype()), ", got ", dtype_name(dtype));
  }
  if (own.dtype() == SMPO_I64 && dtype == SMPO_I32 && own.elements() > 0) {
    const auto [least, most] = at::aminmax(tensor.value);
    for (const int64_t value : {least.item<int64_t>(), most.item<int64_t>()}) {
      if (value != static_cast<int32_t>(value)) {
        fail(SMPO_INVALID_ARGUMENT, "tensor: expected values that fit i32, got ", value);
      }
    }
  }
  at::Tensor value = at::empty(sizes(converted), options(session, dtype));
  value.copy_(tensor.value);
  return hold(std::move(value));
}

void fill_normal(Session& session, Tensor& tensor, uint32_t purpose, uint32_t step, std::span<const int64_t> items) {
  const TensorSpec own = describe(tensor);
  if (!own.floating()) {
    fail(SMPO_DTYPE_MISMATCH, "tensor: expected a floating type, got ", dtype_name(own.dtype()));
  }
  const std::span<const int64_t> shape = own.shape();
  if (shape.empty() || static_cast<uint64_t>(shape[0]) != items.size()) {
    fail(SMPO_SHAPE_MISMATCH, "count: expected the tensor's first dimension of ", shape_text(shape), ", got ",
         items.size());
  }
  if (purpose >= kPurposeEnd) fail(SMPO_INVALID_ARGUMENT, "purpose: expected 0..", kPurposeEnd - 1, ", got ", purpose);
  for (size_t row = 0; row < items.size(); ++row) {
    if (items[row] < 0 || items[row] >= kItemEnd) {
      fail(SMPO_INVALID_ARGUMENT, "items: expected 0..", kItemEnd - 1, ", got ", items[row], " at ", row);
    }
  }
  session.stop_if_cancelled();
  if (own.elements() == 0) return;

  const auto rows = static_cast<int64_t>(items.size());
  const int64_t elements = own.elements() / rows;
  if (elements > kMostRowElements) {
    fail(SMPO_UNSUPPORTED, "tensor: expected rows of at most ", kMostRowElements, " values, got ", elements);
  }
  // The kernel writes f32. For other dtypes it writes to a scratch buffer, a few rows at a time.
  const int64_t rows_per_draw = std::clamp<int64_t>(kValuesPerDraw / elements, 1, rows);
  const bool direct = own.dtype() == SMPO_F32;
  at::Tensor scratch;
  if (!direct) scratch = at::empty({rows_per_draw, elements}, options(session, SMPO_F32));
  const at::Tensor target = tensor.value.view({rows, elements});
  const auto items_tensor = at::from_blob(const_cast<int64_t*>(items.data()), {rows}, at::kLong);
  const at::Tensor items_device = on_cpu(session) ? items_tensor : upload(items_tensor, target.device());
  for (int64_t row = 0; row < rows; row += rows_per_draw) {
    if (row > 0) session.stop_if_cancelled();
    const int64_t count = std::min(rows_per_draw, rows - row);
    float* out = direct ? target.mutable_data_ptr<float>() + row * elements : scratch.mutable_data_ptr<float>();
    tape::kernels_of(target)(&kernels::Families::philox_normal,
                             {.out = out,
                              .rows = count,
                              .elements = elements,
                              .seed = session.seed(),
                              .purpose = purpose,
                              .step = step,
                              .items = items_device.const_data_ptr<int64_t>() + row});
    if (!direct) target.narrow(0, row, count).copy_(scratch.narrow(0, 0, count));
  }
}

}  // namespace smpo::engine
