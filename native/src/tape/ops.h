// The ops that models are written with. Each computes its value and, on a recording tape, records its backward.
//
// Shapes: B batch; C, D channels; H, W image; S, T tokens (T: tokens of the context); N heads.
// Images are [B,C,H,W] in channels_last memory, that is, [B,H,W,C]; an op that gets another layout converts it and
// returns channels_last. Tokens are [B,S,C], dense; `tokens` and `image` convert between the two without a copy.
// Activations are f32, bf16 or (for tests) f64, and a layer's parameters have the dtype of its input. Reductions
// (statistics of norms, gradients of parameters) are summed in f32 or better.
//
// A result's gradient has the result's shape and dtype. Inputs without a gradient are named at their op. Wrong shapes
// and dtypes throw std::invalid_argument, or c10::Error from ATen.
#ifndef SMPO_TAPE_OPS_H_
#define SMPO_TAPE_OPS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "tape/tape.h"
#include "tape/weights.h"

namespace smpo::tape {

// ---- layers with weights

/// Rows or columns of zeros before (top, left) and after (bottom, right).
struct Padding {
  int64_t before = 0;
  int64_t after = 0;

  constexpr Padding(int64_t both = 0) : before(both), after(both) {}  // NOLINT: `.padding = 1`
  constexpr Padding(int64_t first, int64_t last) : before(first), after(last) {}
};

struct Conv2dOptions {
  int64_t stride = 1;
  /// {0, 1}: the VAE encoder's asymmetric padding.
  Padding padding = {};
  /// [B,D], added to every pixel of its sample: the time embedding.
  Var sample_bias = {};
  /// [B,D,H',W'], added to the result.
  Var residual = {};
};

/// y_BDHW = conv(x_BCHW, weight [D,C,kh,kw]) + bias + adapter + sample_bias + residual.
Var conv2d(Tape& tape, const Var& x_BCHW, const Layer& layer, const Conv2dOptions& options = {});

struct LinearOptions {
  /// Added to the result, whose shape it has.
  Var residual = {};
};

/// y[...,D] = x[...,C] weight[D,C]^T + bias + adapter + residual. The weight of a 1x1 convolution, [D,C,1,1], serves
/// too.
Var linear(Tape& tape, const Var& x, const Layer& layer, const LinearOptions& options = {});

/// Each group of C / groups channels of a sample is normalized over its channels and pixels (biased variance), then
/// scaled and shifted per channel.
Var group_norm(Tape& tape, const Var& x_BCHW, const Layer& layer, int64_t groups, double eps);
/// silu(group_norm(x)). For backward it keeps x and two numbers per group.
Var group_norm_silu(Tape& tape, const Var& x_BCHW, const Layer& layer, int64_t groups, double eps);

/// Each vector of the last dimension is normalized (biased variance), then scaled and shifted.
Var layer_norm(Tape& tape, const Var& x, const Layer& layer, double eps);

struct AddLayerNorm {
  Var sum;
  Var norm;
};
/// sum = x + residual; norm = layer_norm(sum).
AddLayerNorm add_layer_norm(Tape& tape, const Var& x, const Var& residual, const Layer& layer, double eps);

/// Rows of `table` [V,C] by `ids` (int64, any shape): [...,C]. `ids` has no gradient.
Var embedding(Tape& tape, const at::Tensor& ids, const Parameter& table);

// ---- attention

struct AttentionOptions {
  int64_t heads = 1;
  /// Token s attends to tokens 0..s.
  bool causal = false;
};

/// Per head, softmax(q k^T / sqrt(C / heads)) v. q [B,S,C], k and v [B,T,C]; result [B,S,C].
Var attention(Tape& tape, const Var& q_BSC, const Var& k_BTC, const Var& v_BTC, const AttentionOptions& options);

// ---- activations

Var silu(Tape& tape, const Var& x);
/// x Phi(x), exact (erf).
Var gelu(Tape& tape, const Var& x);
/// x sigmoid(1.702 x).
Var quick_gelu(Tape& tape, const Var& x);
/// x [...,2C] is (value, gate): value * gelu(gate), [...,C].
Var geglu(Tape& tape, const Var& x);

// ---- sums, shapes

/// Shapes as in broadcasting.
Var add(Tape& tape, const Var& a, const Var& b);
/// Element by element; shapes as in broadcasting.
Var multiply(Tape& tape, const Var& a, const Var& b);
Var scale(Tape& tape, const Var& x, double factor);

/// Joins along `dim`.
Var concat(Tape& tape, const std::vector<Var>& parts, int64_t dim = 1);
/// Elements start .. start + length - 1 of `dim`.
Var slice(Tape& tape, const Var& x, int64_t dim, int64_t start, int64_t length);
/// Row index_B[b] of each sample's tokens: [B,S,C] to [B,C]. The index (int64) has no gradient.
Var select_tokens(Tape& tape, const Var& x_BSC, const at::Tensor& index_B);
Var reshape(Tape& tape, const Var& x, std::vector<int64_t> shape);

/// [B,C,H,W] to [B,HW,C], sharing the memory.
Var tokens(Tape& tape, const Var& x_BCHW);
/// [B,HW,C] to [B,C,H,W], sharing the memory.
Var image(Tape& tape, const Var& x_BSC, int64_t height, int64_t width);

/// Nearest neighbour, to exactly this size.
Var upsample_nearest(Tape& tape, const Var& x_BCHW, int64_t height, int64_t width);
/// Nearest neighbour, twice as high and wide.
Var upsample_nearest_2x(Tape& tape, const Var& x_BCHW);

// ---- time

struct TimeEmbeddingOptions {
  /// Even.
  int64_t channels = 320;
  /// Cosines before sines.
  bool flip_sin_to_cos = true;
  double frequency_shift = 0.0;
};

/// Sinusoids of timesteps [B], [B,channels] in `dtype`, without a gradient. Timesteps may be fractions and negative.
/// Computed in f32 as in diffusers, in f64 from f64 timesteps.
Var time_embedding(const at::Tensor& timesteps_B, const TimeEmbeddingOptions& options, at::ScalarType dtype);

}  // namespace smpo::tape

#endif  // SMPO_TAPE_OPS_H_
