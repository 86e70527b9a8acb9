#include "models/bert.h"

#include "models/check.h"
#include "tape/ops.h"

// Legend: B batch, S tokens, C hidden_size, T states, E encoder_width, D width of a context.
namespace smpo::models {

using tape::Tape;
using tape::Var;

namespace {

void check_spec(const BertSpec& spec) {
  check_size(spec.vocab_size, "vocab_size");
  check_size(spec.max_position_embeddings, "max_position_embeddings");
  check_size(spec.hidden_size, "hidden_size");
  check_size(spec.intermediate_size, "intermediate_size");
  check_size(spec.attention_heads, "num_attention_heads");
  check_size(spec.layers, "num_hidden_layers");
  check_size(spec.encoder_width, "encoder_width");
  check_heads(spec.hidden_size, spec.attention_heads);
  check_norm_eps(spec.layer_norm_eps);
}

}  // namespace

Bert::Attention::Attention(Weights& w, const BertSpec& spec, const std::string& name, int64_t context_width)
    : query(w.linear(name + ".self.query", spec.hidden_size, spec.hidden_size)),
      key(w.linear(name + ".self.key", context_width, spec.hidden_size)),
      value(w.linear(name + ".self.value", context_width, spec.hidden_size)),
      dense(w.linear(name + ".output.dense", spec.hidden_size, spec.hidden_size)),
      norm(w.norm(name + ".output.LayerNorm", spec.hidden_size)) {}

Var Bert::Attention::operator()(Tape& tape, const Var& x_BSC, const Var& context_BTD, const BertSpec& spec) const {
  const Var q_BSC = linear(tape, x_BSC, query);
  const Var k_BTC = linear(tape, context_BTD, key);
  const Var v_BTC = linear(tape, context_BTD, value);
  const Var attended_BSC = tape::attention(tape, q_BSC, k_BTC, v_BTC, {.heads = spec.attention_heads});
  return layer_norm(tape, linear(tape, attended_BSC, dense, {.residual = x_BSC}), norm, spec.layer_norm_eps);
}

Bert::Layer::Layer(Weights& w, const BertSpec& spec, const std::string& name)
    : attention(w, spec, name + ".attention", spec.hidden_size),
      crossattention(w, spec, name + ".crossattention", spec.encoder_width),
      intermediate(w.linear(name + ".intermediate.dense", spec.hidden_size, spec.intermediate_size)),
      output(w.linear(name + ".output.dense", spec.intermediate_size, spec.hidden_size)),
      norm(w.norm(name + ".output.LayerNorm", spec.hidden_size)) {}

Var Bert::Layer::operator()(Tape& tape, const Var& x_BSC, const Var& states_BTE, const BertSpec& spec) const {
  const Var own_BSC = attention(tape, x_BSC, x_BSC, spec);
  const Var both_BSC = crossattention(tape, own_BSC, states_BTE, spec);
  const Var inner = gelu(tape, linear(tape, both_BSC, intermediate));
  return layer_norm(tape, linear(tape, inner, output, {.residual = both_BSC}), norm, spec.layer_norm_eps);
}

Bert::Bert(const BertSpec& spec, const WeightOptions& options) : spec_(spec), weights_(options) {
  check_spec(spec);
  word_embeddings_ = &weights_.parameter("embeddings.word_embeddings.weight", {spec.vocab_size, spec.hidden_size});
  position_embeddings_ =
      &weights_.parameter("embeddings.position_embeddings.weight", {spec.max_position_embeddings, spec.hidden_size});
  norm_ = &weights_.norm("embeddings.LayerNorm", spec.hidden_size);
  for (int64_t i = 0; i < spec.layers; ++i) layers_.emplace_back(weights_, spec, text("encoder.layer.", i));
  weights_.allocate();
}

Var Bert::encode(Tape& tape, const at::Tensor& ids_BS, const Var& states_BTE) const {
  const at::Tensor ids = checked_ids(ids_BS, spec_.vocab_size, spec_.max_position_embeddings);
  const at::Tensor& states = states_BTE.value;
  const at::ScalarType dtype = weights_.options().precision;
  check_input(states.defined() && states.dim() == 3 && states.size(0) == ids.size(0) && states.size(1) > 0 &&
                  states.size(2) == spec_.encoder_width && states.scalar_type() == dtype,
              "encoder_states", text("[", ids.size(0), ",T,", spec_.encoder_width, "] of ", at::toString(dtype)),
              states);
  weights_.require_written(/*adapters=*/tape.adapters());

  const Var positions_SC = slice(tape, tape.parameter(*position_embeddings_), 0, 0, ids.size(1));
  Var x_BSC = add(tape, embedding(tape, ids.to(weights_.options().device), *word_embeddings_), positions_SC);
  x_BSC = layer_norm(tape, x_BSC, *norm_, spec_.layer_norm_eps);
  for (const Layer& layer : layers_) x_BSC = layer(tape, x_BSC, states_BTE, spec_);
  return x_BSC;
}

}  // namespace smpo::models
