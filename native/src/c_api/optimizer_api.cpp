#include <string>

#include "c_api/guard.h"
#include "engine/model.h"
#include "engine/optimizer.h"
#include "engine/session.h"

using smpo::c_api::decode;
using smpo::c_api::guarded;
using smpo::c_api::require_bytes;
using smpo::c_api::require_memory;
using smpo::c_api::require_pointer;
using smpo::c_api::require_range;
using smpo::c_api::require_struct;
using smpo::engine::fail;
using smpo::engine::Session;
using smpo::engine::TensorSpec;

SMPO_EXPORT smpo_status smpo_optimizer_open(smpo_session session, smpo_model model,
                                            const smpo_optimizer_options* options, smpo_optimizer* optimizer,
                                            smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    auto trained = s.model(model);
    require_struct(options, "options");
    require_range(options->kind, SMPO_OPTIMIZER_ADAMW, SMPO_OPTIMIZER_ADAFACTOR, "options.kind");
    require_range(options->scale_parameter, 0, 1, "options.scale_parameter");
    require_range(options->relative_step, 0, 1, "options.relative_step");
    require_range(options->warmup_init, 0, 1, "options.warmup_init");
    require_range(options->reserved, 0, 0, "options.reserved");
    require_pointer(optimizer, "optimizer");
    *optimizer = s.adopt(smpo::engine::open_optimizer(s, std::move(trained), *options,
                                                      options->comm == 0 ? nullptr : s.comm(options->comm)));
  });
}

SMPO_EXPORT smpo_status smpo_optimizer_step(smpo_session session, smpo_optimizer optimizer, double learning_rate,
                                            double max_grad_norm, smpo_step_outcome* outcome, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto stepped = s.optimizer(optimizer);
    require_struct(outcome, "outcome");
    *outcome = smpo::engine::step(s, *stepped, learning_rate, max_grad_norm);
  });
}

SMPO_EXPORT smpo_status smpo_optimizer_find_non_finite(smpo_session session, smpo_optimizer optimizer, char* name,
                                                       uint32_t capacity, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto searched = s.optimizer(optimizer);
    require_pointer(name, "name");
    constexpr uint32_t kLongest = sizeof(smpo_parameter_info::name);
    if (capacity < kLongest) {
      fail(SMPO_INVALID_ARGUMENT, "capacity: expected at least ", kLongest, ", got ", capacity);
    }
    smpo::engine::copy_text(name, capacity, smpo::engine::find_non_finite(*searched).c_str());
  });
}

SMPO_EXPORT smpo_status smpo_optimizer_describe(smpo_session session, smpo_optimizer optimizer,
                                                smpo_optimizer_info* info, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto described = s.optimizer(optimizer);
    require_struct(info, "info");
    *info = smpo::engine::describe(*described);
  });
}

SMPO_EXPORT smpo_status smpo_optimizer_state(smpo_session session, smpo_optimizer optimizer, uint32_t index,
                                             smpo_state_info* info, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto described = s.optimizer(optimizer);
    require_struct(info, "info");
    *info = smpo::engine::describe_state(*described, index);
  });
}

SMPO_EXPORT smpo_status smpo_optimizer_read_state(smpo_session session, smpo_optimizer optimizer, const char* name,
                                                  const smpo_tensor_spec* spec, void* data, uint64_t bytes,
                                                  smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto source = s.optimizer(optimizer);
    require_pointer(name, "name");
    const TensorSpec decoded = decode(spec);
    require_bytes(decoded, bytes);
    require_memory(data, bytes, "data");
    smpo::engine::read_state(s, *source, name, decoded, data);
  });
}

SMPO_EXPORT smpo_status smpo_optimizer_write_state(smpo_session session, smpo_optimizer optimizer, const char* name,
                                                   const smpo_tensor_spec* spec, const void* data, uint64_t bytes,
                                                   smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto target = s.optimizer(optimizer);
    require_pointer(name, "name");
    const TensorSpec decoded = decode(spec);
    require_bytes(decoded, bytes);
    require_memory(data, bytes, "data");
    smpo::engine::write_state(*target, name, decoded, data);
  });
}

SMPO_EXPORT smpo_status smpo_optimizer_set_steps(smpo_session session, smpo_optimizer optimizer, int64_t steps,
                                                 smpo_error* error) {
  return guarded(__func__, session, error,
                 [&](Session& s) { smpo::engine::set_steps(*s.optimizer(optimizer), steps); });
}

SMPO_EXPORT smpo_status smpo_optimizer_copy_ema(smpo_session session, smpo_optimizer optimizer, smpo_model model,
                                                smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto source = s.optimizer(optimizer);
    smpo::engine::copy_ema(*source, *s.model(model));
  });
}

SMPO_EXPORT smpo_status smpo_optimizer_close(smpo_session session, smpo_optimizer optimizer, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { s.close_optimizer(optimizer); });
}
