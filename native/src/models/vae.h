// AutoencoderKL: between pictures and the latents that Stable Diffusion works on.
//
// Layers, names and the order of computation are those of diffusers (models/autoencoders/autoencoder_kl.py), so that
// its checkpoints load by name. Latents here are the network's own: the pipeline's scaling factor is the caller's.
#ifndef SMPO_MODELS_VAE_H_
#define SMPO_MODELS_VAE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "models/weights.h"
#include "tape/tape.h"

namespace smpo::models {

/// What diffusers' config.json says. The rest of its fields are fixed: DownEncoderBlock2D and UpDecoderBlock2D, silu.
struct VaeSpec {
  int64_t in_channels = 3;
  int64_t out_channels = 3;
  int64_t latent_channels = 4;
  /// Finest first.
  std::vector<int64_t> block_out_channels = {};
  /// Resnets per level of the encoder; the decoder has one more.
  int64_t layers_per_block = 2;
  int64_t norm_num_groups = 32;
  bool use_quant_conv = true;
  bool use_post_quant_conv = true;
  bool mid_block_attention = true;

  /// Pixels per latent, along each side.
  int64_t factor() const { return int64_t{1} << (block_out_channels.size() - 1); }
};

class Vae final {
 public:
  /// Throws std::invalid_argument that names the field where the spec makes no network.
  Vae(const VaeSpec& spec, const WeightOptions& options);
  ~Vae();
  Vae(const Vae&) = delete;
  Vae& operator=(const Vae&) = delete;

  /// A Gaussian per latent: [B,latent_channels,h,w] each; logvar is within [-30, 20].
  struct Posterior {
    tape::Var mean_BLHW;
    tape::Var logvar_BLHW;
  };
  /// `pixels`: [B,in_channels,H,W] in [-1,1], in the model's precision, each side at least factor(). h = H / factor()
  /// rounded down: as in diffusers, the odd row or column that a level meets at the bottom or right falls away.
  /// `checkpointing`: each layer keeps its input alone, and runs again in backward. Throws std::invalid_argument for
  /// inputs that do not fit and for parameters that were never written.
  Posterior encode(tape::Tape& tape, const tape::Var& pixels_BCHW, bool checkpointing = false) const;
  /// `latents`: [B,latent_channels,h,w], in the model's precision. Result: [B,out_channels,factor() h,factor() w].
  tape::Var decode(tape::Tape& tape, const tape::Var& latents_BLHW, bool checkpointing = false) const;

  /// The same in tiles of `tile` by `tile` pixels, so that memory does not grow with the picture: each tile overlaps
  /// the next by a quarter and fades into it, as diffusers' enable_tiling() does with tile = sample_size of the config.
  /// Each tile has its own norms and attention, so the result differs from the whole's. A picture no larger than a tile
  /// runs whole. Forward only. `tile` is a multiple of 4 factor(), so that tiles meet where they should; throws
  /// std::invalid_argument for another, and where the last tile of a picture would be narrower than a latent.
  Posterior encode_tiled(const at::Tensor& pixels_BCHW, int64_t tile, bool adapters = true) const;
  at::Tensor decode_tiled(const at::Tensor& latents_BLHW, int64_t tile, bool adapters = true) const;

  const VaeSpec& spec() const { return spec_; }
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }

  // The parts, defined in vae.cpp.
  struct Encoder;
  struct Decoder;

 private:
  void check_pixels(const at::Tensor& pixels_BCHW) const;
  void check_latents(const at::Tensor& latents_BLHW) const;
  void check_tile(int64_t tile) const;
  /// Mean and log variance, side by side: [B,2 latent_channels,h,w].
  tape::Var moments(tape::Tape& tape, const tape::Var& pixels_BCHW, bool checkpointing) const;
  tape::Var pixels(tape::Tape& tape, const tape::Var& latents_BLHW, bool checkpointing) const;
  Posterior posterior(tape::Tape& tape, const tape::Var& moments_BMHW) const;

  VaeSpec spec_;
  Weights weights_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<Decoder> decoder_;
  /// Null without.
  const tape::Layer* quant_conv_ = nullptr;
  const tape::Layer* post_quant_conv_ = nullptr;
};

}  // namespace smpo::models

#endif  // SMPO_MODELS_VAE_H_
