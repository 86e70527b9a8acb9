// UNet2DConditionModel: the noise predictor of Stable Diffusion 1.x, 2.x, SDXL base and SDXL refiner.
//
// Layers, names and the order of computation are those of diffusers (models/unets/unet_2d_condition.py), so that its
// checkpoints load by name; Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", and Podell
// et al., "SDXL", describe the networks.
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
  /// Resnets of the down block; the up block has one more.
  int64_t layers = 2;
  /// Transformers after the resnets: CrossAttnDownBlock2D rather than DownBlock2D, and likewise up.
  bool down_attention = false;
  bool up_attention = false;
  /// Transformer blocks in each transformer.
  int64_t transformer_layers = 1;
  /// Number of heads; what configs call attention_head_dim.
  int64_t heads = 8;
};

/// What diffusers' config.json says. The rest of its fields are fixed: silu, default time embedding, cross attention in
/// the middle block (whose depth and heads are the deepest level's), residual scale 1. upcast_attention asks for f32
/// scores, which the attention op always has.
struct UNetSpec {
  int64_t in_channels = 4;
  int64_t out_channels = 4;
  /// Finest first.
  std::vector<UNetLevel> levels = {};
  int64_t cross_attention_dim = 768;
  /// Projections around the transformer: linear, or 1x1 convolutions.
  bool use_linear_projection = false;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  bool flip_sin_to_cos = true;
  double freq_shift = 0.0;
  /// text_time, SDXL's: the pooled text embedding beside sizes and crops, each embedded with this many channels. 0:
  /// none.
  int64_t addition_time_embed_dim = 0;
  /// Width of that joint vector.
  int64_t projection_class_embeddings_input_dim = 0;

  bool text_time() const { return addition_time_embed_dim > 0; }
};

class UNet final {
 public:
  /// Throws std::invalid_argument that names the field where the spec makes no network.
  UNet(const UNetSpec& spec, const WeightOptions& options);
  ~UNet();
  UNet(const UNet&) = delete;
  UNet& operator=(const UNet&) = delete;

  struct Inputs {
    /// [B,in_channels,H,W], in the model's precision.
    tape::Var sample_BCHW;
    /// [B] f32: any numbers, a row's own.
    at::Tensor timesteps_B;
    /// [B,T,cross_attention_dim], in the model's precision.
    tape::Var encoder_hidden_states_BTD = {};
    /// In their place, without gradients: what `text_keys_values` made of them.
    at::Tensor text_keys_values_BTK = {};
    /// [B,E] in the model's precision and [B,K] f32, E + K addition_time_embed_dim =
    /// projection_class_embeddings_input_dim. With text_time only.
    tape::Var text_embeds_BE = {};
    at::Tensor time_ids_BK = {};
  };

  /// The prediction [B,out_channels,H,W]. `checkpointing`: each layer (a resnet and its transformer) keeps its inputs
  /// alone, and runs again in backward. Throws ShapeMismatch or std::invalid_argument for inputs that do not fit, and
  /// std::invalid_argument for parameters that were never written.
  tape::Var forward(tape::Tape& tape, const Inputs& inputs, bool checkpointing = false) const;

  /// The keys and values of every cross attention, [B,T,text_keys_values_channels()]: what `forward` makes of the text,
  /// which is the same at every timestep and for every picture. Holds until a weight changes. `adapters`: as of the
  /// tape that they are for.
  at::Tensor text_keys_values(const at::Tensor& encoder_hidden_states_BTD, bool adapters) const;
  int64_t text_keys_values_channels() const;

  /// Throws ShapeMismatch or std::invalid_argument as `forward` would.
  void check_inputs(const Inputs& inputs) const;

  const UNetSpec& spec() const { return spec_; }
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }

  // The parts, defined in unet.cpp.
  struct Resnet;
  struct Transformer;
  struct DownBlock;
  struct MidBlock;
  struct UpBlock;
  struct TimeEmbedding;
  struct TextProjections;

 private:
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
