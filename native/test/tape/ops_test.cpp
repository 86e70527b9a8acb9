// Every op, three ways: finite differences in f64, torch's autograd in f32, and bf16 within the error that bf16 allows.
#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tape/compare.h"
#include "tape/convolution.h"
#include "tape/matmul.h"
#include "tape/op_case.h"

namespace smpo::tape::test {
namespace {

using Tensors = std::vector<at::Tensor>;

// ---- oracles: textbook formulas in differentiable ops

at::Tensor value_or_none(const Parameter& parameter) { return parameter.value; }

at::Tensor oracle_conv2d(const at::Tensor& x, const Layer& layer, int64_t stride, Padding padding) {
  const int64_t before = padding.before, after = padding.after;
  const at::Tensor padded = at::constant_pad_nd(x, {before, after, before, after});
  at::Tensor y = at::conv2d(padded, layer.weight.value, value_or_none(layer.bias), stride);
  if (layer.lora) {
    y = y +
        at::conv2d(at::conv2d(padded, layer.lora->down.value, {}, stride), layer.lora->up.value) * layer.lora->scale;
  }
  return y;
}

at::Tensor oracle_linear(const at::Tensor& x, const Layer& layer) {
  at::Tensor y = at::linear(x, layer.weight.value.flatten(1), value_or_none(layer.bias));
  if (layer.lora) {
    y = y + at::linear(at::linear(x, layer.lora->down.value), layer.lora->up.value) * layer.lora->scale;
  }
  return y;
}

at::Tensor oracle_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, bool causal) {
  const auto split = [&](const at::Tensor& x) {
    return x.reshape({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
  };
  at::Tensor scores = at::matmul(split(q), split(k).transpose(2, 3)) / std::sqrt(double(q.size(2)) / heads);
  if (causal) {
    const at::Tensor hidden = at::ones({q.size(1), k.size(1)}, at::kBool).triu(1);
    scores = scores.masked_fill(hidden, -INFINITY);
  }
  return at::matmul(scores.softmax(-1), split(v)).transpose(1, 2).reshape(q.sizes());
}

// ---- cases

OpCase conv2d_case(std::string name, Shape x, LayerShape layer, int64_t stride, Padding padding) {
  const int64_t reduction = std::max(layer.weight[1] * layer.weight[2] * layer.weight[3], x[0] * x[2] * x[3]);
  return {std::move(name),
          {std::move(x)},
          {std::move(layer)},
          reduction,
          [=](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>& w) {
            return std::vector<Var>{conv2d(tape, in[0], w[0], {.stride = stride, .padding = padding})};
          },
          [=](const Tensors& in, const std::vector<Layer>& w) {
            return Tensors{oracle_conv2d(in[0], w[0], stride, padding)};
          }};
}

OpCase linear_case(std::string name, Shape x, LayerShape layer) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < x.size(); ++i) {
    rows *= x[i];
  }
  const int64_t reduction = std::max({rows, layer.weight[0], layer.weight[1]});
  return {std::move(name),
          {std::move(x)},
          {std::move(layer)},
          reduction,
          [](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>& w) {
            return std::vector<Var>{linear(tape, in[0], w[0])};
          },
          [](const Tensors& in, const std::vector<Layer>& w) { return Tensors{oracle_linear(in[0], w[0])}; }};
}

OpCase group_norm_case(std::string name, Shape x, int64_t groups, bool with_silu) {
  const int64_t reduction = std::max(x[1] / groups * x[2] * x[3], x[0] * x[2] * x[3]);
  const Shape channels{x[1]};
  return {std::move(name),
          {std::move(x)},
          {{channels, channels}},
          reduction,
          [=](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>& w) {
            return std::vector<Var>{with_silu ? group_norm_silu(tape, in[0], w[0], groups, 1e-5)
                                              : group_norm(tape, in[0], w[0], groups, 1e-5)};
          },
          [=](const Tensors& in, const std::vector<Layer>& w) {
            const at::Tensor y = at::group_norm(in[0], groups, w[0].weight.value, w[0].bias.value, 1e-5);
            return Tensors{with_silu ? at::silu(y) : y};
          }};
}

OpCase layer_norm_case(std::string name, Shape x) {
  const Shape channels{x.back()};
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < x.size(); ++i) {
    rows *= x[i];
  }
  const int64_t reduction = std::max(rows, x.back());
  return {std::move(name),
          {std::move(x)},
          {{channels, channels}},
          reduction,
          [](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>& w) {
            return std::vector<Var>{layer_norm(tape, in[0], w[0], 1e-5)};
          },
          [=](const Tensors& in, const std::vector<Layer>& w) {
            return Tensors{at::layer_norm(in[0], channels, w[0].weight.value, w[0].bias.value, 1e-5)};
          }};
}

OpCase attention_case(std::string name, int64_t batch, int64_t s, int64_t t, int64_t heads, int64_t width,
                      bool causal) {
  const int64_t channels = heads * width;
  return {std::move(name),
          {{batch, s, channels}, {batch, t, channels}, {batch, t, channels}},
          {},
          std::max({s, t, width}),
          [=](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>&) {
            return std::vector<Var>{attention(tape, in[0], in[1], in[2], {.heads = heads, .causal = causal})};
          },
          [=](const Tensors& in, const std::vector<Layer>&) {
            return Tensors{oracle_attention(in[0], in[1], in[2], heads, causal)};
          }};
}

using TapeOp = std::function<Var(Tape&, const std::vector<Var>&)>;
using OracleOp = std::function<at::Tensor(const Tensors&)>;

OpCase plain_case(std::string name, std::vector<Shape> inputs, TapeOp op, OracleOp oracle, int64_t reduction = 4) {
  return {
      std::move(name),
      std::move(inputs),
      {},
      reduction,
      [=](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>&) { return std::vector<Var>{op(tape, in)}; },
      [=](const Tensors& in, const std::vector<Layer>&) { return Tensors{oracle(in)}; }};
}

at::Tensor geglu_oracle(const at::Tensor& x) {
  const auto halves = x.chunk(2, -1);
  return halves[0] * at::gelu(halves[1]);
}

at::Tensor index_of(std::vector<int64_t> values) { return at::tensor(values, at::TensorOptions(at::kLong)); }

std::vector<OpCase> all_cases() {
  std::vector<OpCase> cases;
  cases.push_back(conv2d_case("conv3x3", {2, 3, 5, 7}, {{5, 3, 3, 3}, {5}}, 1, 1));
  cases.push_back(conv2d_case("conv3x3_without_bias", {1, 5, 4, 3}, {{7, 5, 3, 3}}, 1, 1));
  cases.push_back(conv2d_case("conv1x1", {3, 5, 3, 2}, {{7, 5, 1, 1}, {7}}, 1, 0));
  cases.push_back(conv2d_case("conv3x3_stride_2", {2, 3, 7, 5}, {{4, 3, 3, 3}, {4}}, 2, 1));
  cases.push_back(conv2d_case("conv3x3_stride_2_asymmetric", {2, 3, 6, 7}, {{4, 3, 3, 3}, {4}}, 2, {0, 1}));
  cases.push_back(conv2d_case("conv_patches", {2, 3, 8, 8}, {{5, 3, 4, 4}}, 4, 0));
  cases.push_back(conv2d_case("conv3x3_lora", {2, 4, 5, 3}, {{6, 4, 3, 3}, {6}, {2, 4, 3, 3}, {6, 2, 1, 1}}, 1, 1));
  cases.push_back(conv2d_case("conv1x1_lora", {1, 4, 5, 3}, {{6, 4, 1, 1}, {6}, {2, 4, 1, 1}, {6, 2, 1, 1}}, 1, 0));
  cases.push_back({"conv_epilogue",
                   {{2, 3, 4, 5}, {2, 6}, {2, 6, 4, 5}},
                   {{{6, 3, 3, 3}, {6}}},
                   40,
                   [](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>& w) {
                     return std::vector<Var>{
                         conv2d(tape, in[0], w[0], {.padding = 1, .sample_bias = in[1], .residual = in[2]})};
                   },
                   [](const Tensors& in, const std::vector<Layer>& w) {
                     return Tensors{oracle_conv2d(in[0], w[0], 1, 1) + in[1].unsqueeze(-1).unsqueeze(-1) + in[2]};
                   }});
  cases.push_back(linear_case("linear", {2, 7, 5}, {{9, 5}, {9}}));
  cases.push_back(linear_case("linear_without_bias", {3, 5}, {{9, 5}}));
  cases.push_back(linear_case("linear_conv_weight", {2, 3, 5}, {{4, 5, 1, 1}, {4}}));
  cases.push_back(linear_case("linear_lora", {2, 7, 5}, {{9, 5}, {9}, {3, 5}, {9, 3}}));
  cases.push_back(
      {"linear_residual",
       {{2, 3, 5}, {2, 3, 7}},
       {{{7, 5}, {7}}},
       7,
       [](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>& w) {
         return std::vector<Var>{linear(tape, in[0], w[0], {.residual = in[1]})};
       },
       [](const Tensors& in, const std::vector<Layer>& w) { return Tensors{oracle_linear(in[0], w[0]) + in[1]}; }});
  cases.push_back(group_norm_case("group_norm", {2, 6, 5, 3}, 3, false));
  cases.push_back(group_norm_case("group_norm_silu", {2, 6, 5, 3}, 3, true));
  cases.push_back(group_norm_case("group_norm_silu_one_group", {1, 5, 3, 4}, 1, true));
  cases.push_back(group_norm_case("group_norm_silu_batch_3", {3, 20, 3, 3}, 4, true));
  cases.push_back(group_norm_case("group_norm_single_pixel", {2, 12, 1, 1}, 3, true));
  cases.push_back(layer_norm_case("layer_norm", {2, 7, 13}));
  cases.push_back(layer_norm_case("layer_norm_wide", {3, 37}));
  cases.push_back({"add_layer_norm",
                   {{2, 5, 9}, {2, 5, 9}},
                   {{{9}, {9}}},
                   10,
                   [](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>& w) {
                     auto [sum, norm] = add_layer_norm(tape, in[0], in[1], w[0], 1e-5);
                     return std::vector<Var>{sum, norm};
                   },
                   [](const Tensors& in, const std::vector<Layer>& w) {
                     const at::Tensor sum = in[0] + in[1];
                     return Tensors{sum, at::layer_norm(sum, {9}, w[0].weight.value, w[0].bias.value, 1e-5)};
                   }});
  cases.push_back({"embedding",
                   {},
                   {{{11, 5}}},
                   4,
                   [](Tape& tape, const std::vector<Var>&, const std::vector<Layer>& w) {
                     return std::vector<Var>{embedding(tape, index_of({3, 0, 10, 3, 3}).view({1, 5}), w[0].weight)};
                   },
                   [](const Tensors&, const std::vector<Layer>& w) {
                     return Tensors{at::embedding(w[0].weight.value, index_of({3, 0, 10, 3, 3}).view({1, 5}))};
                   }});
  cases.push_back({"parameter",
                   {{2, 3, 5}},
                   {{{3, 5}}},
                   4,
                   [](Tape& tape, const std::vector<Var>& in, const std::vector<Layer>& w) {
                     return std::vector<Var>{add(tape, in[0], tape.parameter(w[0].weight))};
                   },
                   [](const Tensors& in, const std::vector<Layer>& w) { return Tensors{in[0] + w[0].weight.value}; }});
  cases.push_back(attention_case("self_attention", 2, 9, 9, 3, 8, false));
  cases.push_back(attention_case("cross_attention", 2, 6, 11, 2, 5, false));
  cases.push_back(attention_case("causal_attention", 1, 7, 7, 2, 8, true));
  cases.push_back(attention_case("attention_one_token", 3, 1, 1, 2, 4, false));
  cases.push_back(plain_case(
      "silu", {{2, 3, 5}}, [](Tape& t, auto& in) { return silu(t, in[0]); }, [](auto& in) { return at::silu(in[0]); }));
  cases.push_back(plain_case(
      "gelu", {{2, 3, 5}}, [](Tape& t, auto& in) { return gelu(t, in[0]); }, [](auto& in) { return at::gelu(in[0]); }));
  cases.push_back(plain_case(
      "quick_gelu", {{2, 3, 5}}, [](Tape& t, auto& in) { return quick_gelu(t, in[0]); },
      [](auto& in) { return in[0] * at::sigmoid(in[0] * 1.702); }));
  cases.push_back(plain_case(
      "geglu", {{2, 3, 14}}, [](Tape& t, auto& in) { return geglu(t, in[0]); },
      [](auto& in) { return geglu_oracle(in[0]); }));
  cases.push_back(plain_case(
      "add", {{2, 3, 5}, {2, 3, 5}}, [](Tape& t, auto& in) { return add(t, in[0], in[1]); },
      [](auto& in) { return in[0] + in[1]; }));
  cases.push_back(plain_case(
      "add_broadcast", {{2, 3, 5}, {3, 1}}, [](Tape& t, auto& in) { return add(t, in[0], in[1]); },
      [](auto& in) { return in[0] + in[1]; }, 10));
  cases.push_back(plain_case(
      "multiply_broadcast", {{2, 3, 5}, {2, 1, 5}}, [](Tape& t, auto& in) { return multiply(t, in[0], in[1]); },
      [](auto& in) { return in[0] * in[1]; }));
  cases.push_back(plain_case(
      "scale", {{2, 3}}, [](Tape& t, auto& in) { return scale(t, in[0], 0.18215); },
      [](auto& in) { return in[0] * 0.18215; }));
  cases.push_back(plain_case(
      "concat", {{2, 3, 4, 5}, {2, 2, 4, 5}, {2, 1, 4, 5}},
      [](Tape& t, auto& in) { return concat(t, {in[0], in[1], in[2]}); }, [](auto& in) { return at::cat(in, 1); }));
  cases.push_back(plain_case(
      "slice", {{2, 7, 5}}, [](Tape& t, auto& in) { return slice(t, in[0], 1, 2, 3); },
      [](auto& in) { return in[0].narrow(1, 2, 3); }));
  cases.push_back(plain_case(
      "select_tokens", {{3, 4, 5}}, [](Tape& t, auto& in) { return select_tokens(t, in[0], index_of({3, 0, 2})); },
      [](auto& in) { return at::stack({in[0][0][3], in[0][1][0], in[0][2][2]}); }));
  cases.push_back(plain_case(
      "reshape", {{2, 3, 4}}, [](Tape& t, auto& in) { return reshape(t, in[0], {6, 4}); },
      [](auto& in) { return in[0].reshape({6, 4}); }));
  cases.push_back(plain_case(
      "tokens", {{2, 3, 4, 5}}, [](Tape& t, auto& in) { return tokens(t, in[0]); },
      [](auto& in) { return in[0].flatten(2).transpose(1, 2); }));
  cases.push_back(plain_case(
      "image", {{2, 20, 3}}, [](Tape& t, auto& in) { return image(t, in[0], 4, 5); },
      [](auto& in) { return in[0].transpose(1, 2).unflatten(2, {4, 5}); }));
  cases.push_back(plain_case(
      "upsample_2x", {{2, 3, 3, 5}}, [](Tape& t, auto& in) { return upsample_nearest_2x(t, in[0]); },
      [](auto& in) { return at::upsample_nearest2d(in[0], {6, 10}); }));
  cases.push_back(plain_case(
      "upsample_to_size", {{1, 3, 3, 5}}, [](Tape& t, auto& in) { return upsample_nearest(t, in[0], 5, 9); },
      [](auto& in) { return at::upsample_nearest2d(in[0], {5, 9}); }));
  return cases;
}

/// Shapes of the networks: too large for finite differences, large enough for the fast paths and their tails.
std::vector<OpCase> large_cases() {
  std::vector<OpCase> cases;
  cases.push_back(conv2d_case("conv3x3_by_gemm", {1, 272, 3, 5}, {{260, 272, 3, 3}, {260}}, 1, 1));
  cases.push_back(conv2d_case("conv3x3_stride_2_by_gemm", {1, 257, 7, 5}, {{259, 257, 3, 3}, {259}}, 2, 1));
  cases.push_back(conv2d_case("conv3x3_weights_by_gemm", {2, 67, 11, 9}, {{65, 67, 3, 3}, {65}}, 1, 1));
  cases.push_back(conv2d_case("conv3x3_odd", {3, 35, 9, 13}, {{37, 35, 3, 3}, {37}}, 1, 1));
  cases.push_back(linear_case("linear_large", {2, 61, 77}, {{83, 77}, {83}}));
  cases.push_back(group_norm_case("group_norm_silu_320", {2, 320, 17, 9}, 32, true));
  cases.push_back(group_norm_case("group_norm_32", {1, 96, 33, 31}, 32, false));
  cases.push_back(layer_norm_case("layer_norm_320", {2, 63, 320}));
  cases.push_back(attention_case("self_attention_40", 2, 70, 70, 4, 40, false));
  cases.push_back(attention_case("cross_attention_64", 1, 65, 77, 3, 64, false));
  cases.push_back(attention_case("cross_attention_80", 2, 33, 154, 2, 80, false));
  cases.push_back(attention_case("self_attention_160", 1, 37, 37, 2, 160, false));
  cases.push_back(attention_case("causal_attention_77", 2, 77, 77, 2, 64, true));
  cases.push_back(plain_case(
      "geglu_large", {{2, 61, 2 * 331}}, [](Tape& t, auto& in) { return geglu(t, in[0]); },
      [](auto& in) { return geglu_oracle(in[0]); }));
  return cases;
}

std::string name_of(const testing::TestParamInfo<OpCase>& info) { return info.param.name; }

class SmallOp : public testing::TestWithParam<OpCase> {};
class AnyOp : public testing::TestWithParam<OpCase> {};

INSTANTIATE_TEST_SUITE_P(Op, SmallOp, testing::ValuesIn(all_cases()), name_of);
INSTANTIATE_TEST_SUITE_P(Op, AnyOp, testing::ValuesIn([] {
                           std::vector<OpCase> cases = all_cases();
                           for (OpCase& op : large_cases()) {
                             cases.push_back(std::move(op));
                           }
                           return cases;
                         }()),
                         name_of);

/// The derivative along each coordinate, by central differences: error about h^2 from the third derivative plus
/// rounding / h, both near 1e-10 of the function's size at h = 1e-5.
TEST_P(SmallOp, AgreesWithFiniteDifferencesInDouble) {
  constexpr double kStep = 1e-5, kTolerance = 1e-8;
  const OpCase& op = GetParam();
  Data data = Data::make(op, 11, at::kDouble).as(at::kDouble);
  const Results results = run_on_tape(op, data, at::kDouble);
  const Tensors seeds = cotangents(results.outputs, at::kDouble);

  const auto loss = [&] {
    Tape tape = Tape::inference();
    double sum = 0;
    const std::vector<Var> outputs = op.run(tape, {data.inputs.begin(), data.inputs.end()}, data.layers);
    for (size_t i = 0; i < outputs.size(); ++i) {
      sum += (outputs[i].value * seeds[i]).sum().item<double>();
    }
    return sum;
  };
  Tensors variables = data.inputs;
  for (const Parameter* parameter : data.parameters()) {
    variables.push_back(parameter->value);
  }
  ASSERT_EQ(variables.size(), results.gradients.size());
  for (size_t v = 0; v < variables.size(); ++v) {
    at::Tensor differences = at::zeros_like(variables[v]);
    // Both have the same strides, so that memory order is the same order of elements.
    double* value = variables[v].data_ptr<double>();
    double* difference = differences.data_ptr<double>();
    for (int64_t i = 0; i < variables[v].numel(); ++i) {
      const double original = value[i];
      value[i] = original + kStep;
      const double above = loss();
      value[i] = original - kStep;
      const double below = loss();
      value[i] = original;
      difference[i] = (above - below) / (2 * kStep);
    }
    EXPECT_TRUE(matches(results.gradients[v], differences, kTolerance)) << "variable " << v;
  }
}

/// Rounding errors of a sum of n terms behave like a random walk: sqrt(n) roundings. The factor 4 covers ops of several
/// steps (a norm's backward, softmax).
TEST_P(AnyOp, AgreesWithAutogradInFloat) {
  const OpCase& op = GetParam();
  const double tolerance = 4 * rounding_error(at::kFloat) * (2 + std::sqrt(double(op.reduction)));
  const Data exact = Data::make(op, 12, at::kFloat);
  Data ours = exact.as(at::kFloat);
  Data oracle = exact.as(at::kDouble);
  const Results got = run_on_tape(op, ours, at::kFloat);
  const Results wanted = run_autograd(op, oracle, at::kFloat);
  ASSERT_EQ(got.outputs.size(), wanted.outputs.size());
  for (size_t i = 0; i < got.outputs.size(); ++i) {
    EXPECT_EQ(got.outputs[i].scalar_type(), at::kFloat);
    EXPECT_TRUE(matches(got.outputs[i], wanted.outputs[i], tolerance)) << "output " << i;
  }
  for (size_t i = 0; i < got.gradients.size(); ++i) {
    EXPECT_TRUE(matches(got.gradients[i], wanted.gradients[i], tolerance)) << "gradient " << i;
  }
}

/// Error at most 1.2 times that of torch's bf16, both measured from f64, or at most two roundings of the result.
TEST_P(AnyOp, IsWithinTheErrorOfBFloat16) {
  const OpCase& op = GetParam();
  const Data exact = Data::make(op, 13, at::kBFloat16);
  Data ours = exact.as(at::kBFloat16);
  Data oracle = exact.as(at::kDouble);
  Data peer = exact.as(at::kBFloat16);
  const Results got = run_on_tape(op, ours, at::kBFloat16);
  const Results wanted = run_autograd(op, oracle, at::kBFloat16);
  const Results theirs = run_autograd(op, peer, at::kBFloat16);
  const auto tolerance = [](const at::Tensor& peer_value, const at::Tensor& exact_value) {
    return std::max(2 * rounding_error(at::kBFloat16), 1.2 * relative_error(peer_value, exact_value));
  };
  for (size_t i = 0; i < got.outputs.size(); ++i) {
    EXPECT_EQ(got.outputs[i].scalar_type(), at::kBFloat16);
    EXPECT_TRUE(matches(got.outputs[i], wanted.outputs[i], tolerance(theirs.outputs[i], wanted.outputs[i])))
        << "output " << i;
  }
  for (size_t i = 0; i < got.gradients.size(); ++i) {
    EXPECT_TRUE(matches(got.gradients[i], wanted.gradients[i], tolerance(theirs.gradients[i], wanted.gradients[i])))
        << "gradient " << i;
  }
}

TEST_P(AnyOp, GivesTheSameBitsTwiceAndWithoutRecording) {
  const OpCase& op = GetParam();
  const Data exact = Data::make(op, 14, at::kFloat);
  Data first = exact.as(at::kFloat), second = exact.as(at::kFloat);
  const Results once = run_on_tape(op, first, at::kFloat);
  const Results again = run_on_tape(op, second, at::kFloat);
  Tape inference = Tape::inference();
  const std::vector<Var> plain = op.run(inference, {first.inputs.begin(), first.inputs.end()}, first.layers);
  for (size_t i = 0; i < once.outputs.size(); ++i) {
    EXPECT_TRUE(once.outputs[i].equal(again.outputs[i])) << "output " << i;
    EXPECT_TRUE(once.outputs[i].equal(plain[i].value)) << "output " << i;
    EXPECT_LT(plain[i].node, 0);
  }
  for (size_t i = 0; i < once.gradients.size(); ++i) {
    EXPECT_TRUE(once.gradients[i].equal(again.gradients[i])) << "gradient " << i;
  }
}

TEST(TimeEmbedding, IsThatOfDiffusers) {
  // get_timestep_embedding(torch.tensor([-199., 0., 0.5, 999.]), 6, flip_sin_to_cos=True, downscale_freq_shift=0):
  // cos and sin of t * 10000^(-k/3).
  const std::vector<double> timesteps{-199.0, 0.0, 0.5, 999.0};
  const at::Tensor t = at::tensor(timesteps, at::TensorOptions(at::kDouble));
  at::Tensor wanted = at::zeros({4, 6}, at::kDouble);
  at::Tensor unflipped = at::zeros({4, 6}, at::kDouble);
  for (int64_t b = 0; b < 4; ++b) {
    for (int64_t k = 0; k < 3; ++k) {
      const double angle = timesteps[b] * std::pow(10000.0, -double(k) / 3.0);
      wanted[b][k] = std::cos(angle);
      wanted[b][3 + k] = std::sin(angle);
      unflipped[b][k] = std::sin(angle);
      unflipped[b][3 + k] = std::cos(angle);
    }
  }
  EXPECT_TRUE(matches(time_embedding(t, {.channels = 6}, at::kDouble).value, wanted, 1e-12));
  EXPECT_TRUE(
      matches(time_embedding(t, {.channels = 6, .flip_sin_to_cos = false}, at::kDouble).value, unflipped, 1e-12));
  // In f32 the angle is rounded too, an error of |t| roundings.
  const at::Tensor f32 = time_embedding(t.to(at::kFloat), {.channels = 6}, at::kFloat).value;
  EXPECT_EQ(f32.scalar_type(), at::kFloat);
  EXPECT_TRUE(matches(f32, wanted, 4 * 1000 * rounding_error(at::kFloat)));
}

TEST(TimeEmbedding, TakesAFrequencyShift) {
  const at::Tensor t = at::full({1}, 7.0, at::kDouble);
  at::Tensor wanted = at::zeros({1, 4}, at::kDouble);
  for (int64_t k = 0; k < 2; ++k) {
    const double angle = 7.0 * std::pow(10000.0, -double(k) / (2.0 - 1.0));
    wanted[0][k] = std::cos(angle);
    wanted[0][2 + k] = std::sin(angle);
  }
  EXPECT_TRUE(matches(time_embedding(t, {.channels = 4, .frequency_shift = 1.0}, at::kDouble).value, wanted, 1e-12));
}

struct Geometry {
  const char* name;
  Shape x, weight;
  Convolution convolution;
};

TEST(Matmul, WithoutBFloat16InstructionsProductsAreThoseOfF32) {
  constexpr int64_t kM = 37, kK = 300, kN = 21;
  Samples samples(35);
  const at::Tensor x_MK = samples.normal({kM, kK}).to(at::kBFloat16),
                   d_y_MN = samples.normal({kM, kN}).to(at::kBFloat16);
  const at::Tensor weight_NK = samples.normal({kN, kK}).to(at::kBFloat16);
  const at::Tensor image = samples.normal({2, kN, 6, 5}).to(at::kBFloat16);
  if (!multiplies_widened(x_MK)) {
    GTEST_SKIP() << "this processor multiplies bf16 by itself";
  }
  const auto exact = [](const at::Tensor& a, const at::Tensor& b) {
    return at::mm(a.to(at::kDouble), b.to(at::kDouble));
  };
  // The order of f32 sums is unspecified.
  const double none = kK * rounding_error(at::kFloat);
  EXPECT_TRUE(matches(product(x_MK, weight_NK.t()), exact(x_MK, weight_NK.t()), none));
  EXPECT_TRUE(matches(matmul_bias(x_MK, weight_NK, {}), exact(x_MK, weight_NK.t()), none));
  // An op rounds once, after the residual.
  const at::Tensor residual_MN = samples.normal({kM, kN}).to(at::kBFloat16);
  Layer layer;
  layer.weight.value = weight_NK;
  Tape tape = Tape::inference();
  const Var y = linear(tape, x_MK, layer, {.residual = residual_MN});
  EXPECT_EQ(y.value.scalar_type(), at::kBFloat16);
  const at::Tensor sum_MN = exact(x_MK, weight_NK.t()).add_(residual_MN);
  EXPECT_TRUE(matches(y.value, sum_MN, none + relative_error(sum_MN.to(at::kBFloat16), sum_MN)));
  // There are no gradients of parameters.
  at::Tensor grad_NK = samples.normal({kN, kK}).to(at::kFloat);
  const at::Tensor wanted = exact(d_y_MN.t(), x_MK).add_(grad_NK);
  accumulate_outer(grad_NK, d_y_MN, x_MK);
  EXPECT_TRUE(matches(grad_NK, wanted, kM * rounding_error(at::kFloat)));
  const Convolution same{.stride = 1, .padding = 1};
  const at::Tensor before = samples.normal({kN, kN, 3, 3});
  for (const ConvolutionMethod method : {ConvolutionMethod::kLibrary, ConvolutionMethod::kGemm}) {
    at::Tensor grad = before.to(at::kFloat), wanted_grad = before.clone();
    accumulate_convolution_weight_gradient(grad, image, image, same, method);
    accumulate_convolution_weight_gradient(wanted_grad, image.to(at::kDouble), image.to(at::kDouble), same, method);
    EXPECT_TRUE(matches(grad, wanted_grad, 60 * rounding_error(at::kFloat)));
  }
}

TEST(Convolution, MethodsFollowTheSizes) {
  const at::Tensor small_x = at::zeros({1, 1280, 8, 8}), large_x = at::zeros({1, 320, 64, 64});
  const at::Tensor small_weight = at::zeros({1280, 1280, 3, 3}), large_weight = at::zeros({320, 320, 3, 3});
  const Convolution same{.stride = 1, .padding = 1};
  EXPECT_EQ(forward_method(small_x, small_weight, same), ConvolutionMethod::kGemm);
  EXPECT_EQ(input_gradient_method(small_x, small_weight), ConvolutionMethod::kGemm);
  EXPECT_EQ(forward_method(large_x, large_weight, same), ConvolutionMethod::kLibrary);
  EXPECT_EQ(input_gradient_method(large_x, large_weight), ConvolutionMethod::kLibrary);
  EXPECT_EQ(weight_gradient_method(large_x, large_weight), ConvolutionMethod::kGemm);
  const at::Tensor large_bf16 = large_x.to(at::kBFloat16);
  EXPECT_EQ(weight_gradient_method(large_bf16, large_weight),
            multiplies_widened(large_bf16) ? ConvolutionMethod::kGemm : ConvolutionMethod::kLibrary);
  EXPECT_EQ(weight_gradient_method(small_x.to(at::kBFloat16), small_weight), ConvolutionMethod::kGemm);
}

TEST(Convolution, LargePatchMatricesAreBuiltInParts) {
  // 300 x 90 patches of 9 * 160 doubles: ten parts and a remainder.
  Samples samples(33);
  const at::Tensor x = samples.normal({2, 160, 300, 90}), d_y = samples.normal({2, 3, 300, 90});
  const Convolution same{.stride = 1, .padding = 1};
  at::Tensor by_library = samples.normal({3, 160, 3, 3}), by_gemm = by_library.clone();
  accumulate_convolution_weight_gradient(by_library, d_y, x, same, ConvolutionMethod::kLibrary);
  accumulate_convolution_weight_gradient(by_gemm, d_y, x, same, ConvolutionMethod::kGemm);
  EXPECT_TRUE(matches(by_gemm, by_library, 1e-12));
}

TEST(Convolution, MethodsAgree) {
  for (const Geometry& g :
       {Geometry{"same", {2, 5, 6, 7}, {4, 5, 3, 3}, {1, 1}}, Geometry{"strided", {1, 3, 7, 6}, {5, 3, 3, 3}, {2, 1}},
        Geometry{"asymmetric", {2, 3, 6, 8}, {5, 3, 3, 3}, {2, {0, 1}}},
        Geometry{"patches", {2, 3, 8, 12}, {5, 3, 4, 4}, {4, 0}},
        Geometry{"pointwise", {2, 6, 3, 5}, {4, 6, 1, 1}, {1, 0}},
        Geometry{"one column", {1, 4, 5, 1}, {3, 4, 3, 3}, {1, 1}}}) {
    SCOPED_TRACE(g.name);
    Samples samples(31);
    const at::Tensor x = samples.normal(g.x), weight = samples.normal(g.weight), bias = samples.normal({g.weight[0]});
    const at::Tensor y = convolve(x, weight, bias, g.convolution, ConvolutionMethod::kLibrary);
    EXPECT_TRUE(matches(convolve(x, weight, bias, g.convolution, ConvolutionMethod::kGemm), y, 1e-13));
    const at::Tensor d_y = samples.normal(y.sizes().vec());
    EXPECT_TRUE(matches(convolution_input_gradient(d_y, g.x, weight, g.convolution, ConvolutionMethod::kGemm),
                        convolution_input_gradient(d_y, g.x, weight, g.convolution, ConvolutionMethod::kLibrary),
                        1e-13));
    // Both layouts of the gradient buffer, and a buffer that already holds gradients.
    const at::Tensor before = samples.normal(g.weight);
    at::Tensor by_library = before.clone(), by_gemm = before.clone(), plain = before.contiguous().clone();
    accumulate_convolution_weight_gradient(by_library, d_y, x, g.convolution, ConvolutionMethod::kLibrary);
    accumulate_convolution_weight_gradient(by_gemm, d_y, x, g.convolution, ConvolutionMethod::kGemm);
    accumulate_convolution_weight_gradient(plain, d_y, x, g.convolution, ConvolutionMethod::kGemm);
    EXPECT_TRUE(matches(by_gemm, by_library, 1e-13));
    EXPECT_TRUE(matches(plain, by_library, 1e-13));
  }
}

}  // namespace
}  // namespace smpo::tape::test
