#include "c_api/guard.h"

#include <cstring>

namespace smpo::c_api {

smpo_status report(const char* function, const engine::Failure& failure, smpo_error* error) noexcept {
  if (error != nullptr) {
    error->code = failure.status;
    error->detail = failure.detail;
    size_t length = 0;
    for (const char* part : {function, ": ", failure.message}) {
      engine::copy_text(error->message + length, sizeof error->message - length, part);
      length += std::strlen(error->message + length);
    }
  }
  return failure.status;
}

void require_bytes(const engine::TensorSpec& spec, uint64_t bytes) {
  if (bytes != static_cast<uint64_t>(spec.bytes())) {
    engine::fail(SMPO_SHAPE_MISMATCH, "bytes: expected ", spec.bytes(), " for ", engine::shape_text(spec.shape()),
                 " of ", engine::dtype_name(spec.dtype()), ", got ", bytes);
  }
}

engine::TensorSpec decode(const smpo_tensor_spec* spec) {
  require_struct(spec, "spec");
  require_range(spec->rank, 0, SMPO_MAX_RANK, "spec.rank");
  require_range(spec->reserved, 0, 0, "spec.reserved");
  for (int32_t i = spec->rank; i < SMPO_MAX_RANK; ++i) {
    if (spec->shape[i] != 0) {
      engine::fail(SMPO_INVALID_ARGUMENT, "spec.shape: expected 0 in entries from the rank (", spec->rank, ") on, got ",
                   spec->shape[i], " at ", i);
    }
  }
  return engine::TensorSpec(spec->dtype, {spec->shape, static_cast<size_t>(spec->rank)});
}

}  // namespace smpo::c_api
