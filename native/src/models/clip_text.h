// CLIP's text tower: what encodes the prompts of Stable Diffusion 1.x (ViT-L), 2.x (OpenCLIP-H) and SDXL (both ViT-L
// and OpenCLIP-bigG), and the text half of CLIP-shaped reward models.
//
// Which result a pipeline takes:              skip  final_norm  pooled
//   SD 1.x                                      0      yes       no       clip skip k: skip k
//   SD 2.x                                      0      yes       no       its config counts layers without the last
//   SDXL, first tower                           1      no        no       clip skip k: skip k + 1, likewise
//   SDXL, second tower                          1      no        yes
#ifndef SMPO_MODELS_CLIP_TEXT_H_
#define SMPO_MODELS_CLIP_TEXT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "models/clip_encoder.h"
#include "models/weights.h"
#include "tape/tape.h"

namespace smpo::models {

/// What transformers' config.json of a CLIPTextModel or CLIPTextModelWithProjection says.
struct ClipTextSpec {
  int64_t vocab_size = 49408;
  int64_t max_position_embeddings = 77;
  ClipEncoderSpec encoder = {};
  /// Width of the projection of the pooled token. 0: none (CLIPTextModel, whatever projection_dim its config has).
  int64_t projection_dim = 0;
  /// The pooled token is the first with this id; where it is kLargestId, the first of those with the row's largest.
  int64_t eos_token_id = kLargestId;

  /// What configs had before the field meant anything.
  static constexpr int64_t kLargestId = 2;
};

class ClipText final {
 public:
  /// Throws std::invalid_argument that names the field where the spec makes no network.
  ClipText(const ClipTextSpec& spec, const WeightOptions& options);

  struct Options {
    /// The hidden state is the output of layer `layers - skip`; with skip = layers, the embeddings.
    int64_t skip = 0;
    /// The hidden state passes through the final layer norm.
    bool final_norm = true;
    /// The pooled output is wanted. If not, the last `skip` layers do not run.
    bool pooled = true;
    /// Each layer keeps its input alone, and runs again in backward.
    bool checkpointing = false;
  };
  struct Output {
    /// [B,S,hidden_size]
    tape::Var hidden_BSC;
    /// [B,projection_dim], or [B,hidden_size] without projection: the end token after the last layer and the final
    /// norm, whatever `skip` and `final_norm` say. Undefined where it is not wanted.
    tape::Var pooled_BP = {};
  };
  /// `ids_BS`: [B,S] of int32 or int64, 1 <= S <= max_position_embeddings. Throws std::invalid_argument for ids outside
  /// the vocabulary, for a row without end token whose pooled output is wanted, and for parameters never written.
  Output encode(tape::Tape& tape, const at::Tensor& ids_BS, const Options& options) const;

  const ClipTextSpec& spec() const { return spec_; }
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }

 private:
  /// Checked, int64, on the CPU.
  at::Tensor checked_ids(const at::Tensor& ids_BS) const;
  /// Position of the pooled token per row.
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
