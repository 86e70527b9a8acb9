#include "engine/model.h"

#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "engine/error.h"
#include "engine/failure.h"
#include "engine/model_value.h"
#include "engine/packing.h"
#include "engine/session.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"

namespace smpo::engine {

using models::ParameterGroup;
using models::UNet;
using models::Weights;

namespace {

models::UNetSpec decode(const smpo_unet_spec& spec) {
  models::UNetSpec decoded{.in_channels = spec.in_channels,
                           .out_channels = spec.out_channels,
                           .cross_attention_dim = spec.cross_attention_dim,
                           .use_linear_projection = spec.use_linear_projection == 1,
                           .norm_num_groups = spec.norm_num_groups,
                           .norm_eps = spec.norm_eps,
                           .flip_sin_to_cos = spec.flip_sin_to_cos == 1,
                           .freq_shift = spec.freq_shift,
                           .addition_time_embed_dim = spec.addition_time_embed_dim,
                           .projection_class_embeddings_input_dim = spec.projection_class_embeddings_input_dim};
  for (int32_t i = 0; i < spec.levels; ++i) {
    decoded.levels.push_back({.channels = spec.block_out_channels[i],
                              .layers = spec.layers_per_block[i],
                              .down_attention = spec.down_attention[i] == 1,
                              .up_attention = spec.up_attention[spec.levels - 1 - i] == 1,
                              .transformer_layers = spec.transformer_layers[i],
                              .heads = spec.attention_heads[i]});
  }
  return decoded;
}

const ParameterGroup::Entry& existing(const Weights& weights, std::string_view name) {
  const ParameterGroup::Entry* entry = weights.find(name);
  if (entry == nullptr) fail(SMPO_INVALID_ARGUMENT, "name: the model has no parameter ", name);
  return *entry;
}

void require_host_spec(const ParameterGroup::Entry& entry, const TensorSpec& spec) {
  if (!spec.floating()) {
    fail(SMPO_DTYPE_MISMATCH, entry.name, ": expected a floating type, got ", dtype_name(spec.dtype()));
  }
  if (!std::ranges::equal(spec.shape(), entry.shape)) {
    fail(SMPO_SHAPE_MISMATCH, entry.name, ": expected shape ", shape_text(entry.shape), ", got ",
         shape_text(spec.shape()));
  }
}

UNet::Inputs inputs_of(const UNet& unet, const UNetTensors& inputs) {
  return unet_inputs(unet, value_of(inputs.sample), value_of(inputs.timesteps), value_of(inputs.encoder_hidden_states),
                     value_of(inputs.text_embeds), value_of(inputs.time_ids));
}

}  // namespace

std::shared_ptr<Model> open_unet(Session& session, const smpo_unet_spec& spec, const smpo_model_options& options) {
  auto model = std::make_shared<Model>();
  model->network = std::make_unique<UNet>(decode(spec), models::WeightOptions{
                                                            .precision = scalar_type(options.precision),
                                                            .trainable = options.trainable == 1,
                                                            .device = torch_device(session),
                                                            .packing = packing_for(session),
                                                        });
  model->checkpointing = options.checkpointing == 1;
  return model;
}

smpo_model_info describe(const Model& model) {
  const Weights& weights = model.weights();
  smpo_model_info info{};
  info.size = sizeof info;
  info.kind = SMPO_MODEL_UNET + static_cast<int32_t>(model.network.index());
  info.precision = dtype_of(weights.options().precision);
  info.trainable = weights.options().trainable ? 1 : 0;
  info.parameter_count = static_cast<uint32_t>(weights.size());
  for (size_t i = 0; i < weights.size(); ++i) info.written_count += weights.entry(i).written ? 1 : 0;
  for (const ParameterGroup* group : {&weights.base(), weights.adapters()}) {
    if (group == nullptr) continue;
    info.elements += static_cast<uint64_t>(group->elements());
    info.bytes += static_cast<uint64_t>(group->bytes());
  }
  return info;
}

smpo_parameter_info describe_parameter(const Model& model, uint32_t index) {
  const Weights& weights = model.weights();
  if (index >= weights.size()) {
    fail(SMPO_INVALID_ARGUMENT, "index: expected 0..", weights.size() - 1, ", got ", index);
  }
  const ParameterGroup::Entry& entry = weights.entry(index);
  smpo_parameter_info info{};
  info.size = sizeof info;
  info.dtype = dtype_of(entry.master.scalar_type());
  info.rank = static_cast<int32_t>(entry.shape.size());
  info.trainable = entry.parameter->trainable() ? 1 : 0;
  info.written = entry.written ? 1 : 0;
  std::copy(entry.shape.begin(), entry.shape.end(), info.shape);
  copy_text(info.name, sizeof info.name, entry.name.c_str());
  return info;
}

void write_parameter(Model& model, std::string_view name, const TensorSpec& spec, const void* data) {
  const ParameterGroup::Entry& entry = existing(model.weights(), name);
  require_host_spec(entry, spec);
  const at::Tensor value = view_of_host(spec, const_cast<void*>(data));
  const at::Tensor finite = at::isfinite(value).flatten();
  if (!finite.all().item<bool>()) {
    const auto* flags = finite.const_data_ptr<bool>();
    const auto index = std::find(flags, flags + finite.numel(), false) - flags;
    fail(SMPO_NON_FINITE, name, ": expected finite values, got ", value.flatten()[index].item<double>(), " at element ",
         index);
  }
  model.weights().write(name, value);
}

void read_parameter(Session& session, const Model& model, std::string_view name, const TensorSpec& spec, void* data) {
  require_host_spec(existing(model.weights(), name), spec);
  view_of_host(spec, data).copy_(download(session, model.weights().read(name)));
}

void read_gradient(Session& session, const Model& model, std::string_view name, const TensorSpec& spec, void* data) {
  require_host_spec(existing(model.weights(), name), spec);
  view_of_host(spec, data).copy_(download(session, model.weights().read_gradient(name)));
}

void zero_gradients(Model& model) { model.weights().zero_gradients(); }

void add_lora(Model& model, int64_t rank, double alpha, std::vector<std::string> modules) {
  require_finite(alpha, "spec.alpha");
  model.changed_structure();
  model.weights().add_lora({.rank = rank, .alpha = alpha, .modules = std::move(modules)});
}

void set_lora_scale(Model& model, double scale) {
  require_finite(scale, "scale");
  model.changed_structure();
  model.weights().set_lora_scale(scale);
}

void merge_lora(Model& model, double weight) {
  require_finite(weight, "weight");
  if (!model.optimizer.expired()) {
    fail(SMPO_INVALID_ARGUMENT, "model: expected adapters that no optimizer holds: close the optimizer first");
  }
  model.changed_structure();
  model.weights().merge_lora(weight);
}

UNet& require_unet(const Model& model, const char* name) {
  const auto* unet = std::get_if<std::unique_ptr<UNet>>(&model.network);
  if (unet == nullptr) fail(SMPO_INVALID_HANDLE, name, ": expected a UNet, got a model of another kind");
  return **unet;
}

UNet& require_denoiser(const Model& model, const char* name) {
  UNet& unet = require_unet(model, name);
  if (unet.spec().in_channels != unet.spec().out_channels) {
    fail(SMPO_UNSUPPORTED, name, ": expected a UNet with as many output as input channels, got ",
         unet.spec().in_channels, " channels in and ", unet.spec().out_channels, " out");
  }
  return unet;
}

UNet::Inputs unet_inputs(const UNet& unet, const at::Tensor& sample, const at::Tensor& timesteps,
                         const at::Tensor& encoder_hidden_states, const at::Tensor& text_embeds,
                         const at::Tensor& time_ids) {
  const at::ScalarType precision = unet.weights().options().precision;
  UNet::Inputs inputs;
  inputs.sample_BCHW = require_floating(sample, "sample").to(precision);
  inputs.timesteps_B = require_f32(timesteps, "timesteps");
  inputs.encoder_hidden_states_BTD = require_floating(encoder_hidden_states, "encoder_hidden_states").to(precision);
  if (text_embeds.defined()) inputs.text_embeds_BE = require_floating(text_embeds, "text_embeds").to(precision);
  if (time_ids.defined()) inputs.time_ids_BK = require_f32(time_ids, "time_ids");
  return inputs;
}

namespace {

at::Tensor evaluate(const Model& model, const UNet::Inputs& inputs, bool with_adapters) {
  tape::Tape tape = tape::Tape::inference(with_adapters && model.uses_adapters());
  return require_unet(model).forward(tape, inputs).value;
}

}  // namespace

at::Tensor unet_prediction(Session& session, const Model& model, const UNet::Inputs& inputs, bool with_adapters) {
  Recorder* recorder = session.recorder();
  if (recorder == nullptr) return evaluate(model, inputs, with_adapters).to(at::kFloat);
  // Checked first, so that invalid inputs leave no entry behind.
  require_unet(model).check_inputs(inputs);
  GraphKey key;
  key.add(with_adapters);
  for (const at::Tensor& value : {inputs.sample_BCHW.value, inputs.encoder_hidden_states_BTD.value,
                                  inputs.text_embeds_BE.value, inputs.time_ids_BK}) {
    key.add_all(value.defined() ? value.sizes() : at::IntArrayRef());
  }
  auto& entry = model.predictions.entry(key);
  PredictionMemory& memory = entry.memory;
  take_inputs(memory.inputs, inputs);
  model.predictions.run(
      entry, *recorder,
      [&model, &memory, with_adapters] { memory.prediction_BCHW = evaluate(model, memory.inputs, with_adapters); },
      [&session](const char* why) { log_refusal(session, "a UNet evaluation", why); });
  // A copy, because the next evaluation overwrites this memory.
  return memory.prediction_BCHW.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
}

std::shared_ptr<Tensor> unet_forward(Session& session, const Model& model, const UNetTensors& inputs) {
  const UNet::Inputs values = inputs_of(require_unet(model), inputs);
  session.stop_if_cancelled();
  return hold(unet_prediction(session, model, values));
}

UNetGradients unet_backward(Session& session, Model& model, const UNetTensors& tensors, const Tensor& cotangent,
                            const WantedGradients& wanted) {
  const UNet& unet = require_unet(model);
  UNet::Inputs inputs = inputs_of(unet, tensors);
  unet.check_inputs(inputs);
  // Checked before the forward pass.
  std::vector<int64_t> shape = inputs.sample_BCHW.value.sizes().vec();
  shape[1] = unet.spec().out_channels;
  if (cotangent.value.sizes() != at::IntArrayRef(shape)) {
    fail(SMPO_SHAPE_MISMATCH, "cotangent: expected ", shape_text(shape), ", got ", shape_text(cotangent.value));
  }
  const at::Tensor seed = require_floating(cotangent.value, "cotangent").to(unet.weights().options().precision);

  session.stop_if_cancelled();
  std::optional<Weights::Frozen> frozen;
  if (!wanted.parameters) frozen.emplace(model.weights());
  tape::Tape tape({.record = true, .adapters = model.uses_adapters()});
  if (wanted.sample) inputs.sample_BCHW = tape.input(inputs.sample_BCHW.value);
  const tape::Var output = unet.forward(tape, inputs, model.checkpointing);
  UNetGradients result{.output = hold(output.value.to(at::kFloat)), .d_sample = nullptr};
  // The last moment at which no gradient has changed.
  session.stop_if_cancelled();
  // A frozen model whose sample needs no gradient records nothing.
  if (output.node >= 0) tape.backward({{output, seed}});
  if (wanted.sample) result.d_sample = hold(tape.gradient(inputs.sample_BCHW).to(at::kFloat));
  return result;
}

}  // namespace smpo::engine
