// Shared by the tests of the VAE and of the CLIP encoders: models from golden files, errors, slopes.
#ifndef SMPO_TEST_MODELS_ENCODER_CASE_H_
#define SMPO_TEST_MODELS_ENCODER_CASE_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/dot.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/peer_errors.h"
#include "models/weights.h"
#include "support/golden.h"
#include "tape/compare.h"
#include "tape/tape.h"

namespace smpo::models::test {

/// Largest difference of two correct f32 implementations with some tens of layers: the sums of one layer have up to
/// 10^3 terms, each rounded to 2^-24 = 6e-8; errors of layers add up like a random walk.
constexpr double kEncoderTolerance = 1e-5;
template <typename Model, typename Spec>
std::unique_ptr<Model> golden_encoder(const smpo::test::Golden& golden, const Spec& spec,
                                      const WeightOptions& options = {}) {
  auto model = std::make_unique<Model>(spec, options);
  for (const auto& [name, shape] : golden.json["parameters"].object()) {
    model->weights().write(name, smpo::test::synthetic_parameter(name, shape.integers()));
  }
  return model;
}

template <typename Model>
testing::AssertionResult has_the_parameters_of(const smpo::test::Golden& golden, const Model& model) {
  std::map<std::string, std::vector<int64_t>> ours, theirs;
  for (size_t i = 0; i < model.weights().size(); ++i) {
    ours.emplace(model.weights().entry(i).name, model.weights().entry(i).shape);
  }
  for (const auto& [name, shape] : golden.json["parameters"].object()) theirs.emplace(name, shape.integers());
  for (const auto& [name, shape] : theirs) {
    const auto found = ours.find(name);
    if (found == ours.end()) return testing::AssertionFailure() << name << " is missing";
    if (found->second != shape) return testing::AssertionFailure() << name << " has another shape";
    ours.erase(found);
  }
  if (!ours.empty()) return testing::AssertionFailure() << ours.begin()->first << " is one too many";
  return testing::AssertionSuccess();
}

/// Results of one run of a model, by name.
using Results = std::map<std::string, at::Tensor>;

/// Expects each f32 result to equal the golden tensor caseK.NAME within tolerance.
inline void expect_golden(const smpo::test::Golden& golden, size_t k, const Results& results) {
  for (const auto& [name, value] : results) {
    const at::Tensor& wanted = golden.tensor("case" + std::to_string(k) + "." + name);
    std::printf("case%zu.%s: %.2g\n", k, name.c_str(), tape::test::relative_error(value, wanted));
    EXPECT_EQ(value.scalar_type(), at::kFloat);
    EXPECT_TRUE(tape::test::matches(value, wanted, kEncoderTolerance)) << name;
  }
}

/// Expects the bf16 results of case k to have errors, over its draws, no larger than the peer's. `results_of(model,
/// draw)` runs either model on the inputs of the draw.
template <typename Model>
void expect_bf16_errors_of_the_peer(const smpo::test::Golden& golden, size_t k, const Model& wide, const Model& narrow,
                                    const std::function<Results(const Model&, int64_t draw)>& results_of) {
  const smpo::test::Json& described = golden.json["cases"].array().at(k);
  const int64_t draws = described["bf16_draws"].integer();
  BFloat16Errors errors;
  for (int64_t draw = 0; draw < draws; ++draw) {
    const Results exact = results_of(wide, draw), rounded = results_of(narrow, draw);
    for (const auto& [name, value] : rounded) {
      EXPECT_EQ(value.scalar_type(), at::kBFloat16);
      const double error = tape::test::relative_error(value, exact.at(name));
      EXPECT_GT(error, 0x1p-12) << name << ": no rounding at all: is this bf16?";
      errors.add(name, error);
    }
  }
  EXPECT_TRUE(errors.within_allowance(described["bf16_error"], draws));
}

/// Whether the bits are equal, whatever the strides.
inline bool same_values(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
         std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

/// Expects the recorded gradient of an f64 model with respect to flat parameters and input to be the slope of the loss
/// along a direction of random relative steps. `loss` is a function of the input and of the current weights; `d_input`
/// is undefined if the input has no gradient.
inline void expect_slope(Weights& weights, const at::Tensor& input, const at::Tensor& d_input,
                         const std::function<double(const at::Tensor&)>& loss) {
  at::Tensor flat = weights.base().master();
  const at::Tensor start = flat.clone();
  const at::Tensor direction = start.mul(smpo::test::synthetic_input("direction", flat.sizes()).to(at::kDouble));
  double slope = weights.base().gradient().dot(direction).item<double>();
  at::Tensor input_direction;
  if (d_input.defined()) {
    input_direction = smpo::test::synthetic_input("input_direction", input.sizes()).to(at::kDouble);
    slope += d_input.mul(input_direction).sum().item<double>();
  }
  const auto loss_at = [&](double step) {
    flat.copy_(start.add(direction, step));
    return loss(d_input.defined() ? input.add(input_direction, step) : input);
  };
  // Fourth-order central differences: error about step^4, rounding 1e-16 / step.
  const double h = 1e-4;
  const double difference = (8 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12 * h);
  flat.copy_(start);
  EXPECT_NEAR(difference, slope, 1e-7 * std::abs(slope));
  EXPECT_GT(std::abs(slope), 1e-3);
}

/// Message of the std::invalid_argument that `call` throws.
inline std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(nothing thrown)";
}

}  // namespace smpo::models::test

#endif  // SMPO_TEST_MODELS_ENCODER_CASE_H_
