// CLIP's text encoder. Encodes the prompts of Stable Diffusion 1.x (ViT-L), 2.x (OpenCLIP-H) and SDXL (ViT-L and
// OpenCLIP-bigG), and is the text half of reward models with CLIP's architecture.
//
// Outputs used by each pipeline:
// ```text
//                          skip  final_norm  pooled
//   SD 1.x                  0      yes        no      clip skip k: skip k
//   SD 2.x                  0      yes        no      num_hidden_layers of its config omits the last layer
//   SDXL, first encoder     1      no         no      clip skip k: skip k + 1
//   SDXL, second encoder    1      no         yes     clip skip k: skip k + 1
// ```
#ifndef SMPO_MODELS_CLIP_TEXT_H_
#define SMPO_MODELS_CLIP_TEXT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "models/clip_encoder.h"
#include "models/weights.h"
#include "tape/tape.h"

namespace smpo::models {

/// The fields of transformers' config.json of a CLIPTextModel or CLIPTextModelWithProjection.
struct ClipTextSpec {
  int64_t vocab_size = 49408;
  int64_t max_position_embeddings = 77;
  ClipEncoderSpec encoder = {};
  /// Width of the projection of the pooled token. 0: no projection (CLIPTextModel, whatever projection_dim its config
  /// has).
  int64_t projection_dim = 0;
  /// The pooled token is the first with this id. With kLargestId it is the first token with the largest id of its row.
  int64_t eos_token_id = kLargestId;

  /// Value of eos_token_id in old configs, from before transformers used the field.
  static constexpr int64_t kLargestId = 2;
};

class ClipText final {
 public:
  /// Throws std::invalid_argument, naming the field, for a spec that describes no network.
  ClipText(const ClipTextSpec& spec, const WeightOptions& options);

  struct Options {
    /// Number of layers to skip at the end: the hidden state is the output of layer `layers - skip`; with skip =
    /// layers, the embeddings.
    int64_t skip = 0;
    /// Whether the hidden state passes through the final layer norm.
    bool final_norm = true;
    /// Whether to compute the pooled output. Without it, the last `skip` layers do not run.
    bool pooled = true;
    /// The backward pass recomputes the activations of each layer from its input.
    bool checkpointing = false;
  };
  struct Output {
    /// [B,S,hidden_size]
    tape::Var hidden_BSC;
    /// [B,projection_dim], or [B,hidden_size] without projection: the end token after the last layer and the final
    /// norm, independent of `skip` and `final_norm`. Undefined unless requested.
    tape::Var pooled_BP = {};
  };
  /// `ids_BS`: [B,S] of int32 or int64, 1 <= S <= max_position_embeddings. Throws std::invalid_argument for ids outside
  /// the vocabulary, for a row without end token if the pooled output is requested, and for parameters never written.
  Output encode(tape::Tape& tape, const at::Tensor& ids_BS, const Options& options) const;

  const ClipTextSpec& spec() const { return spec_; }
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }

 private:
  /// Returns the position of the pooled token in each row.
  at::Tensor end_positions(const at::Tensor& ids_BS) const;

  ClipTextSpec spec_;
  Weights weights_;
  const tape::Parameter* token_embedding_;
  const tape::Parameter* position_embedding_;
  std::unique_ptr<ClipEncoder> encoder_;
  const tape::Layer* final_layer_norm_;
  /// Null without projection.
  const tape::Layer* text_projection_ = nullptr;
};

}  // namespace smpo::models

#endif  // SMPO_MODELS_CLIP_TEXT_H_
