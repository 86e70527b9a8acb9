#include <string>
#include <string_view>
#include <vector>

#include "c_api/guard.h"
#include "c_api/model_options.h"
#include "c_api/unet_tensors.h"
#include "engine/model.h"
#include "engine/session.h"

using smpo::c_api::check_options;
using smpo::c_api::decode;
using smpo::c_api::guarded;
using smpo::c_api::require_bytes;
using smpo::c_api::require_memory;
using smpo::c_api::require_pointer;
using smpo::c_api::require_range;
using smpo::c_api::require_struct;
using smpo::c_api::require_zeros_beyond_levels;
using smpo::engine::fail;
using smpo::engine::Session;
using smpo::engine::TensorSpec;

namespace {

void require_flags(const int32_t (&values)[SMPO_MAX_LEVELS], const char* name) {
  for (int32_t i = 0; i < SMPO_MAX_LEVELS; ++i) {
    if (values[i] != 0 && values[i] != 1) {
      fail(SMPO_INVALID_ARGUMENT, name, "[", i, "]: expected 0..1, got ", values[i]);
    }
  }
}

void check(const smpo_unet_spec* spec) {
  require_struct(spec, "spec");
  require_range(spec->levels, 1, SMPO_MAX_LEVELS, "spec.levels");
  require_range(spec->use_linear_projection, 0, 1, "spec.use_linear_projection");
  require_range(spec->flip_sin_to_cos, 0, 1, "spec.flip_sin_to_cos");
  require_zeros_beyond_levels(spec->block_out_channels, spec->levels, "spec.block_out_channels");
  require_zeros_beyond_levels(spec->down_attention, spec->levels, "spec.down_attention");
  require_zeros_beyond_levels(spec->up_attention, spec->levels, "spec.up_attention");
  require_zeros_beyond_levels(spec->layers_per_block, spec->levels, "spec.layers_per_block");
  require_zeros_beyond_levels(spec->transformer_layers, spec->levels, "spec.transformer_layers");
  require_zeros_beyond_levels(spec->attention_heads, spec->levels, "spec.attention_heads");
  require_flags(spec->down_attention, "spec.down_attention");
  require_flags(spec->up_attention, "spec.up_attention");
}

}  // namespace

SMPO_EXPORT smpo_status smpo_unet_open(smpo_session session, const smpo_unet_spec* spec,
                                       const smpo_model_options* options, smpo_model* model, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    check(spec);
    check_options(options);
    require_pointer(model, "model");
    *model = s.adopt(smpo::engine::open_unet(s, *spec, *options));
  });
}

SMPO_EXPORT smpo_status smpo_model_describe(smpo_session session, smpo_model model, smpo_model_info* info,
                                            smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto described = s.model(model);
    require_struct(info, "info");
    *info = smpo::engine::describe(*described);
  });
}

SMPO_EXPORT smpo_status smpo_model_parameter(smpo_session session, smpo_model model, uint32_t index,
                                             smpo_parameter_info* info, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto described = s.model(model);
    require_struct(info, "info");
    *info = smpo::engine::describe_parameter(*described, index);
  });
}

SMPO_EXPORT smpo_status smpo_model_write_parameter(smpo_session session, smpo_model model, const char* name,
                                                   const smpo_tensor_spec* spec, const void* data, uint64_t bytes,
                                                   smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto target = s.model(model);
    require_pointer(name, "name");
    const TensorSpec decoded = decode(spec);
    require_bytes(decoded, bytes);
    require_memory(data, bytes, "data");
    smpo::engine::write_parameter(*target, name, decoded, data);
  });
}

SMPO_EXPORT smpo_status smpo_model_read_parameter(smpo_session session, smpo_model model, const char* name,
                                                  const smpo_tensor_spec* spec, void* data, uint64_t bytes,
                                                  smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto source = s.model(model);
    require_pointer(name, "name");
    const TensorSpec decoded = decode(spec);
    require_bytes(decoded, bytes);
    require_memory(data, bytes, "data");
    smpo::engine::read_parameter(s, *source, name, decoded, data);
  });
}

SMPO_EXPORT smpo_status smpo_model_read_gradient(smpo_session session, smpo_model model, const char* name,
                                                 const smpo_tensor_spec* spec, void* data, uint64_t bytes,
                                                 smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto source = s.model(model);
    require_pointer(name, "name");
    const TensorSpec decoded = decode(spec);
    require_bytes(decoded, bytes);
    require_memory(data, bytes, "data");
    smpo::engine::read_gradient(s, *source, name, decoded, data);
  });
}

SMPO_EXPORT smpo_status smpo_model_zero_gradients(smpo_session session, smpo_model model, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { smpo::engine::zero_gradients(*s.model(model)); });
}

SMPO_EXPORT smpo_status smpo_model_add_lora(smpo_session session, smpo_model model, const smpo_lora_spec* spec,
                                            smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto target = s.model(model);
    require_struct(spec, "spec");
    require_range(spec->rank, 1, INT32_MAX, "spec.rank");
    require_range(spec->module_count, 1, SMPO_MAX_LORA_MODULES, "spec.module_count");
    require_range(spec->reserved, 0, 0, "spec.reserved");
    require_pointer(spec->modules, "spec.modules");
    std::vector<std::string> modules;
    for (uint32_t i = 0; i < spec->module_count; ++i) {
      if (spec->modules[i] == nullptr) fail(SMPO_INVALID_ARGUMENT, "spec.modules[", i, "]: expected a name, got null");
      modules.emplace_back(spec->modules[i]);
    }
    smpo::engine::add_lora(*target, spec->rank, spec->alpha, std::move(modules));
  });
}

SMPO_EXPORT smpo_status smpo_model_set_lora_scale(smpo_session session, smpo_model model, double scale,
                                                  smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { smpo::engine::set_lora_scale(*s.model(model), scale); });
}

SMPO_EXPORT smpo_status smpo_model_merge_lora(smpo_session session, smpo_model model, double weight,
                                              smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { smpo::engine::merge_lora(*s.model(model), weight); });
}

SMPO_EXPORT smpo_status smpo_model_close(smpo_session session, smpo_model model, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) { s.close_model(model); });
}

SMPO_EXPORT smpo_status smpo_unet_forward(smpo_session session, smpo_model model, const smpo_unet_inputs* inputs,
                                          smpo_tensor* output, smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto unet = s.model(model);
    const auto tensors = smpo::c_api::decode(s, inputs);
    require_pointer(output, "output");
    *output = s.adopt(smpo::engine::unet_forward(s, *unet, tensors));
  });
}

SMPO_EXPORT smpo_status smpo_unet_backward(smpo_session session, smpo_model model, const smpo_unet_inputs* inputs,
                                           smpo_tensor cotangent, smpo_tensor* output, smpo_tensor* d_sample,
                                           smpo_error* error) {
  return guarded(__func__, session, error, [&](Session& s) {
    const auto unet = s.model(model);
    const auto tensors = smpo::c_api::decode(s, inputs);
    const auto seed = s.tensor(cotangent, "cotangent");
    require_pointer(output, "output");
    smpo::engine::UNetGradients result = smpo::engine::unet_backward(
        s, *unet, tensors, *seed, {.sample = d_sample != nullptr, .parameters = inputs->sample_only == 0});
    const smpo_tensor output_handle = s.adopt(std::move(result.output));
    if (d_sample != nullptr) *d_sample = s.adopt(std::move(result.d_sample));
    *output = output_handle;
  });
}
