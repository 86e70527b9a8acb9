#include "engine/tensor.h"

#include "c_api/guard.h"
#include "engine/session.h"

using smpo::c_api::decode;
using smpo::c_api::guarded;
using smpo::c_api::require_bytes;
using smpo::c_api::require_memory;
using smpo::c_api::require_pointer;
using smpo::c_api::require_struct;
using smpo::engine::Session;
using smpo::engine::TensorSpec;

SMPO_EXPORT smpo_status smpo_tensor_zeros(smpo_session session, const smpo_tensor_spec* spec, smpo_tensor* tensor,
                                          smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const TensorSpec decoded = decode(spec);
    require_pointer(tensor, "tensor");
    *tensor = s.adopt(smpo::engine::zeros(s, decoded));
  });
}

SMPO_EXPORT smpo_status smpo_tensor_from_host(smpo_session session, const smpo_tensor_spec* spec, const void* data,
                                              uint64_t bytes, smpo_tensor* tensor, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const TensorSpec decoded = decode(spec);
    require_bytes(decoded, bytes);
    require_memory(data, bytes, "data");
    require_pointer(tensor, "tensor");
    *tensor = s.adopt(smpo::engine::from_host(s, decoded, data));
  });
}

SMPO_EXPORT smpo_status smpo_tensor_to_host(smpo_session session, smpo_tensor tensor, const smpo_tensor_spec* spec,
                                            void* data, uint64_t bytes, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto source = s.tensor(tensor);
    const TensorSpec decoded = decode(spec);
    smpo::engine::require_same(smpo::engine::describe(*source), decoded);
    require_bytes(decoded, bytes);
    require_memory(data, bytes, "data");
    smpo::engine::to_host(s, *source, data);
  });
}

SMPO_EXPORT smpo_status smpo_tensor_describe(smpo_session session, smpo_tensor tensor, smpo_tensor_spec* spec,
                                             smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto described = s.tensor(tensor);
    require_struct(spec, "spec");
    const TensorSpec own = smpo::engine::describe(*described);
    smpo_tensor_spec result{};
    result.size = sizeof result;
    result.dtype = own.dtype();
    for (const int64_t size : own.shape()) result.shape[result.rank++] = size;
    *spec = result;
  });
}

SMPO_EXPORT smpo_status smpo_tensor_convert(smpo_session session, smpo_tensor tensor, int32_t dtype,
                                            smpo_tensor* converted, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto source = s.tensor(tensor);
    require_pointer(converted, "converted");
    *converted = s.adopt(smpo::engine::convert(s, *source, dtype));
  });
}

SMPO_EXPORT smpo_status smpo_tensor_fill_normal(smpo_session session, smpo_tensor tensor, uint32_t purpose,
                                                uint32_t step, const int64_t* items, uint64_t count,
                                                smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto target = s.tensor(tensor);
    if (items == nullptr && count > 0) require_pointer(items, "items");
    smpo::engine::fill_normal(s, *target, purpose, step, {items, static_cast<size_t>(count)});
  });
}

SMPO_EXPORT smpo_status smpo_tensor_close(smpo_session session, smpo_tensor tensor, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { s.close_tensor(tensor); });
}
