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
  // Architectures share no base class: what they have in common is their weights. In the order of SMPO_MODEL_*.
  std::variant<std::unique_ptr<models::UNet>, std::unique_ptr<models::Vae>, std::unique_ptr<models::ClipText>,
               std::unique_ptr<models::ClipVision>>
      network;
  // Of a UNet: backward runs each layer again.
  bool checkpointing = false;
  // Of this one alone, in the process.
  uint64_t number = next_number();
  // Counts up when weights move or adapters change: what was recorded before then no longer holds.
  uint64_t structure = 0;
  // Of a UNet: what has been recorded of it, alone, inverting, and as the policy of a step. Evaluation changes nothing
  // else in it.
  mutable Graphs<PredictionMemory> predictions = {};
  mutable Graphs<InversionMemory> inversions = {};
  Graphs<StepMemory> steps = {};
  // The one that is open on it, if any.
  std::weak_ptr<const Optimizer> optimizer = {};
  // Whose gradients have been added since the last step: its one read brings their results too.
  std::vector<std::weak_ptr<PairBatch>> accumulated = {};

  models::Weights& weights() const {
    return std::visit([](const auto& held) -> models::Weights& { return held->weights(); }, network);
  }
  // Adapters whose scale is 0 take no part.
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

// The model as a UNet. Throws Error(SMPO_INVALID_HANDLE), naming the argument, when it is something else.
models::UNet& require_unet(const Model& model, const char* name = "model");
// Likewise, and one whose prediction has the channels of its sample; else Error(SMPO_UNSUPPORTED).
models::UNet& require_denoiser(const Model& model, const char* name);

// Inputs as a UNet takes them, of any floating dtype; the caller has checked nothing yet. Throws Error.
models::UNet::Inputs unet_inputs(const models::UNet& unet, const at::Tensor& sample, const at::Tensor& timesteps,
                                 const at::Tensor& encoder_hidden_states, const at::Tensor& text_embeds,
                                 const at::Tensor& time_ids);

// The prediction in f32. Throws Error.
at::Tensor unet_prediction(Session& session, const Model& model, const models::UNet::Inputs& inputs);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_MODEL_VALUE_H_
