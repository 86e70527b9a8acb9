// Forward, reference, loss, backward of some pairs of a window.
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/model_value.h"
#include "engine/torch_tensor.h"
#include "engine/transfer.h"
#include "engine/window.h"
#include "engine/window_value.h"
#include "kernels/preference_loss.h"
#include "tape/kernel_call.h"
#include "tape/tape.h"

// Legend: W pairs of the window; P pairs of the batch, B = 2P images, winners first; C H W a latent.
namespace smpo::engine {
namespace {

// The batch's rows of a tensor by image, [2W,...] -> [2P,...].
at::Tensor of_images(const at::Tensor& all, const smpo_pair_batch& batch) {
  if (!all.defined()) return all;
  const int64_t pairs = all.size(0) / 2;
  if (batch.pairs == pairs) return all;
  return at::cat({all.narrow(0, batch.first_pair, batch.pairs), all.narrow(0, pairs + batch.first_pair, batch.pairs)});
}

// Likewise of a tensor by pair, [W,...] -> [2P,...].
at::Tensor of_pairs(const at::Tensor& all, const smpo_pair_batch& batch) {
  if (!all.defined()) return all;
  const at::Tensor own = all.narrow(0, batch.first_pair, batch.pairs);
  return at::cat({own, own});
}

at::Tensor timesteps_of(const Window& window, const smpo_pair_batch& batch) {
  std::vector<float> t;
  t.reserve(2 * batch.pairs);
  for (const int64_t first : {int64_t{batch.first_pair}, window.pairs() + batch.first_pair}) {
    for (uint32_t i = 0; i < batch.pairs; ++i) {
      t.push_back(static_cast<float>(window.options.timesteps[static_cast<size_t>(first + i)]));
    }
  }
  return copy_to<float>(window.latents_RCHW.device(), t);
}

kernels::PairLoss decode(const smpo_pair_loss& loss) {
  return {.kind = static_cast<kernels::PairLossKind>(loss.kind),
          .beta = loss.beta,
          .kappa = loss.kappa,
          .gamma = loss.gamma,
          .alpha = loss.alpha,
          .margin = loss.margin,
          .mapo_scale = loss.mapo_scale,
          .mapo_temperature = loss.mapo_temperature,
          .mapo_weight = loss.mapo_weight,
          .desirable_weight = loss.desirable_weight,
          .undesirable_weight = loss.undesirable_weight,
          .kto_baseline_source =
              loss.kto_baseline_given == 1 ? kernels::KtoBaseline::kGiven : kernels::KtoBaseline::kMicroBatch,
          .kto_baseline = loss.kto_baseline,
          .budget_weight = loss.budget_weight,
          .budget = loss.budget,
          .winner_safeguard = loss.winner_safeguard == 1,
          .safeguard_mu = loss.safeguard_mu};
}

// One number for each pair, on the device; undefined for null.
at::Tensor by_pair(const Window& window, const double* values, uint32_t pairs) {
  if (values == nullptr) return {};
  return copy_to<double>(window.latents_RCHW.device(), {values, pairs});
}

void keep(at::Tensor& all_RCHW, const at::Tensor& some_BCHW, const smpo_pair_batch& batch) {
  if (!all_RCHW.defined()) return;
  const int64_t pairs = all_RCHW.size(0) / 2;
  all_RCHW.narrow(0, batch.first_pair, batch.pairs).copy_(some_BCHW.narrow(0, 0, batch.pairs));
  all_RCHW.narrow(0, pairs + batch.first_pair, batch.pairs).copy_(some_BCHW.narrow(0, batch.pairs, batch.pairs));
}

}  // namespace

void accumulate(Window& window, Model& policy, const Model* reference, const smpo_pair_loss& loss,
                const smpo_pair_batch& batch) {
  if (!window.noised_RCHW.defined()) {
    fail(SMPO_INVALID_ARGUMENT, "window: expected one that was noised or inverted, got one with clean latents only");
  }
  const models::UNet& network = require_denoiser(policy, "policy");
  const bool backward = batch.backward == 1;
  if (backward && policy.weights().trained() == nullptr) {
    fail(SMPO_INVALID_ARGUMENT, "policy: expected a trainable UNet or one with adapters, got a frozen one");
  }
  const kernels::PairLoss pair_loss = decode(loss);
  const bool wants_reference = kernels::has_reference(pair_loss.kind);
  if (wants_reference && reference != nullptr) require_denoiser(*reference, "reference");
  if (wants_reference && reference == nullptr && policy.weights().adapters() == nullptr) {
    fail(SMPO_INVALID_ARGUMENT,
         "reference: expected a model, since the loss has a reference and the policy no adapters",
         " that could be turned off, got none");
  }

  const at::Tensor noised = of_images(window.noised_RCHW, batch);
  const at::Tensor target = of_images(window.target_RCHW, batch);
  const at::Tensor timesteps = timesteps_of(window, batch);
  const at::Tensor states = of_pairs(window.encoder_hidden_states_WSD, batch);
  const at::Tensor embeds = of_pairs(window.text_embeds_WE, batch);
  const at::Tensor time_ids = of_images(window.time_ids_RK, batch);
  const auto inputs_for = [&](const Model& model) {
    models::UNet::Inputs inputs = unet_inputs(require_unet(model), noised, timesteps, states, embeds, time_ids);
    require_unet(model).check_inputs(inputs);
    return inputs;
  };
  const models::UNet::Inputs inputs = inputs_for(policy);

  // The reference first: what it needs is given back before the policy's activations are kept.
  at::Tensor reference_prediction;
  if (wants_reference) {
    const Model& model = reference == nullptr ? policy : *reference;
    tape::Tape tape = tape::Tape::inference(reference != nullptr && model.uses_adapters());
    reference_prediction =
        require_unet(model).forward(tape, reference == nullptr ? inputs : inputs_for(model)).value.contiguous();
    keep(window.reference_prediction_RCHW, reference_prediction, batch);
  }

  tape::Tape tape({.record = backward, .adapters = policy.uses_adapters()});
  const tape::Var output = network.forward(tape, inputs, backward && policy.checkpointing);
  const at::Tensor prediction = output.value.contiguous();
  keep(window.prediction_RCHW, prediction, batch);

  const int64_t pairs = batch.pairs;
  const auto f64 = window.losses_W.options();
  const at::Tensor label = by_pair(window, batch.label, batch.pairs);
  const at::Tensor logit_scale = by_pair(window, batch.logit_scale, batch.pairs);
  const at::Tensor weight = by_pair(window, batch.weight, batch.pairs);
  at::Tensor errors = at::empty({4, pairs}, f64);
  at::Tensor logits = at::empty({pairs}, f64);
  at::Tensor losses = at::empty({pairs}, f64);
  at::Tensor d_errors = at::empty({2 * pairs}, f64);
  at::Tensor loss_sum = at::empty({}, f64);
  at::Tensor d_prediction = backward ? at::empty_like(prediction) : at::Tensor();
  kernels::PreferenceLossArgs args{
      .pairs = pairs,
      .elements = window.elements(),
      .loss = pair_loss,
      .prediction_RN = prediction.const_data_ptr(),
      .prediction_dtype = tape::dtype_of(prediction),
      .reference_RN = tape::data_of(reference_prediction),
      .reference_dtype = tape::dtype_of(reference_prediction),
      .target_RN = target.const_data_ptr(),
      .target_dtype = kernels::DType::kF32,
      .label_P = tape::data_of<double>(label),
      .logit_scale_P = tape::data_of<double>(logit_scale),
      .weight_P = tape::data_of<double>(weight),
      .gradient_scale = batch.gradient_scale,
      .error_4P = errors.mutable_data_ptr<double>(),
      .logit_P = logits.mutable_data_ptr<double>(),
      .loss_P = losses.mutable_data_ptr<double>(),
      .d_error_R = d_errors.mutable_data_ptr<double>(),
      .loss_sum = loss_sum.mutable_data_ptr<double>(),
      .d_prediction_RN = backward ? d_prediction.mutable_data_ptr() : nullptr,
  };
  const at::Tensor workspace =
      at::empty({kernels::preference_loss_workspace_bytes(args)}, noised.options().dtype(at::kByte));
  args.workspace = workspace.mutable_data_ptr();
  tape::kernels_of(prediction)(&kernels::Families::preference_loss, args);

  if (backward) tape.backward({{output, d_prediction}});

  // Last, so that a call that throws has changed nothing but gradients.
  window.errors_4W.narrow(1, batch.first_pair, pairs).copy_(errors);
  window.logits_W.narrow(0, batch.first_pair, pairs).copy_(logits);
  window.losses_W.narrow(0, batch.first_pair, pairs).copy_(losses);
  window.loss_sum.add_(loss_sum);
}

}  // namespace smpo::engine
