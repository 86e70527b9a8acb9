#include "models/unet.h"

#include <ATen/ops/empty.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "models/check.h"
#include "models/small_work.h"
#include "tape/ops.h"

// Legend: B batch, C channels, H W size of a latent, S = H W its tokens, T tokens of the prompt, D width of a prompt
// token, E width of the time embedding, K channels of all prompt keys and values together.
namespace smpo::models {

using tape::Layer;
using tape::Tape;
using tape::Var;

namespace {

// Constants of diffusers' Transformer2DModel and BasicTransformerBlock that are not in the config.
constexpr double kTransformerGroupNormEps = 1e-6;
constexpr double kLayerNormEps = 1e-5;

std::string dot(const std::string& prefix, const char* name, int64_t index) {
  return text(prefix, ".", name, ".", index);
}

void check_spec(const UNetSpec& spec) {
  check_size(spec.in_channels, "in_channels");
  check_size(spec.out_channels, "out_channels");
  check_size(spec.cross_attention_dim, "cross_attention_dim");
  check_size(spec.norm_num_groups, "norm_num_groups");
  if (!(spec.norm_eps > 0)) refuse("norm_eps: expected more than 0, got ", spec.norm_eps);
  if (spec.levels.empty()) refuse("block_out_channels: expected at least one level");
  const auto groups = [&](int64_t channels, const std::string& what) {
    if (channels % spec.norm_num_groups != 0) {
      refuse(what, ": expected a multiple of norm_num_groups (", spec.norm_num_groups, "), got ", channels);
    }
  };
  for (size_t i = 0; i < spec.levels.size(); ++i) {
    const UNetLevel& level = spec.levels[i];
    const std::string at = text("[", i, "]");
    check_size(level.channels, "block_out_channels" + at);
    check_size(level.layers, "layers_per_block" + at);
    groups(level.channels, "block_out_channels" + at);
    const bool deepest = i + 1 == spec.levels.size();
    if (level.down_attention || level.up_attention || deepest) {
      check_size(level.transformer_layers, "transformer_layers_per_block" + at);
      check_size(level.heads, "attention_head_dim" + at);
      if (level.channels % level.heads != 0) {
        refuse("attention_head_dim", at, ": expected a number of heads that divides ", level.channels,
               " channels, got ", level.heads);
      }
    }
  }
  if (spec.levels[0].channels % 2 != 0) {
    refuse("block_out_channels[0]: expected an even number for the time embedding, got ", spec.levels[0].channels);
  }
  if (spec.addition_time_embed_dim < 0 || spec.addition_time_embed_dim % 2 != 0) {
    refuse("addition_time_embed_dim: expected an even number, got ", spec.addition_time_embed_dim);
  }
  if (spec.text_time()) check_size(spec.projection_class_embeddings_input_dim, "projection_class_embeddings_input_dim");
}

}  // namespace

// ---- time: sinusoids, then two linear layers

struct UNet::TimeEmbedding {
  const Layer& linear_1;
  const Layer& linear_2;

  TimeEmbedding(Weights& w, const std::string& name, int64_t in, int64_t out)
      : linear_1(w.linear(name + ".linear_1", in, out)), linear_2(w.linear(name + ".linear_2", out, out)) {}

  Var operator()(Tape& tape, const Var& x_BC, const Var& residual_BE = {}) const {
    const Var hidden_BE = silu(tape, linear(tape, x_BC, linear_1));
    return linear(tape, hidden_BE, linear_2, {.residual = residual_BE});
  }
};

// ---- resnet: two convolutions with the time embedding between them, and a shortcut

struct UNet::Resnet {
  const Layer& norm1;
  const Layer& conv1;
  const Layer& time_emb_proj;
  const Layer& norm2;
  const Layer& conv2;
  const Layer* conv_shortcut;
  int64_t groups;
  double eps;

  Resnet(Weights& w, const UNetSpec& spec, const std::string& name, int64_t in, int64_t out)
      : norm1(w.norm(name + ".norm1", in)),
        conv1(w.conv2d(name + ".conv1", in, out, 3)),
        time_emb_proj(w.linear(name + ".time_emb_proj", 4 * spec.levels[0].channels, out)),
        norm2(w.norm(name + ".norm2", out)),
        conv2(w.conv2d(name + ".conv2", out, out, 3)),
        conv_shortcut(in == out ? nullptr : &w.conv2d(name + ".conv_shortcut", in, out, 1)),
        groups(spec.norm_num_groups),
        eps(spec.norm_eps) {
    if (in % groups != 0) {
      refuse(name, ": expected input channels that are a multiple of norm_num_groups (", groups, "), got ", in);
    }
  }

  /// `silu_emb_BE`: time embedding after its activation, shared by all resnets.
  Var operator()(Tape& tape, const Var& x_BCHW, const Var& silu_emb_BE) const {
    const Var time_BC = linear(tape, silu_emb_BE, time_emb_proj);
    Var h = group_norm_silu(tape, x_BCHW, norm1, groups, eps);
    h = conv2d(tape, h, conv1, {.padding = 1, .sample_bias = time_BC});
    h = group_norm_silu(tape, h, norm2, groups, eps);
    const Var shortcut = conv_shortcut == nullptr ? x_BCHW : conv2d(tape, x_BCHW, *conv_shortcut);
    return conv2d(tape, h, conv2, {.padding = 1, .residual = shortcut});
  }
};

// ---- transformer: image tokens attend to themselves and to the prompt

namespace {

struct Attention {
  const Layer& to_q;
  const Layer& to_k;
  const Layer& to_v;
  const Layer& to_out;
  int64_t heads;
  int64_t channels;

  Attention(Weights& w, const std::string& name, int64_t own_channels, int64_t context_channels, int64_t head_count)
      : to_q(w.linear(name + ".to_q", own_channels, own_channels, /*bias=*/false)),
        to_k(w.linear(name + ".to_k", context_channels, own_channels, /*bias=*/false)),
        to_v(w.linear(name + ".to_v", context_channels, own_channels, /*bias=*/false)),
        to_out(w.linear(name + ".to_out.0", own_channels, own_channels)),
        heads(head_count),
        channels(own_channels) {}

  Var operator()(Tape& tape, const Var& x_BSC, const Var& context_BTD, const Var& residual_BSC) const {
    const Var q_BSC = linear(tape, x_BSC, to_q);
    return attend(tape, q_BSC, linear(tape, context_BTD, to_k), linear(tape, context_BTD, to_v), residual_BSC);
  }

  /// Cross attention with precomputed keys and values of all cross attentions; those of this one begin at `offset`.
  Var operator()(Tape& tape, const Var& x_BSC, const at::Tensor& keys_values_BTK, int64_t offset,
                 const Var& residual_BSC) const {
    return attend(tape, linear(tape, x_BSC, to_q), keys_values_BTK.narrow(2, offset, channels),
                  keys_values_BTK.narrow(2, offset + channels, channels), residual_BSC);
  }

 private:
  Var attend(Tape& tape, const Var& q_BSC, const Var& k_BTC, const Var& v_BTC, const Var& residual_BSC) const {
    const Var y_BSC = attention(tape, q_BSC, k_BTC, v_BTC, {.heads = heads});
    return linear(tape, y_BSC, to_out, {.residual = residual_BSC});
  }
};

/// The prompt: its hidden states and, if they have been precomputed, the keys and values of every cross attention.
struct Text {
  Var states_BTD;
  at::Tensor keys_values_BTK = {};
};

}  // namespace

/// The layers that project the prompt to keys and values, in the order of their channels in keys_values_BTK.
struct UNet::TextProjections {
  std::vector<const Layer*> layers = {};
  int64_t channels = 0;

  /// Adds an attention; returns the first channel of its keys, which its values follow.
  int64_t add(const Layer& to_k, const Layer& to_v, int64_t of_each) {
    layers.insert(layers.end(), {&to_k, &to_v});
    return std::exchange(channels, channels + 2 * of_each);
  }
};

namespace {

/// diffusers' BasicTransformerBlock.
struct TransformerBlock {
  const Layer& norm1;
  Attention attn1;
  const Layer& norm2;
  Attention attn2;
  int64_t text_offset;
  const Layer& norm3;
  const Layer& ff_in;
  const Layer& ff_out;

  TransformerBlock(Weights& w, UNet::TextProjections& text, const std::string& name, int64_t channels,
                   int64_t context_channels, int64_t heads)
      : norm1(w.norm(name + ".norm1", channels)),
        attn1(w, name + ".attn1", channels, channels, heads),
        norm2(w.norm(name + ".norm2", channels)),
        attn2(w, name + ".attn2", channels, context_channels, heads),
        text_offset(text.add(attn2.to_k, attn2.to_v, channels)),
        norm3(w.norm(name + ".norm3", channels)),
        ff_in(w.linear(name + ".ff.net.0.proj", channels, 8 * channels)),
        ff_out(w.linear(name + ".ff.net.2", 4 * channels, channels)) {}

  Var operator()(Tape& tape, Var x_BSC, const Text& text) const {
    const Var self_BSC = layer_norm(tape, x_BSC, norm1, kLayerNormEps);
    x_BSC = attn1(tape, self_BSC, self_BSC, x_BSC);
    const Var cross_BSC = layer_norm(tape, x_BSC, norm2, kLayerNormEps);
    x_BSC = text.keys_values_BTK.defined() ? attn2(tape, cross_BSC, text.keys_values_BTK, text_offset, x_BSC)
                                           : attn2(tape, cross_BSC, text.states_BTD, x_BSC);
    const Var hidden = geglu(tape, linear(tape, layer_norm(tape, x_BSC, norm3, kLayerNormEps), ff_in));
    return linear(tape, hidden, ff_out, {.residual = x_BSC});
  }
};

}  // namespace

/// diffusers' Transformer2DModel. A 1x1 convolution and a linear layer are the same map with weights of different
/// shape, so one code path serves both kinds of projections.
struct UNet::Transformer {
  const Layer& norm;
  const Layer& proj_in;
  std::vector<TransformerBlock> blocks;
  const Layer* proj_out;
  int64_t groups;

  Transformer(Weights& w, TextProjections& text, const UNetSpec& spec, const UNetLevel& level, const std::string& name)
      : norm(w.norm(name + ".norm", level.channels)),
        proj_in(projection(w, spec, name + ".proj_in", level.channels)),
        groups(spec.norm_num_groups) {
    for (int64_t i = 0; i < level.transformer_layers; ++i) {
      blocks.emplace_back(w, text, dot(name, "transformer_blocks", i), level.channels, spec.cross_attention_dim,
                          level.heads);
    }
    proj_out = &projection(w, spec, name + ".proj_out", level.channels);
  }

  Var operator()(Tape& tape, const Var& x_BCHW, const Text& text) const {
    const int64_t height = x_BCHW.size(2), width = x_BCHW.size(3);
    const Var past_BSC = tokens(tape, x_BCHW);
    Var h = tokens(tape, group_norm(tape, x_BCHW, norm, groups, kTransformerGroupNormEps));
    h = linear(tape, h, proj_in);
    for (const TransformerBlock& block : blocks) h = block(tape, h, text);
    h = linear(tape, h, *proj_out, {.residual = past_BSC});
    return image(tape, h, height, width);
  }

 private:
  static const Layer& projection(Weights& w, const UNetSpec& spec, const std::string& name, int64_t channels) {
    return spec.use_linear_projection ? w.linear(name, channels, channels) : w.conv2d(name, channels, channels, 1);
  }
};

// ---- blocks

namespace {

/// Inputs of every layer besides the image.
struct Conditions {
  Var silu_emb_BE;
  Text text;
  bool checkpointing;
};

/// Runs a resnet and its transformer, if it has one. `skip`, if defined, is concatenated to `x` first.
Var run_layer(Tape& tape, const UNet::Resnet& resnet, const UNet::Transformer* transformer, const Var& x_BCHW,
              const Var& skip_BCHW, const Conditions& conditions) {
  const bool has_skip = skip_BCHW.defined();
  const auto layer = [&resnet, transformer, has_skip, keys_values_BTK = conditions.text.keys_values_BTK](
                         Tape& t, std::span<const Var> in) -> std::vector<Var> {
    Var h = resnet(t, has_skip ? concat(t, {in[0], in[3]}) : in[0], in[1]);
    if (transformer != nullptr) h = (*transformer)(t, h, {.states_BTD = in[2], .keys_values_BTK = keys_values_BTK});
    return {h};
  };
  std::vector<Var> inputs = {x_BCHW, conditions.silu_emb_BE, conditions.text.states_BTD};
  if (has_skip) inputs.push_back(skip_BCHW);
  if (conditions.checkpointing) return tape.checkpoint(std::move(inputs), layer)[0];
  return layer(tape, inputs)[0];
}

}  // namespace

struct UNet::DownBlock {
  std::vector<Resnet> resnets;
  /// One per resnet, or none.
  std::vector<Transformer> attentions;
  /// Null at the deepest level.
  const Layer* downsampler = nullptr;

  DownBlock(Weights& w, TextProjections& projections, const UNetSpec& spec, size_t i) {
    const std::string name = text("down_blocks.", i);
    const UNetLevel& level = spec.levels[i];
    const int64_t in = spec.levels[i == 0 ? 0 : i - 1].channels;
    for (int64_t j = 0; j < level.layers; ++j) {
      resnets.emplace_back(w, spec, dot(name, "resnets", j), j == 0 ? in : level.channels, level.channels);
      if (level.down_attention) attentions.emplace_back(w, projections, spec, level, dot(name, "attentions", j));
    }
    if (i + 1 < spec.levels.size()) {
      downsampler = &w.conv2d(name + ".downsamplers.0.conv", level.channels, level.channels, 3);
    }
  }

  /// Appends the output of every layer to `skips`, for the up blocks.
  Var operator()(Tape& tape, Var x_BCHW, const Conditions& conditions, std::vector<Var>& skips) const {
    for (size_t j = 0; j < resnets.size(); ++j) {
      const Transformer* transformer = attentions.empty() ? nullptr : &attentions[j];
      x_BCHW = run_layer(tape, resnets[j], transformer, x_BCHW, {}, conditions);
      skips.push_back(x_BCHW);
    }
    if (downsampler != nullptr) {
      x_BCHW = conv2d(tape, x_BCHW, *downsampler, {.stride = 2, .padding = 1});
      skips.push_back(x_BCHW);
    }
    return x_BCHW;
  }
};

struct UNet::MidBlock {
  Resnet first;
  Transformer attention;
  Resnet second;

  MidBlock(Weights& w, TextProjections& projections, const UNetSpec& spec)
      : first(w, spec, "mid_block.resnets.0", spec.levels.back().channels, spec.levels.back().channels),
        attention(w, projections, spec, spec.levels.back(), "mid_block.attentions.0"),
        second(w, spec, "mid_block.resnets.1", spec.levels.back().channels, spec.levels.back().channels) {}

  Var operator()(Tape& tape, const Var& x_BCHW, const Conditions& conditions) const {
    const Var h = run_layer(tape, first, &attention, x_BCHW, {}, conditions);
    return run_layer(tape, second, nullptr, h, {}, conditions);
  }
};

struct UNet::UpBlock {
  std::vector<Resnet> resnets;
  std::vector<Transformer> attentions;
  /// Null at the finest level.
  const Layer* upsampler = nullptr;

  /// Up block i is at level n - 1 - i.
  UpBlock(Weights& w, TextProjections& projections, const UNetSpec& spec, size_t i) {
    const std::string name = text("up_blocks.", i);
    const size_t at = spec.levels.size() - 1 - i;
    const UNetLevel& level = spec.levels[at];
    const int64_t below = spec.levels[i == 0 ? at : at + 1].channels;
    // The last skip is the input of this level's down block.
    const int64_t entered = spec.levels[at == 0 ? 0 : at - 1].channels;
    for (int64_t j = 0; j <= level.layers; ++j) {
      const int64_t skip = j == level.layers ? entered : level.channels;
      resnets.emplace_back(w, spec, dot(name, "resnets", j), (j == 0 ? below : level.channels) + skip, level.channels);
      if (level.up_attention) attentions.emplace_back(w, projections, spec, level, dot(name, "attentions", j));
    }
    if (at > 0) upsampler = &w.conv2d(name + ".upsamplers.0.conv", level.channels, level.channels, 3);
  }

  /// Removes one entry of `skips` per resnet, most recent first.
  Var operator()(Tape& tape, Var x_BCHW, const Conditions& conditions, std::vector<Var>& skips) const {
    for (size_t j = 0; j < resnets.size(); ++j) {
      const Var skip_BCHW = std::move(skips.back());
      skips.pop_back();
      const Transformer* transformer = attentions.empty() ? nullptr : &attentions[j];
      x_BCHW = run_layer(tape, resnets[j], transformer, x_BCHW, skip_BCHW, conditions);
    }
    if (upsampler != nullptr) {
      // To the size of the next skip: twice this size, or one less if the down block had an odd size.
      const Var& next = skips.back();
      x_BCHW = upsample_nearest(tape, x_BCHW, next.size(2), next.size(3));
      x_BCHW = conv2d(tape, x_BCHW, *upsampler, {.padding = 1});
    }
    return x_BCHW;
  }
};

// ---- the network

UNet::UNet(const UNetSpec& spec, const WeightOptions& options)
    : spec_(spec), weights_(options), text_projections_(std::make_unique<TextProjections>()) {
  check_spec(spec);
  const int64_t channels = spec.levels[0].channels;
  conv_in_ = &weights_.conv2d("conv_in", spec.in_channels, channels, 3);
  time_embedding_ = std::make_unique<TimeEmbedding>(weights_, "time_embedding", channels, 4 * channels);
  if (spec.text_time()) {
    add_embedding_ = std::make_unique<TimeEmbedding>(weights_, "add_embedding",
                                                     spec.projection_class_embeddings_input_dim, 4 * channels);
  }
  for (size_t i = 0; i < spec.levels.size(); ++i) down_blocks_.emplace_back(weights_, *text_projections_, spec, i);
  mid_block_ = std::make_unique<MidBlock>(weights_, *text_projections_, spec);
  for (size_t i = 0; i < spec.levels.size(); ++i) up_blocks_.emplace_back(weights_, *text_projections_, spec, i);
  conv_norm_out_ = &weights_.norm("conv_norm_out", channels);
  conv_out_ = &weights_.conv2d("conv_out", channels, spec.out_channels, 3);
  weights_.allocate();
}

UNet::~UNet() = default;

Var UNet::forward(Tape& tape, const Inputs& inputs, bool checkpointing) const {
  check_inputs(inputs);
  if (inputs.text_keys_values_BTK.defined() && tape.recording()) {
    throw std::logic_error("unet: a recording tape needs encoder_hidden_states, not text_keys_values");
  }
  weights_.require_written(/*adapters=*/tape.adapters());
  if (tape.recording() || !is_small(inputs)) return evaluate(tape, inputs, checkpointing);
  return evaluate_in_shares(inputs.sample_BCHW.size(0), [&](int64_t first, int64_t count) {
    const auto share = [first, count](const at::Tensor& value) {
      return value.defined() ? value.narrow(0, first, count) : value;
    };
    Tape own = Tape::inference(tape.adapters());
    return evaluate(own,
                    {.sample_BCHW = share(inputs.sample_BCHW.value),
                     .timesteps_B = share(inputs.timesteps_B),
                     .encoder_hidden_states_BTD = share(inputs.encoder_hidden_states_BTD.value),
                     .text_keys_values_BTK = share(inputs.text_keys_values_BTK),
                     .text_embeds_BE = share(inputs.text_embeds_BE.value),
                     .time_ids_BK = share(inputs.time_ids_BK)},
                    /*checkpointing=*/false)
        .value;
  });
}

bool UNet::is_small(const Inputs& inputs) const {
  // About the number of multiplications for one row. At 2^28 a layer takes about as long as joining two threads a few
  // times.
  constexpr int64_t kMost = int64_t{1} << 28;
  const at::Tensor& sample = inputs.sample_BCHW.value;
  return sample.is_cpu() && weights_.base().elements() < kMost / (sample.size(2) * sample.size(3));
}

Var UNet::evaluate(Tape& tape, const Inputs& inputs, bool checkpointing) const {
  const at::ScalarType dtype = weights_.options().precision;
  tape::TimeEmbeddingOptions sinusoids{.channels = spec_.levels[0].channels,
                                       .flip_sin_to_cos = spec_.flip_sin_to_cos,
                                       .frequency_shift = spec_.freq_shift};
  Var emb_BE = (*time_embedding_)(tape, time_embedding(inputs.timesteps_B, sinusoids, dtype));
  if (spec_.text_time()) {
    sinusoids.channels = spec_.addition_time_embed_dim;
    const Var sizes_BC =
        reshape(tape, time_embedding(inputs.time_ids_BK.flatten(), sinusoids, dtype), {inputs.time_ids_BK.size(0), -1});
    emb_BE = (*add_embedding_)(tape, concat(tape, {inputs.text_embeds_BE, sizes_BC}), emb_BE);
  }
  const Conditions conditions{.silu_emb_BE = silu(tape, emb_BE),
                              .text = {inputs.encoder_hidden_states_BTD, inputs.text_keys_values_BTK},
                              .checkpointing = checkpointing && tape.recording()};

  Var x_BCHW = conv2d(tape, inputs.sample_BCHW, *conv_in_, {.padding = 1});
  std::vector<Var> skips = {x_BCHW};
  for (const DownBlock& block : down_blocks_) x_BCHW = block(tape, x_BCHW, conditions, skips);
  x_BCHW = (*mid_block_)(tape, x_BCHW, conditions);
  for (const UpBlock& block : up_blocks_) x_BCHW = block(tape, x_BCHW, conditions, skips);
  x_BCHW = group_norm_silu(tape, x_BCHW, *conv_norm_out_, spec_.norm_num_groups, spec_.norm_eps);
  return conv2d(tape, x_BCHW, *conv_out_, {.padding = 1});
}

int64_t UNet::text_keys_values_channels() const { return text_projections_->channels; }

at::Tensor UNet::text_keys_values(const at::Tensor& encoder_hidden_states_BTD, bool adapters) const {
  weights_.require_written(adapters);
  const at::Tensor& states = encoder_hidden_states_BTD;
  Tape tape = Tape::inference(adapters);
  at::Tensor all_BTK = at::empty({states.size(0), states.size(1), text_keys_values_channels()}, states.options());
  int64_t offset = 0;
  for (const Layer* layer : text_projections_->layers) {
    const at::Tensor one_BTC = linear(tape, states, *layer).value;
    all_BTK.narrow(2, offset, one_BTC.size(2)).copy_(one_BTC);
    offset += one_BTC.size(2);
  }
  return all_BTK;
}

}  // namespace smpo::models
