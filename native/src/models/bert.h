// BERT with cross-attention: the text half of BLIP's image-grounded encoder, on which ImageReward is built.
//
// Layers, parameter names and the order of computation are those of BLIP (github.com/salesforce/BLIP, models/med.py),
// which has no token types and no pooler. BERT is described in arXiv 1810.04805, BLIP in arXiv 2201.12086.
#ifndef SMPO_MODELS_BERT_H_
#define SMPO_MODELS_BERT_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/weights.h"
#include "tape/tape.h"

namespace smpo::models {

/// The fields of BLIP's med_config.json.
struct BertSpec {
  int64_t vocab_size = 30524;
  int64_t max_position_embeddings = 512;
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t attention_heads = 12;
  int64_t layers = 12;
  /// Width of the states to which every layer attends.
  int64_t encoder_width = 1024;
  double layer_norm_eps = 1e-12;
};

class Bert final {
 public:
  /// Throws std::invalid_argument, naming the field, for a spec that describes no network.
  Bert(const BertSpec& spec, const WeightOptions& options);

  /// Returns the states after the last layer, [B,S,hidden_size]. `ids_BS`: [B,S] of int32 or int64, 1 <= S <=
  /// max_position_embeddings, rows without padding. `states_BTE`: [B,T,encoder_width] in the model's precision. Throws
  /// std::invalid_argument for other shapes and dtypes, for ids outside the vocabulary and for parameters never
  /// written.
  tape::Var encode(tape::Tape& tape, const at::Tensor& ids_BS, const tape::Var& states_BTE) const;

  const BertSpec& spec() const { return spec_; }
  Weights& weights() { return weights_; }
  const Weights& weights() const { return weights_; }

 private:
  /// LayerNorm(x + dense(attention(x, context))).
  struct Attention {
    const tape::Layer& query;
    const tape::Layer& key;
    const tape::Layer& value;
    const tape::Layer& dense;
    const tape::Layer& norm;

    Attention(Weights& w, const BertSpec& spec, const std::string& name, int64_t context_width);
    tape::Var operator()(tape::Tape& tape, const tape::Var& x_BSC, const tape::Var& context_BTD,
                         const BertSpec& spec) const;
  };
  struct Layer {
    Attention attention;
    Attention crossattention;
    const tape::Layer& intermediate;
    const tape::Layer& output;
    const tape::Layer& norm;

    Layer(Weights& w, const BertSpec& spec, const std::string& name);
    tape::Var operator()(tape::Tape& tape, const tape::Var& x_BSC, const tape::Var& states_BTE,
                         const BertSpec& spec) const;
  };

  BertSpec spec_;
  Weights weights_;
  const tape::Parameter* word_embeddings_;
  const tape::Parameter* position_embeddings_;
  const tape::Layer* norm_;
  std::vector<Layer> layers_;
};

}  // namespace smpo::models

#endif  // SMPO_MODELS_BERT_H_
