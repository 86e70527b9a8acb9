// AutoencoderKL: encodes images to the latents of Stable Diffusion and decodes latents to images.
//
// Layers, parameter names and the order of computation are those of diffusers (models/autoencoders/autoencoder_kl.py),
// so that its checkpoints load by name. Latents are unscaled: the caller applies the pipeline's scaling factor.
#ifndef SMPO_MODELS_VAE_H_
#define SMPO_MODELS_VAE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "models/weights.h"
#include "tape/tape.h"

namespace smpo::models {

/// The fields of diffusers' config.json. Other fields have fixed values: DownEncoderBlock2D and UpDecoderBlock2D, silu.
struct VaeSpec {
  int64_t in_channels = 3;
  int64_t out_channels = 3;
  int64_t latent_channels = 4;
  /// Finest first.
  std::vector<int64_t> block_out_channels = {};
  /// Number of resnets per level of the encoder; the decoder has one more.
  int64_t layers_per_block = 2;
  int64_t norm_num_groups = 32;
  bool use_quant_conv = true;
  bool use_post_quant_conv = true;
  bool mid_block_attention = true;

  /// Number of pixels per latent along each side.
  int64_t factor() const { return int64_t{1} << (block_out_channels.size() - 1); }
};

class Vae final {
 public:
  /// Throws std::invalid_argument, naming the field, for a spec that describes no network.
  Vae(const VaeSpec& spec, const WeightOptions& options);
  ~Vae();
  Vae(const Vae&) = delete;
  Vae& operator=(const Vae&) = delete;

  /// The posterior over latents, a Gaussian per element: [B,latent_channels,h,w] each; logvar is within [-30, 20].
  struct Posterior {
    tape::Var mean_BLHW;
    tape::Var logvar_BLHW;
  };
  /// `pixels`: [B,in_channels,H,W] in [-1,1], in the model's precision, each side at least factor(). h = H / factor()
  /// rounded down: as in diffusers, each level drops an odd row or column at the bottom or right. `checkpointing`: the
  /// backward pass recomputes the activations of each layer from its input. Throws std::invalid_argument for inputs
  /// that do not fit and for parameters that were never written.
  Posterior encode(tape::Tape& tape, const tape::Var& pixels_BCHW, bool checkpointing = false) const;
  /// `latents`: [B,latent_channels,h,w], in the model's precision. Result: [B,out_channels,factor() h,factor() w].
  tape::Var decode(tape::Tape& tape, const tape::Var& latents_BLHW, bool checkpointing = false) const;

  /// Encode and decode in tiles of `tile` by `tile` pixels, so that memory does not grow with the image. Neighbouring
  /// tiles overlap by a quarter and are blended, as by diffusers' enable_tiling() with tile = sample_size of the
  /// config. Each tile has its own norms and attention, so the result differs from that of the whole image. An image no
  /// larger than a tile is processed as a whole. Forward only. `tile` is a multiple of 4 factor(), so that tiles align.
  /// Throws std::invalid_argument for any other, and if the last tile of an image would be narrower than a latent.
  /// `before_tile` is called before each tile; it may throw to stop.
  Posterior encode_tiled(const at::Tensor& pixels_BCHW, int64_t tile, bool adapters = true,
                         const std::function<void()>& before_tile = {}) const;
  at::Tensor decode_tiled(const at::Tensor& latents_BLHW, int64_t tile, bool adapters = true,
                          const std::function<void()>& before_tile = {}) const;

  const VaeSpec& spec() const { return spec_; }
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }

  // Parts of the network, defined in vae.cpp.
  struct Encoder;
  struct Decoder;

 private:
  void check_pixels(const at::Tensor& pixels_BCHW) const;
  void check_latents(const at::Tensor& latents_BLHW) const;
  void check_tile(int64_t tile) const;
  /// Mean and log variance, concatenated: [B,2 latent_channels,h,w].
  tape::Var moments(tape::Tape& tape, const tape::Var& pixels_BCHW, bool checkpointing) const;
  tape::Var pixels(tape::Tape& tape, const tape::Var& latents_BLHW, bool checkpointing) const;
  Posterior posterior(tape::Tape& tape, const tape::Var& moments_BMHW) const;

  VaeSpec spec_;
  Weights weights_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<Decoder> decoder_;
  /// Null if the spec has none.
  const tape::Layer* quant_conv_ = nullptr;
  const tape::Layer* post_quant_conv_ = nullptr;
};

}  // namespace smpo::models

#endif  // SMPO_MODELS_VAE_H_
