#include "models/vae.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "models/check.h"
#include "tape/ops.h"

// Legend: B batch, C channels, H W size of an image or of a level, S = H W its tokens, L latent channels, M = 2 L
// moments.
namespace smpo::models {

using tape::Layer;
using tape::Tape;
using tape::Var;

namespace {

// Constants of diffusers' AutoencoderKL that are not in the config.
constexpr double kNormEps = 1e-6;
constexpr double kLeastLogvar = -30.0;
constexpr double kMostLogvar = 20.0;
/// Tiles overlap by 1 / kOverlap of their side.
constexpr int64_t kOverlap = 4;

void check_spec(const VaeSpec& spec) {
  constexpr size_t kMostLevels = 16;
  check_size(spec.in_channels, "in_channels");
  check_size(spec.out_channels, "out_channels");
  check_size(spec.latent_channels, "latent_channels");
  check_size(spec.layers_per_block, "layers_per_block");
  check_size(spec.norm_num_groups, "norm_num_groups");
  const std::vector<int64_t>& channels = spec.block_out_channels;
  if (channels.empty() || channels.size() > kMostLevels) {
    refuse("block_out_channels: expected 1..", kMostLevels, " levels, got ", channels.size());
  }
  for (size_t i = 0; i < channels.size(); ++i) {
    const std::string field = text("block_out_channels[", i, "]");
    check_size(channels[i], field);
    if (channels[i] % spec.norm_num_groups != 0) {
      refuse(field, ": expected a multiple of norm_num_groups (", spec.norm_num_groups, "), got ", channels[i]);
    }
  }
}

// ---- layers

struct Resnet {
  const Layer& norm1;
  const Layer& conv1;
  const Layer& norm2;
  const Layer& conv2;
  const Layer* conv_shortcut;
  int64_t groups;

  Resnet(Weights& w, const VaeSpec& spec, const std::string& name, int64_t in, int64_t out)
      : norm1(w.norm(name + ".norm1", in)),
        conv1(w.conv2d(name + ".conv1", in, out, 3)),
        norm2(w.norm(name + ".norm2", out)),
        conv2(w.conv2d(name + ".conv2", out, out, 3)),
        conv_shortcut(in == out ? nullptr : &w.conv2d(name + ".conv_shortcut", in, out, 1)),
        groups(spec.norm_num_groups) {}

  Var operator()(Tape& tape, const Var& x_BCHW) const {
    Var h = group_norm_silu(tape, x_BCHW, norm1, groups, kNormEps);
    h = conv2d(tape, h, conv1, {.padding = 1});
    h = group_norm_silu(tape, h, norm2, groups, kNormEps);
    const Var shortcut = conv_shortcut == nullptr ? x_BCHW : conv2d(tape, x_BCHW, *conv_shortcut);
    return conv2d(tape, h, conv2, {.padding = 1, .residual = shortcut});
  }
};

/// Self-attention over all positions, with a single head.
struct SelfAttention {
  const Layer& group_norm;
  const Layer& to_q;
  const Layer& to_k;
  const Layer& to_v;
  const Layer& to_out;
  int64_t groups;

  SelfAttention(Weights& w, const VaeSpec& spec, const std::string& name, int64_t channels)
      : group_norm(w.norm(name + ".group_norm", channels)),
        to_q(w.linear(name + ".to_q", channels, channels)),
        to_k(w.linear(name + ".to_k", channels, channels)),
        to_v(w.linear(name + ".to_v", channels, channels)),
        to_out(w.linear(name + ".to_out.0", channels, channels)),
        groups(spec.norm_num_groups) {}

  Var operator()(Tape& tape, const Var& x_BCHW) const {
    const Var h_BSC = tokens(tape, tape::group_norm(tape, x_BCHW, group_norm, groups, kNormEps));
    const Var q_BSC = linear(tape, h_BSC, to_q);
    const Var k_BSC = linear(tape, h_BSC, to_k);
    const Var v_BSC = linear(tape, h_BSC, to_v);
    const Var y_BSC = attention(tape, q_BSC, k_BSC, v_BSC, {.heads = 1});
    return image(tape, linear(tape, y_BSC, to_out, {.residual = tokens(tape, x_BCHW)}), x_BCHW.size(2), x_BCHW.size(3));
  }
};

/// Runs one layer; with checkpointing, the backward pass recomputes its activations.
template <typename Part>
Var run(Tape& tape, const Part& part, const Var& x_BCHW, bool checkpointing) {
  if (!checkpointing || !tape.recording()) return part(tape, x_BCHW);
  return tape.checkpoint({x_BCHW},
                         [&part](Tape& t, std::span<const Var> in) -> std::vector<Var> { return {part(t, in[0])}; })[0];
}

struct MidBlock {
  Resnet first;
  std::optional<SelfAttention> attention;
  Resnet second;

  MidBlock(Weights& w, const VaeSpec& spec, const std::string& name)
      : first(w, spec, name + ".resnets.0", spec.block_out_channels.back(), spec.block_out_channels.back()),
        second(w, spec, name + ".resnets.1", spec.block_out_channels.back(), spec.block_out_channels.back()) {
    if (spec.mid_block_attention) attention.emplace(w, spec, name + ".attentions.0", spec.block_out_channels.back());
  }

  Var operator()(Tape& tape, Var x_BCHW, bool checkpointing) const {
    x_BCHW = run(tape, first, x_BCHW, checkpointing);
    if (attention) x_BCHW = run(tape, *attention, x_BCHW, checkpointing);
    return run(tape, second, x_BCHW, checkpointing);
  }
};

/// The resnets of one level and the resampling to the next level.
struct Level {
  std::vector<Resnet> resnets;
  /// Null at the last level.
  const Layer* resample = nullptr;

  Level(Weights& w, const VaeSpec& spec, const std::string& name, int64_t in, int64_t out, int64_t layers) {
    for (int64_t j = 0; j < layers; ++j) {
      resnets.emplace_back(w, spec, text(name, ".resnets.", j), j == 0 ? in : out, out);
    }
  }

  Var operator()(Tape& tape, Var x_BCHW, bool checkpointing) const {
    for (const Resnet& resnet : resnets) x_BCHW = run(tape, resnet, x_BCHW, checkpointing);
    return x_BCHW;
  }
};

Var clamp(Tape& tape, const Var& x, double least, double most) {
  at::Tensor y = x.value.clamp(least, most);
  if (!tape.tracks(x)) return y;
  return tape.record(std::move(y), [x, least, most](Tape& t, const at::Tensor& d_y) {
    t.accumulate(x, d_y.masked_fill(x.value.lt(least).logical_or_(x.value.gt(most)), 0));
  });
}

// ---- tiles

/// Blends the beginning of `tile` along `dim` with the end of `before`.
void blend(at::Tensor& tile, const at::Tensor& before, int64_t dim, int64_t extent) {
  extent = std::min({before.size(dim), tile.size(dim), extent});
  const at::ScalarType wide = tile.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  std::vector<int64_t> shape(4, 1);
  shape[static_cast<size_t>(dim)] = extent;
  const at::Tensor weight = at::arange(extent, tile.options().dtype(wide)).div_(extent).view(shape);
  const at::Tensor from = before.narrow(dim, before.size(dim) - extent, extent).to(wide);
  at::Tensor into = tile.narrow(dim, 0, extent);
  into.copy_(from.mul(weight.neg().add_(1)).add_(into.to(wide).mul(weight)));
}

/// Applies `part` to tiles of `x` with side tile_in, whose results have side tile_out, and joins the results. Holds two
/// rows of tiles at a time.
template <typename Part>
at::Tensor in_tiles(const at::Tensor& x_BCHW, int64_t tile_in, int64_t tile_out, const Part& part) {
  const int64_t step = tile_in - tile_in / kOverlap;
  const int64_t extent = tile_out / kOverlap;
  const int64_t height = x_BCHW.size(2), width = x_BCHW.size(3);
  std::vector<at::Tensor> above, rows;
  for (int64_t i = 0; i < height; i += step) {
    std::vector<at::Tensor> row, kept;
    for (int64_t j = 0; j < width; j += step) {
      at::Tensor tile =
          part(x_BCHW.slice(2, i, std::min(i + tile_in, height)).slice(3, j, std::min(j + tile_in, width)));
      // The neighbours have been blended already.
      if (!above.empty()) blend(tile, above[row.size()], 2, extent);
      if (!row.empty()) blend(tile, row.back(), 3, extent);
      kept.push_back(tile.slice(2, 0, tile_out - extent).slice(3, 0, tile_out - extent));
      row.push_back(std::move(tile));
    }
    rows.push_back(at::cat(kept, 3));
    above = std::move(row);
  }
  return at::cat(rows, 2);
}

}  // namespace

// ---- encoder, decoder

struct Vae::Encoder {
  const Layer& conv_in;
  std::vector<Level> down_blocks;
  std::optional<MidBlock> mid_block;
  const Layer* conv_norm_out;
  const Layer* conv_out;
  int64_t groups;

  Encoder(Weights& w, const VaeSpec& spec)
      : conv_in(w.conv2d("encoder.conv_in", spec.in_channels, spec.block_out_channels[0], 3)),
        groups(spec.norm_num_groups) {
    const std::vector<int64_t>& channels = spec.block_out_channels;
    for (size_t i = 0; i < channels.size(); ++i) {
      const std::string name = text("encoder.down_blocks.", i);
      Level& level =
          down_blocks.emplace_back(w, spec, name, channels[i == 0 ? 0 : i - 1], channels[i], spec.layers_per_block);
      if (i + 1 < channels.size()) {
        level.resample = &w.conv2d(name + ".downsamplers.0.conv", channels[i], channels[i], 3);
      }
    }
    mid_block.emplace(w, spec, "encoder.mid_block");
    conv_norm_out = &w.norm("encoder.conv_norm_out", channels.back());
    conv_out = &w.conv2d("encoder.conv_out", channels.back(), 2 * spec.latent_channels, 3);
  }

  Var operator()(Tape& tape, Var x_BCHW, bool checkpointing) const {
    x_BCHW = conv2d(tape, x_BCHW, conv_in, {.padding = 1});
    for (const Level& level : down_blocks) {
      x_BCHW = level(tape, x_BCHW, checkpointing);
      // Zero padding at the bottom and right only.
      if (level.resample != nullptr) {
        x_BCHW = conv2d(tape, x_BCHW, *level.resample, {.stride = 2, .padding = {0, 1}});
      }
    }
    x_BCHW = (*mid_block)(tape, x_BCHW, checkpointing);
    x_BCHW = group_norm_silu(tape, x_BCHW, *conv_norm_out, groups, kNormEps);
    return conv2d(tape, x_BCHW, *conv_out, {.padding = 1});
  }
};

struct Vae::Decoder {
  const Layer& conv_in;
  MidBlock mid_block;
  /// Coarsest first.
  std::vector<Level> up_blocks;
  const Layer* conv_norm_out;
  const Layer* conv_out;
  int64_t groups;

  Decoder(Weights& w, const VaeSpec& spec)
      : conv_in(w.conv2d("decoder.conv_in", spec.latent_channels, spec.block_out_channels.back(), 3)),
        mid_block(w, spec, "decoder.mid_block"),
        groups(spec.norm_num_groups) {
    const std::vector<int64_t> channels(spec.block_out_channels.rbegin(), spec.block_out_channels.rend());
    for (size_t i = 0; i < channels.size(); ++i) {
      const std::string name = text("decoder.up_blocks.", i);
      Level& level =
          up_blocks.emplace_back(w, spec, name, channels[i == 0 ? 0 : i - 1], channels[i], spec.layers_per_block + 1);
      if (i + 1 < channels.size()) level.resample = &w.conv2d(name + ".upsamplers.0.conv", channels[i], channels[i], 3);
    }
    conv_norm_out = &w.norm("decoder.conv_norm_out", channels.back());
    conv_out = &w.conv2d("decoder.conv_out", channels.back(), spec.out_channels, 3);
  }

  Var operator()(Tape& tape, Var x_BCHW, bool checkpointing) const {
    x_BCHW = conv2d(tape, x_BCHW, conv_in, {.padding = 1});
    x_BCHW = mid_block(tape, x_BCHW, checkpointing);
    for (const Level& level : up_blocks) {
      x_BCHW = level(tape, x_BCHW, checkpointing);
      if (level.resample != nullptr) {
        x_BCHW = conv2d(tape, upsample_nearest_2x(tape, x_BCHW), *level.resample, {.padding = 1});
      }
    }
    x_BCHW = group_norm_silu(tape, x_BCHW, *conv_norm_out, groups, kNormEps);
    return conv2d(tape, x_BCHW, *conv_out, {.padding = 1});
  }
};

// ---- the network

Vae::Vae(const VaeSpec& spec, const WeightOptions& options) : spec_(spec), weights_(options) {
  check_spec(spec);
  const int64_t moments = 2 * spec.latent_channels;
  encoder_ = std::make_unique<Encoder>(weights_, spec);
  decoder_ = std::make_unique<Decoder>(weights_, spec);
  if (spec.use_quant_conv) quant_conv_ = &weights_.conv2d("quant_conv", moments, moments, 1);
  if (spec.use_post_quant_conv) {
    post_quant_conv_ = &weights_.conv2d("post_quant_conv", spec.latent_channels, spec.latent_channels, 1);
  }
  weights_.allocate();
}

Vae::~Vae() = default;

Vae::Posterior Vae::encode(Tape& tape, const Var& pixels_BCHW, bool checkpointing) const {
  check_pixels(pixels_BCHW.value);
  weights_.require_written(/*adapters=*/tape.adapters());
  return posterior(tape, moments(tape, pixels_BCHW, checkpointing));
}

Var Vae::decode(Tape& tape, const Var& latents_BLHW, bool checkpointing) const {
  check_latents(latents_BLHW.value);
  weights_.require_written(/*adapters=*/tape.adapters());
  return pixels(tape, latents_BLHW, checkpointing);
}

Vae::Posterior Vae::encode_tiled(const at::Tensor& pixels_BCHW, int64_t tile, bool adapters,
                                 const std::function<void()>& before_tile) const {
  check_tile(tile);
  Tape tape = Tape::inference(adapters);
  if (pixels_BCHW.defined() && pixels_BCHW.dim() == 4 && pixels_BCHW.size(2) <= tile && pixels_BCHW.size(3) <= tile) {
    return encode(tape, pixels_BCHW);
  }
  check_pixels(pixels_BCHW);
  const int64_t step = tile - tile / kOverlap;
  for (const int64_t dim : {2, 3}) {
    const int64_t rest = (pixels_BCHW.size(dim) - 1) % step + 1;
    if (rest < spec_.factor()) {
      throw ShapeMismatch(text("pixels: ", pixels_BCHW.sizes(), " leaves a last tile of ", rest,
                               " pixels, but a latent takes ", spec_.factor(),
                               "; expected sizes that are multiples of ", spec_.factor()));
    }
  }
  weights_.require_written(adapters);
  return posterior(tape, in_tiles(pixels_BCHW, tile, tile / spec_.factor(), [&](const at::Tensor& part) {
                     if (before_tile) before_tile();
                     return moments(tape, part, /*checkpointing=*/false).value;
                   }));
}

at::Tensor Vae::decode_tiled(const at::Tensor& latents_BLHW, int64_t tile, bool adapters,
                             const std::function<void()>& before_tile) const {
  check_tile(tile);
  check_latents(latents_BLHW);
  weights_.require_written(adapters);
  Tape tape = Tape::inference(adapters);
  const auto part = [&](const at::Tensor& latents) {
    if (before_tile) before_tile();
    return pixels(tape, latents, /*checkpointing=*/false).value;
  };
  const int64_t latent_tile = tile / spec_.factor();
  if (latents_BLHW.size(2) <= latent_tile && latents_BLHW.size(3) <= latent_tile) return part(latents_BLHW);
  return in_tiles(latents_BLHW, latent_tile, tile, part);
}

Var Vae::moments(Tape& tape, const Var& pixels_BCHW, bool checkpointing) const {
  const Var h = (*encoder_)(tape, pixels_BCHW, checkpointing);
  return quant_conv_ == nullptr ? h : conv2d(tape, h, *quant_conv_);
}

Var Vae::pixels(Tape& tape, const Var& latents_BLHW, bool checkpointing) const {
  const Var h = post_quant_conv_ == nullptr ? latents_BLHW : conv2d(tape, latents_BLHW, *post_quant_conv_);
  return (*decoder_)(tape, h, checkpointing);
}

Vae::Posterior Vae::posterior(Tape& tape, const Var& moments_BMHW) const {
  const int64_t channels = spec_.latent_channels;
  return {.mean_BLHW = slice(tape, moments_BMHW, 1, 0, channels),
          .logvar_BLHW = clamp(tape, slice(tape, moments_BMHW, 1, channels, channels), kLeastLogvar, kMostLogvar)};
}

void Vae::check_pixels(const at::Tensor& pixels_BCHW) const {
  const at::ScalarType dtype = weights_.options().precision;
  const int64_t least = spec_.factor();
  check_input(pixels_BCHW.defined() && pixels_BCHW.dim() == 4 && pixels_BCHW.size(0) > 0 &&
                  pixels_BCHW.size(1) == spec_.in_channels && pixels_BCHW.size(2) >= least &&
                  pixels_BCHW.size(3) >= least && pixels_BCHW.scalar_type() == dtype,
              "pixels", text("[B,", spec_.in_channels, ",H,W] of ", at::toString(dtype), " with H, W at least ", least),
              pixels_BCHW);
}

void Vae::check_latents(const at::Tensor& latents_BLHW) const {
  const at::ScalarType dtype = weights_.options().precision;
  check_input(latents_BLHW.defined() && latents_BLHW.dim() == 4 && latents_BLHW.size(0) > 0 &&
                  latents_BLHW.size(1) == spec_.latent_channels && latents_BLHW.size(2) > 0 &&
                  latents_BLHW.size(3) > 0 && latents_BLHW.scalar_type() == dtype,
              "latents", text("[B,", spec_.latent_channels, ",h,w] of ", at::toString(dtype)), latents_BLHW);
}

void Vae::check_tile(int64_t tile) const {
  const int64_t unit = kOverlap * spec_.factor();
  if (tile < unit || tile % unit != 0) refuse("tile: expected a multiple of ", unit, " pixels, got ", tile);
}

}  // namespace smpo::models
