// Forward, reference, loss, backward of some pairs of a batch.
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/failure.h"
#include "engine/graph_memory.h"
#include "engine/model_value.h"
#include "engine/pair_batch.h"
#include "engine/pair_batch_value.h"
#include "engine/session.h"
#include "engine/step_options.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"
#include "kernels/pair_loss_math.h"
#include "kernels/preference_loss.h"
#include "tape/kernel_call.h"
#include "tape/tape.h"

// Legend: W pairs of the batch; P pairs of the micro-batch, R = 2P images, winners first, or as many single images, R =
// P; B rows of the network (StepMemory); C H W a latent.
namespace smpo::engine {
namespace {

// The batch's rows of a tensor by image, [2W,...] -> [R,...].
at::Tensor of_images(const PairBatch& batch, const at::Tensor& all, const smpo_micro_batch& micro_batch) {
  if (!all.defined() || micro_batch.pairs == batch.pairs()) return all;
  const at::Tensor first = all.narrow(0, micro_batch.first_pair, micro_batch.pairs);
  if (batch.options.images == 1) return first;
  return at::cat({first, all.narrow(0, batch.pairs() + micro_batch.first_pair, micro_batch.pairs)});
}

bool guided(const PairBatch& batch) { return batch.options.guidance_scale != 0; }

// The rows of the network from those of one side of guidance.
at::Tensor of_sides(const PairBatch& batch, const at::Tensor& side) {
  return guided(batch) ? at::cat({side, side}) : side;
}

// The network's rows of a tensor by image, which has one row per pair with shared_sample.
at::Tensor of_samples(const PairBatch& batch, const at::Tensor& all, const smpo_micro_batch& micro_batch) {
  if (!all.defined()) return all;
  return of_sides(batch, batch.options.shared_sample ? all.narrow(0, micro_batch.first_pair, micro_batch.pairs)
                                                     : of_images(batch, all, micro_batch));
}

// The network's rows of text by pair, [W,...]; `negative` is read with guidance.
at::Tensor of_text(const PairBatch& batch, const at::Tensor& all, const at::Tensor& negative,
                   const smpo_micro_batch& micro_batch) {
  if (!all.defined()) return all;
  const auto own = [&micro_batch](const at::Tensor& rows) {
    return rows.narrow(0, micro_batch.first_pair, micro_batch.pairs);
  };
  std::vector<at::Tensor> parts;
  for (const at::Tensor* side : {&negative, &all}) {
    if (side == &negative && !guided(batch)) continue;
    parts.push_back(own(*side));
    if (batch.options.images == 2 && !batch.options.shared_sample) parts.push_back(own(*side));
  }
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

at::Tensor timesteps_of(const PairBatch& batch, const smpo_micro_batch& micro_batch) {
  std::vector<float> t;
  t.reserve(2 * micro_batch.pairs);
  for (int64_t first = micro_batch.first_pair; first < batch.rows(); first += batch.pairs()) {
    if (batch.options.shared_sample && first >= batch.pairs()) break;
    for (uint32_t i = 0; i < micro_batch.pairs; ++i) {
      t.push_back(static_cast<float>(batch.options.timesteps[static_cast<size_t>(first + i)]));
    }
  }
  return of_sides(batch, copy_to<float>(batch.device(), t));
}

// The first numbers of an array, on the device; undefined for null.
at::Tensor numbers(const PairBatch& batch, const double* values, uint32_t count) {
  if (values == nullptr) return {};
  return copy_to<double>(batch.device(), {values, count});
}

void keep(const PairBatch& batch, const at::Tensor& all_RCHW, const at::Tensor& some_BCHW,
          const smpo_micro_batch& micro_batch) {
  if (!all_RCHW.defined()) return;
  const int64_t pairs = micro_batch.pairs;
  for (int64_t image = 0; image < batch.options.images; ++image) {
    all_RCHW.narrow(0, image * batch.pairs() + micro_batch.first_pair, pairs)
        .copy_(some_BCHW.narrow(0, image * pairs, pairs));
  }
}

// Inputs of a micro-batch: its models, its options, and the memory of graph_memory.h.
struct Step {
  Model& policy;
  const Model* reference;  // null: the policy without its adapters
  StepOptions options;
};

GraphKey key_of(const Step& step, const StepMemory& inputs) {
  GraphKey key = key_of(step.options);
  key.add(step.policy.structure);
  if (step.reference != nullptr) key.add(step.reference->number).add(step.reference->structure);
  add_shapes(key, inputs);
  return key;
}

// What the kind of the loss says about single images and pairs.
void check_images(const PairBatch& batch, const smpo_pair_loss& loss, const smpo_micro_batch& micro_batch) {
  const bool single = batch.options.images == 1;
  if (single && !kernels::pair_loss_math::takes_single_images(loss.kind)) {
    fail(SMPO_INVALID_ARGUMENT, "loss.kind: expected one of single images (KTO, SFT or PSEUDO_HUBER), got ", loss.kind,
         ", which compares the two images of a pair");
  }
  if (!single && !kernels::pair_loss_math::takes_pairs(loss.kind)) {
    fail(SMPO_INVALID_ARGUMENT, "loss.kind: expected one of pairs, got ", loss.kind, ", which is one of single images");
  }
  if (single && (loss.safeguard == 1 || loss.budget_weight != 0)) {
    fail(SMPO_INVALID_ARGUMENT, "loss.", loss.safeguard == 1 ? "safeguard" : "budget_weight",
         ": expected 0 for single images, got ", loss.safeguard == 1 ? 1.0 : loss.budget_weight);
  }
  if ((micro_batch.desirable != nullptr) != (single && loss.kind == SMPO_PAIR_LOSS_KTO)) {
    fail(SMPO_INVALID_ARGUMENT, "micro_batch.desirable: expected a pointer for KTO of single images only, got ",
         micro_batch.desirable == nullptr ? "none" : "one");
  }
  const bool scales = single && (loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER || loss.kind == SMPO_PAIR_LOSS_SFT);
  if (micro_batch.error_scale != nullptr && !scales) {
    fail(SMPO_INVALID_ARGUMENT, "micro_batch.error_scale: expected none, since kind ", loss.kind, " of ",
         single ? "single images" : "pairs", " does not scale errors, got a pointer");
  }
  for (uint32_t i = 0; i < micro_batch.pairs; ++i) {
    if (micro_batch.desirable != nullptr && micro_batch.desirable[i] > 1) {
      fail(SMPO_INVALID_ARGUMENT, "micro_batch.desirable[", i, "]: expected 0..1, got ", int{micro_batch.desirable[i]});
    }
    if (micro_batch.error_scale != nullptr && !(micro_batch.error_scale[i] > 0)) {
      fail(SMPO_INVALID_ARGUMENT, "micro_batch.error_scale[", i, "]: expected a number above 0, got ",
           micro_batch.error_scale[i]);
    }
  }
  if (loss.kind == SMPO_PAIR_LOSS_PSEUDO_HUBER && !(loss.parameters[0] > 0)) {
    fail(SMPO_INVALID_ARGUMENT, "loss.parameters[0]: expected a number above 0, got ", loss.parameters[0]);
  }
}

// The loss that crossed the border, with what the kernel's math knows about its kind checked.
void check(const PairBatch& batch, const smpo_pair_loss& loss, const smpo_micro_batch& micro_batch) {
  const auto count = static_cast<uint32_t>(kernels::pair_loss_math::parameter_count(loss.kind));
  if (loss.parameter_count != count) {
    fail(SMPO_INVALID_ARGUMENT, "loss.parameter_count: expected ", count, ", the number that kind ", loss.kind,
         " has, got ", loss.parameter_count);
  }
  for (uint32_t i = count; i < SMPO_MAX_LOSS_PARAMETERS; ++i) {
    if (loss.parameters[i] != 0) {
      fail(SMPO_INVALID_ARGUMENT, "loss.parameters[", i, "]: expected 0, since kind ", loss.kind, " has ", count,
           " parameters, got ", loss.parameters[i]);
    }
  }
  if (kernels::pair_loss_math::reads_label(loss.kind) && micro_batch.label == nullptr) {
    fail(SMPO_INVALID_ARGUMENT, "micro_batch.label: expected a pointer, since kind ", loss.kind, " reads labels");
  }
  check_images(batch, loss, micro_batch);
}

models::UNet::Inputs inputs_of(const StepMemory& memory, const Model& model) {
  return unet_inputs(require_unet(model), memory.noised_BCHW, memory.timesteps_B, memory.encoder_hidden_states_BSD,
                     memory.text_embeds_BE, memory.time_ids_BK);
}

// The prediction of every image, [R,C,H,W], from the network's output. Where an output serves several
// predictions, they are f32, so that the sum of their gradients is rounded once.
at::Tensor predictions_of(const StepOptions& options, const at::Tensor& output_BCHW) {
  at::Tensor prediction = output_BCHW;
  if (options.guidance_scale != 0) {
    const std::vector<at::Tensor> sides = output_BCHW.to(at::kFloat).chunk(2);
    prediction = sides[0].add(sides[1].sub(sides[0]).mul_(options.guidance_scale));
  }
  if (options.shared_sample == 1) {
    prediction = prediction.to(at::kFloat);
    prediction = at::cat({prediction, prediction});
  }
  return prediction.contiguous();
}

// The gradient by the network's output from that by the predictions.
at::Tensor output_gradient(const StepOptions& options, const at::Tensor& d_prediction_RCHW, at::ScalarType dtype) {
  at::Tensor gradient = d_prediction_RCHW;
  if (options.shared_sample == 1) {
    const std::vector<at::Tensor> images = gradient.chunk(2);
    gradient = images[0].add(images[1]);
  }
  if (options.guidance_scale != 0) {
    gradient = at::cat({gradient.mul(1.0 - options.guidance_scale), gradient.mul(options.guidance_scale)});
  }
  return gradient.to(dtype);
}

// Evaluates reference and policy, computes the loss and, with backward, adds gradients. Queues device work only and
// touches this memory only, so that it can be recorded. `safe_point` is called where no gradient has changed yet; it
// may throw.
template <typename SafePoint>
void run(const Step& step, StepMemory& memory, const SafePoint& safe_point) {
  const Model& policy = step.policy;
  const bool backward = step.options.backward == 1;
  const models::UNet::Inputs inputs = inputs_of(memory, policy);

  // The reference first: what it needs is given back before the policy's activations are kept.
  if (kernels::pair_loss_math::has_reference(step.options.loss.kind)) {
    const Model& model = step.reference == nullptr ? policy : *step.reference;
    tape::Tape tape = tape::Tape::inference(step.reference != nullptr && model.uses_adapters());
    const tape::Var output =
        require_unet(model).forward(tape, step.reference == nullptr ? inputs : inputs_of(memory, model));
    memory.reference_prediction_RCHW = predictions_of(step.options, output.value);
    safe_point();
  }

  tape::Tape tape({.record = backward, .adapters = policy.uses_adapters()});
  const tape::Var output = require_unet(policy).forward(tape, inputs, backward && policy.checkpointing);
  const at::Tensor prediction = predictions_of(step.options, output.value);
  memory.prediction_RCHW = prediction;

  const int64_t images = step.options.images;
  const int64_t pairs = prediction.size(0) / images;
  const auto f64 = prediction.options().dtype(at::kDouble);
  memory.results = at::empty({6 * pairs + 1}, f64);
  auto* results = memory.results.mutable_data_ptr<double>();
  const at::Tensor d_errors = at::empty({images * pairs}, f64);
  at::Tensor d_prediction = backward ? at::empty_like(prediction) : at::Tensor();
  kernels::PreferenceLossArgs args{
      .pairs = pairs,
      .images = images,
      .elements = prediction[0].numel(),
      .loss = step.options.loss,
      .prediction_RN = prediction.const_data_ptr(),
      .prediction_dtype = tape::dtype_of(prediction),
      .reference_RN = tape::data_of(memory.reference_prediction_RCHW),
      .reference_dtype = tape::dtype_of(memory.reference_prediction_RCHW),
      .target_RN = memory.target_RCHW.const_data_ptr(),
      .target_dtype = kernels::DType::kF32,
      .label_P = tape::data_of<double>(memory.label_P),
      .logit_scale_P = tape::data_of<double>(memory.logit_scale_P),
      .weight_P = tape::data_of<double>(memory.weight_P),
      .mean_gain = tape::data_of<double>(memory.mean_gain_1),
      .desirable_R = tape::data_of<uint8_t>(memory.desirable_B),
      .error_scale_R = tape::data_of<double>(memory.error_scale_B),
      .gradient_scale = step.options.gradient_scale,
      .error_4P = results,
      .logit_P = results + 4 * pairs,
      .loss_P = results + 5 * pairs,
      .d_error_R = d_errors.mutable_data_ptr<double>(),
      .loss_sum = results + 6 * pairs,
      .d_prediction_RN = backward ? d_prediction.mutable_data_ptr() : nullptr,
  };
  const at::Tensor workspace = tape::workspace_of(prediction, kernels::preference_loss_workspace_bytes(args));
  args.workspace = workspace.mutable_data_ptr();
  tape::kernels_of(prediction)(&kernels::Families::preference_loss, args);

  safe_point();
  if (backward) tape.backward({{output, output_gradient(step.options, d_prediction, output.value.scalar_type())}});
}

}  // namespace

void accumulate(Session& session, const std::shared_ptr<PairBatch>& shared_batch, Model& policy, const Model* reference,
                const smpo_pair_loss& loss, const smpo_micro_batch& micro_batch) {
  PairBatch& batch = *shared_batch;
  if (!batch.noised_RCHW.defined()) {
    fail(SMPO_INVALID_ARGUMENT, "batch: expected one that was noised, inverted or set, got one that was only opened");
  }
  const models::UNet& network = require_denoiser(policy, "policy");
  const bool backward = micro_batch.backward == 1;
  if (backward && policy.weights().trained() == nullptr) {
    fail(SMPO_INVALID_ARGUMENT, "policy: expected a trainable UNet or one with adapters, got a frozen one");
  }
  check(batch, loss, micro_batch);
  const bool wants_reference = kernels::pair_loss_math::has_reference(loss.kind);
  if (wants_reference && reference != nullptr) require_denoiser(*reference, "reference");
  if (wants_reference && reference == nullptr && policy.weights().adapters() == nullptr) {
    fail(SMPO_INVALID_ARGUMENT,
         "reference: expected a model, since the loss has a reference and the policy no adapters",
         " that could be turned off, got none");
  }

  StepMemory inputs{.noised_BCHW = of_samples(batch, batch.noised_RCHW, micro_batch),
                    .target_RCHW = of_images(batch, batch.target_RCHW, micro_batch),
                    .timesteps_B = timesteps_of(batch, micro_batch),
                    .encoder_hidden_states_BSD = of_text(batch, batch.encoder_hidden_states_WSD,
                                                         batch.negative_encoder_hidden_states_WSD, micro_batch),
                    .text_embeds_BE = of_text(batch, batch.text_embeds_WE, batch.negative_text_embeds_WE, micro_batch),
                    .time_ids_BK = of_samples(batch, batch.time_ids_RK, micro_batch),
                    .label_P = numbers(batch, micro_batch.label, micro_batch.pairs),
                    .logit_scale_P = numbers(batch, micro_batch.logit_scale, micro_batch.pairs),
                    .weight_P = numbers(batch, micro_batch.weight, micro_batch.pairs),
                    .mean_gain_1 = numbers(batch, micro_batch.mean_gain, 1),
                    .error_scale_B = numbers(batch, micro_batch.error_scale, micro_batch.pairs)};
  if (micro_batch.desirable != nullptr) {
    inputs.desirable_B = copy_to<uint8_t>(batch.device(), {micro_batch.desirable, size_t{micro_batch.pairs}});
  }
  network.check_inputs(inputs_of(inputs, policy));
  if (wants_reference && reference != nullptr) require_unet(*reference).check_inputs(inputs_of(inputs, *reference));

  const Step step{.policy = policy,
                  .reference = reference,
                  .options = {.loss = loss,
                              .gradient_scale = micro_batch.gradient_scale,
                              .backward = backward ? 1 : 0,
                              .images = batch.options.images,
                              .shared_sample = batch.options.shared_sample ? 1 : 0,
                              .guidance_scale = batch.options.guidance_scale}};
  // Running out of memory in the backward pass leaves gradients in part: the caller zeroes them, or resumes from a
  // checkpoint.
  const std::string advice =
      "micro_batch.pairs: " + std::to_string(micro_batch.pairs) + " pairs do not fit into memory; lower it" +
      (backward && !policy.checkpointing ? ", or open the policy with options.checkpointing 1" : "");
  session.stop_if_cancelled();
  StepMemory* memory = &inputs;
  auto work = [&] {
    if (session.recorder() == nullptr) return run(step, *memory, [&session] { session.stop_if_cancelled(); });
    auto& entry = policy.steps.entry(key_of(step, inputs));
    memory = &entry.memory;
    take_inputs(*memory, inputs);
    policy.steps.run(
        entry, *session.recorder(), [step, memory] { run(step, *memory, [] {}); },
        [&session](const char* why) { log_refusal(session, "a micro-batch", why); });
  };
  const auto describe = [&] {
    return "pairs " + std::to_string(micro_batch.first_pair) + ".." +
           std::to_string(micro_batch.first_pair + micro_batch.pairs - 1) + " of " + std::to_string(batch.pairs());
  };
  with_memory_advice([&] { in_context(describe, work); }, advice);

  // Last, so that a call that throws has changed nothing but gradients.
  const int64_t pairs = micro_batch.pairs;
  keep(batch, batch.prediction_RCHW, memory->prediction_RCHW, micro_batch);
  if (wants_reference) keep(batch, batch.reference_prediction_RCHW, memory->reference_prediction_RCHW, micro_batch);
  const at::Tensor& results = memory->results;
  batch.errors_4W.narrow(1, micro_batch.first_pair, pairs).copy_(results.narrow(0, 0, 4 * pairs).view({4, pairs}));
  batch.logits_W.narrow(0, micro_batch.first_pair, pairs).copy_(results.narrow(0, 4 * pairs, pairs));
  batch.losses_W.narrow(0, micro_batch.first_pair, pairs).copy_(results.narrow(0, 5 * pairs, pairs));
  batch.loss_sum.add_(results.select(0, 6 * pairs));
  batch.results_on_host.reset();
  if (!backward) return;
  const auto is_this = [&shared_batch](const std::weak_ptr<PairBatch>& other) {
    return !other.owner_before(shared_batch) && !shared_batch.owner_before(other);
  };
  if (std::ranges::none_of(policy.accumulated, is_this)) policy.accumulated.push_back(shared_batch);
}

}  // namespace smpo::engine
