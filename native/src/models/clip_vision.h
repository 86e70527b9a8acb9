// CLIP's vision encoder: the image half of reward models with CLIP's architecture (PickScore, HPS, aesthetic
// predictor). Three fields of its spec turn it into the vision transformer of BLIP (ImageReward).
#ifndef SMPO_MODELS_CLIP_VISION_H_
#define SMPO_MODELS_CLIP_VISION_H_

#include <cstdint>
#include <memory>

#include "models/clip_encoder.h"
#include "models/weights.h"
#include "tape/tape.h"

namespace smpo::models {

/// The fields of transformers' config.json of a CLIPVisionModelWithProjection, and what distinguishes BLIP's.
struct ClipVisionSpec {
  int64_t image_size = 224;
  int64_t patch_size = 32;
  int64_t channels = 3;
  ClipEncoderSpec encoder = {};
  /// 0: no projection (CLIPVisionModel).
  int64_t projection_dim = 512;
  /// Whether the convolution that embeds patches has a bias (BLIP).
  bool patch_bias = false;
  /// Whether the embeddings pass through a norm before the first layer (CLIP).
  bool pre_norm = true;
  /// Whether the output has all tokens, each after post_layernorm, instead of the class token (BLIP). Without
  /// projection.
  bool all_tokens = false;

  /// Number of tokens per image: the class token, then whole patches row by row.
  int64_t tokens() const { return 1 + (image_size / patch_size) * (image_size / patch_size); }
};

class ClipVision final {
 public:
  /// Throws std::invalid_argument, naming the field, for a spec that describes no network.
  ClipVision(const ClipVisionSpec& spec, const WeightOptions& options);

  struct Output {
    /// After the last layer, before any norm: [B,tokens,hidden_size].
    tape::Var hidden_BSC;
    /// The class token after post_layernorm and projection: [B,projection_dim], or [B,hidden_size] without
    /// projection. Not normalized. With all_tokens: [B,tokens,hidden_size] after post_layernorm.
    tape::Var embeds_BP;
  };
  /// `pixel_values`: [B,channels,image_size,image_size] in the model's precision, normalized by the processor's mean
  /// and standard deviation. `checkpointing`: the backward pass recomputes the activations of each layer. Throws
  /// std::invalid_argument for another shape or dtype and for parameters never written.
  Output encode(tape::Tape& tape, const tape::Var& pixel_values_BCHW, bool checkpointing = false) const;

  const ClipVisionSpec& spec() const { return spec_; }
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }

 private:
  ClipVisionSpec spec_;
  Weights weights_;
  const tape::Parameter* class_embedding_;
  const tape::Layer* patch_embedding_;
  const tape::Parameter* position_embedding_;
  /// Null without pre_norm.
  const tape::Layer* pre_layernorm_ = nullptr;
  std::unique_ptr<ClipEncoder> encoder_;
  const tape::Layer* post_layernorm_;
  /// Null without projection.
  const tape::Layer* visual_projection_ = nullptr;
};

}  // namespace smpo::models

#endif  // SMPO_MODELS_CLIP_VISION_H_
