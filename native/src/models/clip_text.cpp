#include "models/clip_text.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "models/check.h"
#include "tape/ops.h"

// Legend: B batch, S tokens, C hidden_size, P width of the pooled output.
namespace smpo::models {

using tape::Tape;
using tape::Var;

namespace {

void check_spec(const ClipTextSpec& spec) {
  check_spec(spec.encoder);
  check_size(spec.vocab_size, "vocab_size");
  check_size(spec.max_position_embeddings, "max_position_embeddings");
  if (spec.projection_dim != 0) check_size(spec.projection_dim, "projection_dim");
  if (spec.eos_token_id != ClipTextSpec::kLargestId &&
      (spec.eos_token_id < 0 || spec.eos_token_id >= spec.vocab_size)) {
    refuse("eos_token_id: expected 0..", spec.vocab_size - 1, ", got ", spec.eos_token_id);
  }
}

}  // namespace

ClipText::ClipText(const ClipTextSpec& spec, const WeightOptions& options) : spec_(spec), weights_(options) {
  check_spec(spec);
  const int64_t channels = spec.encoder.hidden_size;
  token_embedding_ = &weights_.parameter("text_model.embeddings.token_embedding.weight", {spec.vocab_size, channels});
  position_embedding_ =
      &weights_.parameter("text_model.embeddings.position_embedding.weight", {spec.max_position_embeddings, channels});
  encoder_ = std::make_unique<ClipEncoder>(weights_, spec.encoder, "text_model.encoder");
  final_layer_norm_ = &weights_.norm("text_model.final_layer_norm", channels);
  if (spec.projection_dim > 0) {
    text_projection_ = &weights_.linear("text_projection", channels, spec.projection_dim, /*bias=*/false);
  }
  weights_.allocate();
}

ClipText::Output ClipText::encode(Tape& tape, const at::Tensor& ids_BS, const Options& options) const {
  const int64_t layers = spec_.encoder.layers;
  if (options.skip < 0 || options.skip > layers) {
    refuse("skip: expected 0..", layers, " (the number of layers), got ", options.skip);
  }
  const at::Tensor ids = checked_ids(ids_BS, spec_.vocab_size, spec_.max_position_embeddings);
  const at::Tensor end_B = options.pooled ? end_positions(ids).to(weights_.options().device) : at::Tensor();
  weights_.require_written(/*adapters=*/tape.adapters());

  const Var positions_SC = slice(tape, tape.parameter(*position_embedding_), 0, 0, ids.size(1));
  const Var x_BSC = add(tape, embedding(tape, ids.to(weights_.options().device), *token_embedding_), positions_SC);
  const ClipEncoder::Options encoding{.causal = true, .checkpointing = options.checkpointing};
  const Var hidden_BSC = encoder_->forward(tape, x_BSC, 0, layers - options.skip, encoding);
  const auto final_norm = [&](const Var& x) {
    return layer_norm(tape, x, *final_layer_norm_, spec_.encoder.layer_norm_eps);
  };
  Output output{.hidden_BSC = options.final_norm ? final_norm(hidden_BSC) : hidden_BSC};
  if (!options.pooled) return output;

  // The norm treats each token separately, so it is applied to the pooled token only.
  const Var last_BSC = encoder_->forward(tape, hidden_BSC, layers - options.skip, layers, encoding);
  output.pooled_BP = final_norm(select_tokens(tape, last_BSC, end_B));
  if (text_projection_ != nullptr) output.pooled_BP = linear(tape, output.pooled_BP, *text_projection_);
  return output;
}

at::Tensor ClipText::end_positions(const at::Tensor& ids_BS) const {
  const int64_t length = ids_BS.size(1);
  at::Tensor end_B = at::empty({ids_BS.size(0)}, at::kLong);
  for (int64_t b = 0; b < ids_BS.size(0); ++b) {
    const auto* row = ids_BS.const_data_ptr<int64_t>() + b * length;
    const bool largest = spec_.eos_token_id == ClipTextSpec::kLargestId;
    const auto* end = largest ? std::max_element(row, row + length) : std::find(row, row + length, spec_.eos_token_id);
    if (end == row + length) refuse("ids[", b, "]: expected the end token ", spec_.eos_token_id, ", got a row without");
    end_B.mutable_data_ptr<int64_t>()[b] = end - row;
  }
  return end_B;
}

}  // namespace smpo::models
