// The stack of pre-norm transformer layers that CLIP's text and vision towers share.
//
// Layers, names and the order of computation are those of transformers (models/clip/modeling_clip.py), so that its
// checkpoints load by name; Radford et al., "Learning Transferable Visual Models From Natural Language Supervision".
#ifndef SMPO_MODELS_CLIP_ENCODER_H_
#define SMPO_MODELS_CLIP_ENCODER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "models/weights.h"
#include "tape/tape.h"

namespace smpo::models {

/// What transformers' config calls hidden_act.
enum class ClipActivation {
  /// Exact (erf): the OpenCLIP towers.
  kGelu,
  /// x sigmoid(1.702 x): OpenAI's towers.
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

/// Throws std::invalid_argument that names the field where the spec makes no network.
void check_spec(const ClipEncoderSpec& spec);

class ClipEncoder final {
 public:
  /// Declares `name`.layers.0 and on, of a spec that has been checked.
  ClipEncoder(Weights& weights, const ClipEncoderSpec& spec, const std::string& name);

  struct Options {
    /// Token s sees tokens 0..s.
    bool causal = false;
    /// Each layer keeps its input alone, and runs again in backward.
    bool checkpointing = false;
  };
  /// Layers first .. last - 1 on [B,S,hidden_size].
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
