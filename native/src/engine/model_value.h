#ifndef SMPO_ENGINE_MODEL_VALUE_H_
#define SMPO_ENGINE_MODEL_VALUE_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "engine/graph_memory.h"
#include "engine/graphs.h"
#include "models/bert.h"
#include "models/clip_text.h"
#include "models/clip_vision.h"
#include "models/unet.h"
#include "models/vae.h"
#include "models/weights.h"
#include "smpo.h"
#include "tape/tape.h"

namespace smpo::engine {

struct Optimizer;
class Session;
struct PairBatch;

struct Model {
  // The alternatives have the order of SMPO_MODEL_*. Architectures share no base class; all they have in common is
  // weights.
  std::variant<std::unique_ptr<models::UNet>, std::unique_ptr<models::Vae>, std::unique_ptr<models::ClipText>,
               std::unique_ptr<models::ClipVision>, std::unique_ptr<models::Bert>>
      network;
  // UNet only: the backward pass recomputes each layer's activations.
  bool checkpointing = false;
  // Unique in this process.
  uint64_t number = next_number();
  // Incremented when weights move or adapters change, which invalidates earlier recordings.
  uint64_t structure = 0;
  // UNet only: recordings of single evaluations, of inversion, and of steps with this model as the policy. Evaluation
  // changes nothing else in a model.
  mutable Graphs<PredictionMemory> predictions = {};
  mutable Graphs<InversionMemory> inversions = {};
  Graphs<StepMemory> steps = {};
  // The optimizer that is open on this model, if any.
  std::weak_ptr<const Optimizer> optimizer = {};
  // Pair batches whose gradients have been added since the last optimizer step; the step downloads their results too.
  std::vector<std::weak_ptr<PairBatch>> accumulated = {};

  models::Weights& weights() const {
    return std::visit([](const auto& held) -> models::Weights& { return held->weights(); }, network);
  }
  void changed_structure() {
    ++structure;
    predictions.clear();
    inversions.clear();
    steps.clear();
  }
  bool uses_adapters() const { return weights().adapters() != nullptr && weights().lora_scale() != 0; }

 private:
  static uint64_t next_number() {
    static std::atomic<uint64_t> last{0};
    return ++last;
  }
};

// Returns the model's UNet. Throws Error(SMPO_INVALID_HANDLE), naming the argument, for a model of another kind.
models::UNet& require_unet(const Model& model, const char* name = "model");
// Like require_unet, and throws Error(SMPO_UNSUPPORTED) unless the prediction has as many channels as the sample.
models::UNet& require_denoiser(const Model& model, const char* name);

// Converts inputs of any floating dtype to the dtypes that the UNet takes. Checks dtypes, not shapes. Throws Error.
models::UNet::Inputs unet_inputs(const models::UNet& unet, const at::Tensor& sample, const at::Tensor& timesteps,
                                 const at::Tensor& encoder_hidden_states, const at::Tensor& text_embeds,
                                 const at::Tensor& time_ids);

// Returns the prediction in f32, with the model's adapters or without them. Throws Error.
at::Tensor unet_prediction(Session& session, const Model& model, const models::UNet::Inputs& inputs,
                           bool with_adapters = true);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_MODEL_VALUE_H_
