// UNet2DConditionModel: the noise predictor of Stable Diffusion 1.x, 2.x, SDXL base and SDXL refiner.
//
// Layers, parameter names and the order of computation are those of diffusers (models/unets/unet_2d_condition.py), so
// that its checkpoints load by name. The networks are described in arXiv 2112.10752 (latent diffusion) and 2307.01952
// (SDXL).
#ifndef SMPO_MODELS_UNET_H_
#define SMPO_MODELS_UNET_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "models/weights.h"
#include "tape/tape.h"

namespace smpo::models {

/// One resolution of the UNet, down and up.
struct UNetLevel {
  int64_t channels = 0;
  /// Number of resnets in the down block; the up block has one more.
  int64_t layers = 2;
  /// Whether a transformer follows each resnet: CrossAttnDownBlock2D rather than DownBlock2D, CrossAttnUpBlock2D rather
  /// than UpBlock2D.
  bool down_attention = false;
  bool up_attention = false;
  /// Number of blocks in each transformer.
  int64_t transformer_layers = 1;
  /// Number of attention heads; configs call it attention_head_dim.
  int64_t heads = 8;
};

/// The fields of diffusers' config.json. Other fields have fixed values: silu, default time embedding, cross attention
/// in the middle block (with depth and heads of the deepest level), residual scale 1. upcast_attention requests f32
/// scores, which the attention op always uses.
struct UNetSpec {
  int64_t in_channels = 4;
  int64_t out_channels = 4;
  /// Finest first.
  std::vector<UNetLevel> levels = {};
  int64_t cross_attention_dim = 768;
  /// Whether the projections around a transformer are linear layers rather than 1x1 convolutions.
  bool use_linear_projection = false;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  bool flip_sin_to_cos = true;
  double freq_shift = 0.0;
  /// Channels with which each size and crop coordinate of SDXL's text_time embedding is embedded. 0: no such embedding.
  int64_t addition_time_embed_dim = 0;
  /// Width of the text_time input: pooled text embedding, embedded sizes and crops.
  int64_t projection_class_embeddings_input_dim = 0;

  bool text_time() const { return addition_time_embed_dim > 0; }
};

class UNet final {
 public:
  /// Throws std::invalid_argument, naming the field, for a spec that describes no network.
  UNet(const UNetSpec& spec, const WeightOptions& options);
  ~UNet();
  UNet(const UNet&) = delete;
  UNet& operator=(const UNet&) = delete;

  struct Inputs {
    /// [B,in_channels,H,W], in the model's precision.
    tape::Var sample_BCHW;
    /// [B] f32: any number for each row.
    at::Tensor timesteps_B;
    /// [B,T,cross_attention_dim], in the model's precision.
    tape::Var encoder_hidden_states_BTD = {};
    /// Replaces encoder_hidden_states where no gradients are needed: the result of `text_keys_values`.
    at::Tensor text_keys_values_BTK = {};
    /// With text_time only: [B,E] in the model's precision and [B,K] f32, where E + K addition_time_embed_dim =
    /// projection_class_embeddings_input_dim.
    tape::Var text_embeds_BE = {};
    at::Tensor time_ids_BK = {};
  };

  /// Returns the prediction [B,out_channels,H,W]. `checkpointing`: the backward pass recomputes the activations of each
  /// layer (a resnet and its transformer) from its inputs. Throws ShapeMismatch or std::invalid_argument for inputs
  /// that do not fit, std::invalid_argument for parameters that were never written.
  tape::Var forward(tape::Tape& tape, const Inputs& inputs, bool checkpointing = false) const;

  /// Returns the keys and values of every cross attention, [B,T,text_keys_values_channels()], which depend on the
  /// prompt only, not on timestep or image. Valid until a weight changes. `adapters`: whether adapters are on, as on
  /// the tape that will use them.
  at::Tensor text_keys_values(const at::Tensor& encoder_hidden_states_BTD, bool adapters) const;
  int64_t text_keys_values_channels() const;

  /// Whether an evaluation is too little work for its layers to be shared among threads (small_work.h). `forward` on a
  /// tape that does not record then shares the batch instead.
  bool is_small(const Inputs& inputs) const;

  /// Throws ShapeMismatch or std::invalid_argument as `forward` would.
  void check_inputs(const Inputs& inputs) const;

  const UNetSpec& spec() const { return spec_; }
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }

  // Parts of the network, defined in unet.cpp.
  struct Resnet;
  struct Transformer;
  struct DownBlock;
  struct MidBlock;
  struct UpBlock;
  struct TimeEmbedding;
  struct TextProjections;

 private:
  tape::Var evaluate(tape::Tape& tape, const Inputs& inputs, bool checkpointing) const;

  UNetSpec spec_;
  Weights weights_;
  std::unique_ptr<TextProjections> text_projections_;
  const tape::Layer* conv_in_;
  std::unique_ptr<TimeEmbedding> time_embedding_;
  /// Null without text_time.
  std::unique_ptr<TimeEmbedding> add_embedding_;
  std::vector<DownBlock> down_blocks_;
  std::unique_ptr<MidBlock> mid_block_;
  std::vector<UpBlock> up_blocks_;
  const tape::Layer* conv_norm_out_;
  const tape::Layer* conv_out_;
};

}  // namespace smpo::models

#endif  // SMPO_MODELS_UNET_H_
