#include "models/clip_encoder.h"

#include <utility>

#include "models/check.h"
#include "tape/ops.h"

// Legend: B batch, S tokens, C hidden_size.
namespace smpo::models {

using tape::Tape;
using tape::Var;

void check_spec(const ClipEncoderSpec& spec) {
  check_size(spec.hidden_size, "hidden_size");
  check_size(spec.intermediate_size, "intermediate_size");
  check_size(spec.attention_heads, "num_attention_heads");
  check_size(spec.layers, "num_hidden_layers");
  check_heads(spec.hidden_size, spec.attention_heads);
  check_norm_eps(spec.layer_norm_eps);
  if (spec.activation != ClipActivation::kGelu && spec.activation != ClipActivation::kQuickGelu) {
    refuse("hidden_act: expected gelu or quick_gelu, got number ", static_cast<int>(spec.activation));
  }
}

ClipEncoder::Layer::Layer(Weights& w, const ClipEncoderSpec& spec, const std::string& name)
    : layer_norm1(w.norm(name + ".layer_norm1", spec.hidden_size)),
      q_proj(w.linear(name + ".self_attn.q_proj", spec.hidden_size, spec.hidden_size)),
      k_proj(w.linear(name + ".self_attn.k_proj", spec.hidden_size, spec.hidden_size)),
      v_proj(w.linear(name + ".self_attn.v_proj", spec.hidden_size, spec.hidden_size)),
      out_proj(w.linear(name + ".self_attn.out_proj", spec.hidden_size, spec.hidden_size)),
      layer_norm2(w.norm(name + ".layer_norm2", spec.hidden_size)),
      fc1(w.linear(name + ".mlp.fc1", spec.hidden_size, spec.intermediate_size)),
      fc2(w.linear(name + ".mlp.fc2", spec.intermediate_size, spec.hidden_size)) {}

Var ClipEncoder::Layer::operator()(Tape& tape, const Var& x_BSC, const ClipEncoderSpec& spec, bool causal) const {
  Var h = layer_norm(tape, x_BSC, layer_norm1, spec.layer_norm_eps);
  const Var q_BSC = linear(tape, h, q_proj);
  const Var k_BSC = linear(tape, h, k_proj);
  const Var v_BSC = linear(tape, h, v_proj);
  h = attention(tape, q_BSC, k_BSC, v_BSC, {.heads = spec.attention_heads, .causal = causal});
  const Var attended_BSC = linear(tape, h, out_proj, {.residual = x_BSC});
  h = linear(tape, layer_norm(tape, attended_BSC, layer_norm2, spec.layer_norm_eps), fc1);
  h = spec.activation == ClipActivation::kGelu ? gelu(tape, h) : quick_gelu(tape, h);
  return linear(tape, h, fc2, {.residual = attended_BSC});
}

ClipEncoder::ClipEncoder(Weights& weights, const ClipEncoderSpec& spec, const std::string& name) : spec_(spec) {
  for (int64_t i = 0; i < spec.layers; ++i) layers_.emplace_back(weights, spec, text(name, ".layers.", i));
}

Var ClipEncoder::forward(Tape& tape, Var x_BSC, int64_t first, int64_t last, const Options& options) const {
  for (int64_t i = first; i < last; ++i) {
    const auto layer = [this, i, causal = options.causal](Tape& t, std::span<const Var> in) -> std::vector<Var> {
      return {layers_[static_cast<size_t>(i)](t, in[0], spec_, causal)};
    };
    std::vector<Var> in = {std::move(x_BSC)};
    x_BSC = (options.checkpointing && tape.recording() ? tape.checkpoint(std::move(in), layer) : layer(tape, in))[0];
  }
  return x_BSC;
}

}  // namespace smpo::models
