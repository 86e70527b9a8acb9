// The stack of pre-norm transformer layers in CLIP's text and vision encoders.
//
// Layers, parameter names and the order of computation are those of transformers (models/clip/modeling_clip.py), so
// that its checkpoints load by name. CLIP is described in arXiv 2103.00020.
#ifndef SMPO_MODELS_CLIP_ENCODER_H_
#define SMPO_MODELS_CLIP_ENCODER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "models/weights.h"
#include "tape/tape.h"

namespace smpo::models {

/// Activation of the MLP; hidden_act in transformers' config.
enum class ClipActivation {
  /// Exact GELU (erf), used by OpenCLIP models.
  kGelu,
  /// x sigmoid(1.702 x), used by OpenAI's models.
  kQuickGelu,
};

struct ClipEncoderSpec {
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t attention_heads = 12;
  int64_t layers = 12;
  ClipActivation activation = ClipActivation::kQuickGelu;
  double layer_norm_eps = 1e-5;
};

/// Throws std::invalid_argument, naming the field, for a spec that describes no network.
void check_spec(const ClipEncoderSpec& spec);

class ClipEncoder final {
 public:
  /// Declares the layers `name`.layers.0, `name`.layers.1, ... The spec has been checked.
  ClipEncoder(Weights& weights, const ClipEncoderSpec& spec, const std::string& name);

  struct Options {
    /// Token s attends to tokens 0..s only.
    bool causal = false;
    /// The backward pass recomputes the activations of each layer from its input.
    bool checkpointing = false;
  };
  /// Runs layers first .. last - 1 on [B,S,hidden_size].
  tape::Var forward(tape::Tape& tape, tape::Var x_BSC, int64_t first, int64_t last, const Options& options) const;

 private:
  struct Layer {
    const tape::Layer& layer_norm1;
    const tape::Layer& q_proj;
    const tape::Layer& k_proj;
    const tape::Layer& v_proj;
    const tape::Layer& out_proj;
    const tape::Layer& layer_norm2;
    const tape::Layer& fc1;
    const tape::Layer& fc2;

    Layer(Weights& w, const ClipEncoderSpec& spec, const std::string& name);
    tape::Var operator()(tape::Tape& tape, const tape::Var& x_BSC, const ClipEncoderSpec& spec, bool causal) const;
  };

  ClipEncoderSpec spec_;
  std::vector<Layer> layers_;
};

}  // namespace smpo::models

#endif  // SMPO_MODELS_CLIP_ENCODER_H_
