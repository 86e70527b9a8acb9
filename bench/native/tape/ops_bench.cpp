// Ops with kernels of their own compared with ATen's. Sizes are those of SD 1.5 with one 64 x 64 latent.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/native_group_norm.h>
#include <ATen/ops/native_group_norm_backward.h>
#include <ATen/ops/native_layer_norm.h>
#include <ATen/ops/native_layer_norm_backward.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include "harness.h"
#include "tape/convolution.h"
#include "tape/ops.h"

namespace smpo::bench {
namespace {

using tape::Layer;
using tape::Tape;
using tape::Var;

at::Tensor normal(std::vector<int64_t> shape, at::ScalarType dtype, uint64_t seed) {
  at::Tensor x = at::randn(shape, at::detail::createCPUGenerator(seed), at::TensorOptions(at::kFloat)).to(dtype);
  return shape.size() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

Layer norm_layer(int64_t channels, at::ScalarType dtype) {
  Layer layer;
  layer.weight.value = normal({channels}, dtype, 1);
  layer.bias.value = normal({channels}, dtype, 2);
  layer.weight.grad = at::zeros_like(layer.weight.value, at::kFloat);
  layer.bias.grad = at::zeros_like(layer.bias.value, at::kFloat);
  return layer;
}

std::optional<std::string> difference(const at::Tensor& a, const at::Tensor& b, double tolerance) {
  const at::Tensor wanted = b.to(at::kFloat).contiguous();
  const double error = (a.to(at::kFloat).contiguous().sub(wanted)).norm().item<double>() / wanted.norm().item<double>();
  if (error <= tolerance) return std::nullopt;
  return "relative error " + std::to_string(error);
}

const char* name_of(at::ScalarType dtype) { return dtype == at::kFloat ? "f32" : "bf16"; }
double tolerance_of(at::ScalarType dtype) { return dtype == at::kFloat ? 1e-5 : 2e-2; }

constexpr at::ScalarType kDTypes[] = {at::kFloat, at::kBFloat16};

/// Compares forward, then forward and backward, on a tape with ATen's functions called in the same order.
struct Pair {
  std::string family, size;
  at::ScalarType dtype;
  double elements;
  /// Smallest number of passes over the data in each direction.
  double forward_passes, backward_passes;
  std::function<Var(Tape&, const Var&)> ours;
  at::Tensor x, d_y;
  std::function<at::Tensor(const at::Tensor& x)> aten;
  std::function<at::Tensor(const at::Tensor& x, const at::Tensor& d_y)> aten_backward;

  at::Tensor train() const {
    Tape tape;
    const Var in = tape.input(x);
    const Var y = ours(tape, in);
    tape.backward({{y, d_y}});
    return tape.gradient(in);
  }

  at::Tensor infer() const {
    Tape tape = Tape::inference();
    return ours(tape, x).value;
  }

  void measure(Session& session) const {
    const double bytes = elements * static_cast<double>(x.element_size());
    session.measure({.family = family,
                     .size = size + " fwd",
                     .dtype = name_of(dtype),
                     .bytes = forward_passes * bytes,
                     .items = elements,
                     .disagreement = [&] { return difference(infer(), aten(x), tolerance_of(dtype)); },
                     .contenders = {{"ours", [&] { infer(); }}, {"aten", [&] { aten(x); }}},
                     .guarded = ""});
    session.measure({.family = family,
                     .size = size + " fwd+bwd",
                     .dtype = name_of(dtype),
                     .bytes = (forward_passes + backward_passes) * bytes,
                     .items = elements,
                     .disagreement = [&] { return difference(train(), aten_backward(x, d_y), tolerance_of(dtype)); },
                     .contenders = {{"ours", [&] { train(); }}, {"aten", [&] { aten_backward(x, d_y); }}},
                     .guarded = ""});
  }
};

}  // namespace

SMPO_BENCH(group_norm_silu) {
  const c10::InferenceMode guard;
  for (const at::ScalarType dtype : kDTypes) {
    for (const auto& [channels, side] : {std::pair<int64_t, int64_t>{320, 64}, {640, 32}, {1280, 16}, {1280, 8}}) {
      const Layer layer = norm_layer(channels, dtype);
      const int64_t area = side * side;
      const auto normalize = [&layer, channels = channels, area](const at::Tensor& x) {
        return at::native_group_norm(x, layer.weight.value, layer.bias.value, 1, channels, area, 32, 1e-5);
      };
      const Pair pair{.family = "group_norm_silu",
                      .size = std::to_string(channels) + "@" + std::to_string(side),
                      .dtype = dtype,
                      .elements = static_cast<double>(channels * area),
                      .forward_passes = 3,
                      .backward_passes = 5,
                      .ours = [&](Tape& tape, const Var& x) { return tape::group_norm_silu(tape, x, layer, 32, 1e-5); },
                      .x = normal({1, channels, side, side}, dtype, 3),
                      .d_y = normal({1, channels, side, side}, dtype, 4),
                      .aten = [&](const at::Tensor& x) { return at::silu(std::get<0>(normalize(x))); },
                      .aten_backward =
                          [&](const at::Tensor& x, const at::Tensor& d_y) {
                            const auto [z, mean, rstd] = normalize(x);
                            const at::Tensor y = at::silu(z);
                            const auto [d_x, d_weight, d_bias] = at::native_group_norm_backward(
                                at::silu_backward(d_y, z), x, mean, rstd, layer.weight.value, 1, channels, area, 32,
                                {true, true, true});
                            Tape::accumulate_parameter(layer.weight, d_weight);
                            Tape::accumulate_parameter(layer.bias, d_bias);
                            return d_x;
                          }};
      pair.measure(session);
    }
  }
}

SMPO_BENCH(layer_norm) {
  const c10::InferenceMode guard;
  for (const at::ScalarType dtype : kDTypes) {
    for (const auto& [rows, channels] : {std::pair<int64_t, int64_t>{4096, 320}, {1024, 640}, {256, 1280}}) {
      const Layer layer = norm_layer(channels, dtype);
      const auto normalize = [&layer, channels = channels](const at::Tensor& x) {
        return at::native_layer_norm(x, {channels}, layer.weight.value, layer.bias.value, 1e-5);
      };
      const Pair pair{.family = "layer_norm",
                      .size = std::to_string(rows) + "x" + std::to_string(channels),
                      .dtype = dtype,
                      .elements = static_cast<double>(channels * rows),
                      .forward_passes = 2,
                      .backward_passes = 3,
                      .ours = [&](Tape& tape, const Var& x) { return tape::layer_norm(tape, x, layer, 1e-5); },
                      .x = normal({1, rows, channels}, dtype, 3),
                      .d_y = normal({1, rows, channels}, dtype, 4),
                      .aten = [&](const at::Tensor& x) { return std::get<0>(normalize(x)); },
                      .aten_backward =
                          [&](const at::Tensor& x, const at::Tensor& d_y) {
                            const auto [y, mean, rstd] = normalize(x);
                            const auto [d_x, d_weight, d_bias] =
                                at::native_layer_norm_backward(d_y, x, {channels}, mean, rstd, layer.weight.value,
                                                               layer.bias.value, {true, true, true});
                            Tape::accumulate_parameter(layer.weight, d_weight);
                            Tape::accumulate_parameter(layer.bias, d_bias);
                            return d_x;
                          }};
      pair.measure(session);
    }
  }
}

SMPO_BENCH(geglu) {
  const c10::InferenceMode guard;
  for (const at::ScalarType dtype : kDTypes) {
    for (const auto& [rows, channels] : {std::pair<int64_t, int64_t>{4096, 1280}, {1024, 2560}, {256, 5120}}) {
      const Pair pair{.family = "geglu",
                      .size = std::to_string(rows) + "x" + std::to_string(channels),
                      .dtype = dtype,
                      .elements = static_cast<double>(channels * rows),
                      .forward_passes = 3,
                      .backward_passes = 5,
                      .ours = [](Tape& tape, const Var& x) { return tape::geglu(tape, x); },
                      .x = normal({1, rows, 2 * channels}, dtype, 3),
                      .d_y = normal({1, rows, channels}, dtype, 4),
                      .aten =
                          [](const at::Tensor& x) {
                            const auto halves = x.chunk(2, -1);
                            return at::mul(halves[0], at::gelu(halves[1]));
                          },
                      .aten_backward =
                          [](const at::Tensor& x, const at::Tensor& d_y) {
                            const auto halves = x.chunk(2, -1);
                            const at::Tensor activated = at::gelu(halves[1]);
                            const at::Tensor y = at::mul(halves[0], activated);
                            return at::cat(
                                {at::mul(d_y, activated), at::gelu_backward(at::mul(d_y, halves[0]), halves[1])}, -1);
                          }};
      pair.measure(session);
    }
  }
}

SMPO_BENCH(convolution) {
  using namespace tape;
  const c10::InferenceMode guard;
  constexpr Convolution kSame{.stride = 1, .padding = 1};
  for (const at::ScalarType dtype : kDTypes) {
    for (const auto& [in, out, side] : {std::tuple<int64_t, int64_t, int64_t>{320, 320, 64},
                                        {640, 640, 32},
                                        {1280, 640, 32},
                                        {640, 1280, 16},
                                        {1280, 1280, 16},
                                        {2560, 1280, 16},
                                        {1280, 1280, 8},
                                        {32, 32, 16},
                                        {64, 64, 8}}) {
      const at::Tensor x = normal({1, in, side, side}, dtype, 1), weight = normal({out, in, 3, 3}, dtype, 2);
      const at::Tensor d_y = normal({1, out, side, side}, dtype, 3);
      const at::Tensor grad = at::zeros_like(weight, at::kFloat);
      const std::string size = std::to_string(in) + ">" + std::to_string(out) + "@" + std::to_string(side);
      const double flops = 2.0 * 9 * static_cast<double>(in * out * side * side);
      const auto measure = [&](const char* direction, const std::function<at::Tensor(ConvolutionMethod)>& run) {
        session.measure({.family = "convolution",
                         .size = size + " " + direction,
                         .dtype = name_of(dtype),
                         .bytes = static_cast<double>((x.numel() + weight.numel() + d_y.numel()) * x.element_size()),
                         .items = flops,
                         .bound = Bound::kCompute,
                         .disagreement =
                             [&] {
                               return difference(run(ConvolutionMethod::kGemm), run(ConvolutionMethod::kLibrary),
                                                 tolerance_of(dtype));
                             },
                         .contenders = {{"gemm", [&] { run(ConvolutionMethod::kGemm); }},
                                        {"library", [&] { run(ConvolutionMethod::kLibrary); }}},
                         .guarded = ""});
      };
      measure("fwd", [&](ConvolutionMethod method) { return convolve(x, weight, {}, kSame, method); });
      measure("dx", [&](ConvolutionMethod method) {
        return convolution_input_gradient(d_y, x.sizes(), weight, kSame, method);
      });
      measure("dw", [&](ConvolutionMethod method) {
        at::Tensor sum = grad;
        sum.zero_();
        accumulate_convolution_weight_gradient(sum, d_y, x, kSame, method);
        return sum.clone();
      });
    }
  }
}

}  // namespace smpo::bench
