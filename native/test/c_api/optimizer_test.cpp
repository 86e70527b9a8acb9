// The optimizer through the C API: updates compared with the rule in double and with the clipping of
// torch.nn.utils.clip_grad_norm_, for f32 and bf16 weights and for adapters; a run resumed from its state.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

namespace smpo::test {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kU = 0x1p-24;  // unit roundoff of f32

using Values = std::map<std::string, std::vector<float>>;
using Exact = std::map<std::string, std::vector<double>>;

Exact widened(const Values& values) {
  Exact wide;
  for (const auto& [name, list] : values) wide[name].assign(list.begin(), list.end());
  return wide;
}

// Largest ratio of |got - wanted| to the allowed difference; at most 1 passes.
double excess(const Values& got, const Exact& wanted, const Exact& allowed) {
  double worst = 0;
  for (const auto& [name, list] : got) {
    for (size_t i = 0; i < list.size(); ++i) {
      const double difference = std::abs(static_cast<double>(list[i]) - wanted.at(name)[i]);
      if (difference > 0) worst = std::max(worst, difference / allowed.at(name)[i]);
    }
  }
  return worst;
}

// Also shows that the comparison detects three times the allowed difference.
void expect_close(const Values& got, const Exact& wanted, const Exact& allowed) {
  ASSERT_EQ(got.size(), wanted.size());
  EXPECT_LE(excess(got, wanted, allowed), 1);
  for (const auto& [name, list] : allowed) {
    // Only where a difference is allowed: an adapter's A has no gradient while B is zero.
    const auto most = std::ranges::max_element(list);
    if (*most == 0) continue;
    Exact mutated = wanted;
    mutated.at(name)[static_cast<size_t>(most - list.begin())] += 3 * *most;
    EXPECT_GT(excess(got, mutated, allowed), 1);
    return;
  }
  ADD_FAILURE() << "nothing may differ";
}

class OptimizerTest : public BorderTest {
 protected:
  OptimizerTest() {
    // The results do not depend on the number of threads, and networks this small are fastest with one.
    EXPECT_OK(smpo_session_close(session, &error));
    config.threads = 1;
    EXPECT_OK(smpo_session_open(&config, &session, &error));
  }

  smpo_model trainable(int32_t precision) {
    auto options = f32_options();
    options.precision = precision;
    options.trainable = 1;
    const smpo_model model = open_unet(session, options);
    write_missing(session, model);
    return model;
  }

  smpo_model frozen(int32_t precision) {
    auto options = f32_options();
    options.precision = precision;
    const smpo_model model = open_unet(session, options);
    write_missing(session, model);
    return model;
  }

  smpo_model adapted(int32_t precision) {
    const smpo_model model = frozen(precision);
    const char* modules[] = {"conv_in", "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "conv_out"};
    auto lora = sized<smpo_lora_spec>();
    lora.rank = 2;
    lora.alpha = 4;
    lora.module_count = 3;
    lora.modules = modules;
    EXPECT_OK(smpo_model_add_lora(session, model, &lora, &error));
    write_missing(session, model);
    return model;
  }

  smpo_optimizer open(smpo_model model, const smpo_optimizer_options& options) {
    smpo_optimizer optimizer = 0;
    EXPECT_OK(smpo_optimizer_open(session, model, &options, &optimizer, &error));
    return optimizer;
  }

  smpo_step_outcome step(smpo_optimizer optimizer, double learning_rate, double max_grad_norm) {
    auto outcome = sized<smpo_step_outcome>();
    EXPECT_OK(smpo_optimizer_step(session, optimizer, learning_rate, max_grad_norm, &outcome, &error));
    return outcome;
  }

  // Computes gradients that differ from step to step.
  void differentiate(smpo_model model, uint64_t salt) {
    auto inputs = sized<smpo_unet_inputs>();
    inputs.sample = some_tensor(session, {2, 4, 6, 5}, 100 + salt);
    inputs.timesteps = some_tensor(session, {2}, 200 + salt);
    inputs.encoder_hidden_states = some_tensor(session, {2, 7, 6}, 300 + salt);
    smpo_tensor output = 0;
    EXPECT_OK(smpo_unet_backward(session, model, &inputs, some_tensor(session, {2, 4, 6, 5}, 400 + salt), &output,
                                 nullptr, &error));
  }

  Values weights(smpo_model model, bool of_trained_only = true) {
    Values values;
    for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
      if (of_trained_only && parameter.trainable == 0) continue;
      const auto spec = host_spec_of(parameter);
      std::vector<float>& list = values[parameter.name];
      list.resize(elements_of(spec));
      EXPECT_OK(smpo_model_read_parameter(session, model, parameter.name, &spec, list.data(), list.size() * 4, &error));
    }
    return values;
  }

  // Trained parameters.
  void copy_weights(smpo_model from, smpo_model to) {
    const Values values = weights(from);
    for (const smpo_parameter_info& parameter : parameters_of(session, from)) {
      if (parameter.trainable == 0) continue;
      const auto spec = host_spec_of(parameter);
      const std::vector<float>& list = values.at(parameter.name);
      EXPECT_OK(smpo_model_write_parameter(session, to, parameter.name, &spec, list.data(), list.size() * 4, &error));
    }
  }

  Values gradients(smpo_model model) {
    Values values;
    for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
      if (parameter.trainable == 0) continue;
      const auto spec = host_spec_of(parameter);
      std::vector<float>& list = values[parameter.name];
      list.resize(elements_of(spec));
      EXPECT_OK(smpo_model_read_gradient(session, model, parameter.name, &spec, list.data(), list.size() * 4, &error));
    }
    return values;
  }

  struct NamedState {
    std::string name;
    smpo_tensor_spec spec;
    std::vector<float> values;
  };
  std::vector<NamedState> states(smpo_optimizer optimizer) {
    auto info = sized<smpo_optimizer_info>();
    EXPECT_OK(smpo_optimizer_describe(session, optimizer, &info, &error));
    std::vector<NamedState> all;
    for (uint32_t i = 0; i < info.state_count; ++i) {
      auto state = sized<smpo_state_info>();
      EXPECT_OK(smpo_optimizer_state(session, optimizer, i, &state, &error));
      auto spec = sized<smpo_tensor_spec>();
      spec.dtype = SMPO_F32;
      spec.rank = state.rank;
      std::copy_n(state.shape, state.rank, spec.shape);
      std::vector<float> values(elements_of(spec));
      EXPECT_OK(
          smpo_optimizer_read_state(session, optimizer, state.name, &spec, values.data(), values.size() * 4, &error));
      all.push_back({state.name, spec, values});
    }
    return all;
  }

  // States of one kind, by parameter name.
  Values state(smpo_optimizer optimizer, const std::string& kind) {
    Values values;
    for (const NamedState& named : states(optimizer)) {
      if (named.name.starts_with(kind + ".")) values[named.name.substr(kind.size() + 1)] = named.values;
    }
    return values;
  }

  // Three steps of AdamW, the second one clipped, each compared from the library's values before the step.
  void expect_adamw(smpo_model model) {
    auto options = adamw_options();
    options.weight_decay = 0.1;
    const smpo_optimizer optimizer = open(model, options);
    EXPECT_EQ(widened(state(optimizer, "ema")), widened(weights(model)));
    for (int number = 1; number <= 3; ++number) {
      SCOPED_TRACE(number);
      differentiate(model, static_cast<uint64_t>(number));
      const Values gradient = gradients(model);
      const Values m = state(optimizer, "exp_avg"), v = state(optimizer, "exp_avg_sq"), ema = state(optimizer, "ema");
      const Values before = weights(model);

      double square = 0;
      double elements = 0;
      for (const auto& [name, list] : gradient) {
        for (const float g : list) square += static_cast<double>(g) * g;
        elements += static_cast<double>(list.size());
      }
      const double norm = std::sqrt(square);
      const double max_norm = number == 2 ? norm / 3 : kNever;
      const double clip = std::min(1.0, max_norm / (norm + 1e-6));

      const double lr = 1e-2 / number;
      const smpo_step_outcome outcome = step(optimizer, lr, max_norm);
      EXPECT_EQ(outcome.finite, 1);
      EXPECT_EQ(outcome.applied, 1);
      EXPECT_EQ(outcome.steps, number);
      EXPECT_NEAR(outcome.grad_norm, norm, norm * (elements + 200) * 0x1p-53);
      EXPECT_NEAR(outcome.clip_coefficient, clip, clip * 1.5 * kU);
      EXPECT_EQ(outcome.learning_rate, lr);

      Exact wanted_p, wanted_m, wanted_v, wanted_ema, allow_p, allow_m, allow_v, allow_ema;
      const double bias1 = 1 - std::pow(options.beta1, number), bias2 = 1 - std::pow(options.beta2, number);
      for (const auto& [name, list] : gradient) {
        for (size_t i = 0; i < list.size(); ++i) {
          const double g = clip * list[i];
          const double p = before.at(name)[i];
          const double wm = options.beta1 * m.at(name)[i] + (1 - options.beta1) * g;
          const double wv = options.beta2 * v.at(name)[i] + (1 - options.beta2) * g * g;
          const double denominator = std::sqrt(wv / bias2) + options.eps;
          const double update = lr * wm / bias1 / denominator;
          const double wp = (1 - lr * options.weight_decay) * p - update;
          const double wema = ema.at(name)[i] + (1 - options.ema_decay) * (wp - ema.at(name)[i]);
          // The bounds of kernels/adamw.h and ema_update.h, and one rounding of the clip coefficient.
          const double am = 7 * kU * (std::abs(m.at(name)[i]) + std::abs(g));
          const double ap = kU * (3 * std::abs(p) + 14 * std::abs(update)) + lr / bias1 / denominator * am;
          wanted_m[name].push_back(wm);
          allow_m[name].push_back(am);
          wanted_v[name].push_back(wv);
          allow_v[name].push_back(8 * kU * wv + 1e-37);
          wanted_p[name].push_back(wp);
          allow_p[name].push_back(ap);
          wanted_ema[name].push_back(wema);
          allow_ema[name].push_back(kU * (std::abs(wema) + 3 * std::abs(wp - ema.at(name)[i])) + ap);
        }
      }
      expect_close(weights(model), wanted_p, allow_p);
      expect_close(state(optimizer, "exp_avg"), wanted_m, allow_m);
      expect_close(state(optimizer, "exp_avg_sq"), wanted_v, allow_v);
      expect_close(state(optimizer, "ema"), wanted_ema, allow_ema);
      for (const auto& [name, list] : gradients(model)) EXPECT_EQ(list, std::vector<float>(list.size())) << name;
    }
  }

  // Three steps of Adafactor, each compared from the library's values before the step, in the checkpoint's
  // layout: factored over the last two dimensions, whatever the memory layout.
  void expect_adafactor(smpo_model model) {
    const auto options = adafactor_options();
    const smpo_optimizer optimizer = open(model, options);
    std::map<std::string, std::vector<int64_t>> shapes;
    for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
      shapes[parameter.name].assign(parameter.shape, parameter.shape + parameter.rank);
    }
    for (int number = 1; number <= 3; ++number) {
      SCOPED_TRACE(number);
      differentiate(model, static_cast<uint64_t>(number));
      const Values gradient = gradients(model), before = weights(model);
      const Values m0 = state(optimizer, "exp_avg"), v0 = state(optimizer, "exp_avg_sq"),
                   row0 = state(optimizer, "exp_avg_sq_row"), column0 = state(optimizer, "exp_avg_sq_col");
      const double lr = 1e-2 / number;
      const smpo_step_outcome outcome = step(optimizer, lr, 0.7);
      EXPECT_EQ(outcome.applied, 1);
      EXPECT_LT(outcome.clip_coefficient, 1);
      const double beta2 = 1 - std::pow(number, options.decay_rate);

      Exact wanted_p, wanted_m, wanted_v, wanted_row, wanted_column, allow_p, allow_m, allow_v, allow_row, allow_column;
      for (const auto& [name, list] : gradient) {
        const std::vector<int64_t>& shape = shapes.at(name);
        const size_t n = list.size();
        std::vector<double> g(n), update(n);
        for (size_t i = 0; i < n; ++i) g[i] = outcome.clip_coefficient * list[i];
        const auto moved = [&](float old, double mean) { return beta2 * old + (1 - beta2) * mean; };
        if (shape.size() < 2) {
          for (size_t i = 0; i < n; ++i) {
            const double v = moved(v0.at(name)[i], g[i] * g[i] + options.eps);
            wanted_v[name].push_back(v);
            allow_v[name].push_back(5 * kU * v);
            update[i] = g[i] / std::sqrt(v);
          }
        } else {
          const auto columns = static_cast<size_t>(shape.back()), rows = static_cast<size_t>(shape[shape.size() - 2]);
          for (size_t first = 0; first < n; first += rows * columns) {
            std::vector<double> row(rows), column(columns);
            for (size_t r = 0; r < rows; ++r) {
              for (size_t c = 0; c < columns; ++c) {
                const double value = g[first + r * columns + c];
                row[r] += (value * value + options.eps) / static_cast<double>(columns);
                column[c] += (value * value + options.eps) / static_cast<double>(rows);
              }
            }
            double row_mean = 0;
            for (double& value : row) {
              value = moved(row0.at(name)[wanted_row[name].size()], value);
              wanted_row[name].push_back(value);
              allow_row[name].push_back(5 * kU * value);
              row_mean += value / static_cast<double>(rows);
            }
            for (double& value : column) {
              value = moved(column0.at(name)[wanted_column[name].size()], value);
              wanted_column[name].push_back(value);
              allow_column[name].push_back(5 * kU * value);
            }
            for (size_t r = 0; r < rows; ++r) {
              for (size_t c = 0; c < columns; ++c) {
                const size_t i = first + r * columns + c;
                update[i] = g[i] / std::sqrt(row[r] / row_mean * column[c]);
              }
            }
          }
        }
        double update_square = 0, parameter_square = 0;
        for (size_t i = 0; i < n; ++i) {
          update_square += update[i] * update[i];
          parameter_square += std::pow(before.at(name)[i], 2);
        }
        const auto count = static_cast<double>(n);
        const double scaled = lr * std::max(options.parameter_eps, std::sqrt(parameter_square / count));
        const double clip = std::max(1.0, std::sqrt(update_square / count) / options.clip_threshold);
        for (size_t i = 0; i < n; ++i) {
          const double x = scaled * update[i] / clip;
          const double old = m0.at(name)[i];
          const double m = options.beta1 * old + (1 - options.beta1) * x;
          const double p = before.at(name)[i];
          // The bounds of kernels/adafactor.h.
          const double am = 27 * kU * (std::abs(old) + std::abs(x));
          wanted_m[name].push_back(m);
          allow_m[name].push_back(am);
          wanted_p[name].push_back((1 - options.weight_decay * scaled) * p - m);
          allow_p[name].push_back(3 * kU * std::abs(p) + am);
        }
      }
      expect_close(weights(model), wanted_p, allow_p);
      expect_close(state(optimizer, "exp_avg"), wanted_m, allow_m);
      expect_close(state(optimizer, "exp_avg_sq_row"), wanted_row, allow_row);
      expect_close(state(optimizer, "exp_avg_sq_col"), wanted_column, allow_column);
      if (!wanted_v.empty()) expect_close(state(optimizer, "exp_avg_sq"), wanted_v, allow_v);
    }
  }

  std::vector<float> predict(smpo_model model) {
    const auto inputs = tiny_inputs(session);
    smpo_tensor output = 0;
    EXPECT_OK(smpo_unet_forward(session, model, &inputs, &output, &error));
    return to_host<float>(output);
  }

  void train(smpo_model model, smpo_optimizer optimizer, int from, int to) {
    for (int number = from; number <= to; ++number) {
      differentiate(model, static_cast<uint64_t>(number));
      EXPECT_EQ(step(optimizer, 1e-3, number % 2 == 0 ? 1.0 : kNever).applied, 1);
    }
  }

  // Ten steps without interruption equal five steps and five more with a new model and optimizer, bit for bit.
  void expect_resumable(const smpo_optimizer_options& options, const std::function<smpo_model()>& make) {
    const smpo_model whole = make();
    const smpo_optimizer whole_optimizer = open(whole, options);
    train(whole, whole_optimizer, 1, 10);

    const smpo_model first = make();
    const smpo_optimizer first_optimizer = open(first, options);
    train(first, first_optimizer, 1, 5);
    const smpo_model second = make();
    const smpo_optimizer second_optimizer = open(second, options);
    for (const smpo_parameter_info& parameter : parameters_of(session, second)) {
      if (parameter.trainable == 0) continue;
      const auto spec = host_spec_of(parameter);
      const std::vector<float> values = weights(first).at(parameter.name);
      EXPECT_OK(
          smpo_model_write_parameter(session, second, parameter.name, &spec, values.data(), values.size() * 4, &error));
    }
    for (const NamedState& named : states(first_optimizer)) {
      EXPECT_OK(smpo_optimizer_write_state(session, second_optimizer, named.name.c_str(), &named.spec,
                                           named.values.data(), named.values.size() * 4, &error));
    }
    EXPECT_OK(smpo_optimizer_set_steps(session, second_optimizer, 5, &error));
    train(second, second_optimizer, 6, 10);

    EXPECT_EQ(weights(second), weights(whole));
    EXPECT_EQ(predict(second), predict(whole));
    const auto wanted = states(whole_optimizer), got = states(second_optimizer);
    ASSERT_EQ(got.size(), wanted.size());
    for (size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i].values, wanted[i].values) << got[i].name;
    EXPECT_NE(weights(first), weights(whole));  // five steps differ from ten
  }
};

TEST_F(OptimizerTest, AdamWFollowsItsRule) { expect_adamw(trainable(SMPO_F32)); }

TEST_F(OptimizerTest, AdamWUpdatesTheMasterOfABf16Model) {
  const smpo_model model = trainable(SMPO_BF16);
  const std::vector<float> before = predict(model);
  expect_adamw(model);
  // The compute copy is the rounded master.
  const smpo_model twin = frozen(SMPO_BF16);
  copy_weights(model, twin);
  EXPECT_EQ(predict(model), predict(twin));
  EXPECT_NE(predict(model), before);
}

TEST_F(OptimizerTest, AdamWTrainsAdaptersAndNothingElse) {
  for (const int32_t precision : {SMPO_F32, SMPO_BF16}) {
    const smpo_model model = adapted(precision);
    Values base = weights(model, /*of_trained_only=*/false);
    const size_t all = base.size();
    EXPECT_EQ(weights(model).size(), 6u);
    expect_adamw(model);
    size_t moved = 0;
    for (const auto& [name, list] : weights(model, /*of_trained_only=*/false)) moved += list != base.at(name) ? 1 : 0;
    EXPECT_EQ(moved, 6u);
    EXPECT_EQ(weights(model, false).size(), all);
  }
}

TEST_F(OptimizerTest, AdafactorFollowsItsRule) {
  expect_adafactor(trainable(SMPO_F32));
  expect_adafactor(trainable(SMPO_BF16));
  expect_adafactor(adapted(SMPO_BF16));
}

TEST_F(OptimizerTest, AdafactorKeepsRowsAndColumnsOfTheLastTwoDimensions) {
  const smpo_model model = trainable(SMPO_F32);
  auto options = adafactor_options();
  options.beta1 = options.ema_decay = 0;
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const NamedState& named : states(open(model, options))) {
    shapes[named.name].assign(named.spec.shape, named.spec.shape + named.spec.rank);
  }
  EXPECT_EQ(shapes.at("exp_avg_sq_row.conv_in.weight"), (std::vector<int64_t>{8, 4, 3}));
  EXPECT_EQ(shapes.at("exp_avg_sq_col.conv_in.weight"), (std::vector<int64_t>{8, 4, 3}));
  EXPECT_EQ(shapes.at("exp_avg_sq_row.time_embedding.linear_1.weight"), (std::vector<int64_t>{32}));
  EXPECT_EQ(shapes.at("exp_avg_sq_col.time_embedding.linear_1.weight"), (std::vector<int64_t>{8}));
  EXPECT_EQ(shapes.at("exp_avg_sq.conv_in.bias"), (std::vector<int64_t>{8}));
  EXPECT_FALSE(shapes.contains("exp_avg_sq.conv_in.weight"));
  EXPECT_FALSE(shapes.contains("exp_avg.conv_in.weight"));
  EXPECT_FALSE(shapes.contains("ema.conv_in.weight"));
}

TEST_F(OptimizerTest, AdafactorMakesItsOwnLearningRate) {
  const smpo_model model = trainable(SMPO_F32);
  auto options = adafactor_options();
  options.relative_step = 1;
  smpo_optimizer optimizer = open(model, options);
  auto outcome = sized<smpo_step_outcome>();
  EXPECT_EQ(smpo_optimizer_step(session, optimizer, 1e-3, kNever, &outcome, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_STREQ(error.message, "smpo_optimizer_step: learning_rate: expected 0 with relative_step, got 0.001");
  EXPECT_EQ(step(optimizer, 0, kNever).learning_rate, 1e-2);
  EXPECT_OK(smpo_optimizer_set_steps(session, optimizer, 39999, &error));
  EXPECT_EQ(step(optimizer, 0, kNever).learning_rate, 1 / std::sqrt(40000.0));
  EXPECT_OK(smpo_optimizer_close(session, optimizer, &error));
  options.warmup_init = 1;
  optimizer = open(model, options);
  EXPECT_EQ(step(optimizer, 0, kNever).learning_rate, 1e-6);
  EXPECT_EQ(step(optimizer, 0, kNever).learning_rate, 2e-6);
}

TEST_F(OptimizerTest, AdafactorRefusesInvalidOptions) {
  const smpo_model model = trainable(SMPO_F32);
  using Options = smpo_optimizer_options;
  const std::vector<std::pair<std::function<void(Options&)>, std::string>> cases = {
      {[](Options& o) { o.beta2 = 0.9; }, "options.beta2: expected 0, as Adafactor has none, got 0.9"},
      {[](Options& o) { o.parameter_eps = 0; }, "options.parameter_eps: expected an f32 above 0, got 0"},
      {[](Options& o) { o.clip_threshold = 0; }, "options.clip_threshold: expected an f32 above 0, got 0"},
      {[](Options& o) { o.decay_rate = 0; }, "options.decay_rate: expected a finite number below 0, got 0"},
      {[](Options& o) { o.decay_rate = NAN; }, "options.decay_rate: expected a finite number below 0, got nan"},
      {[](Options& o) { o.eps = 0; }, "options.eps: expected an f32 above 0, got 0"},
      {[](Options& o) { o.warmup_init = 1; }, "options.warmup_init: expected 0 without relative_step, got 1"}};
  for (const auto& [spoil, message] : cases) {
    auto options = adafactor_options();
    spoil(options);
    smpo_optimizer optimizer = 0;
    EXPECT_EQ(smpo_optimizer_open(session, model, &options, &optimizer, &error), SMPO_INVALID_ARGUMENT);
    EXPECT_EQ(error.message, "smpo_optimizer_open: " + message);
    EXPECT_EQ(optimizer, 0u);
  }
}

class NonFiniteTest : public OptimizerTest, public ::testing::WithParamInterface<smpo_optimizer_options> {};

INSTANTIATE_TEST_SUITE_P(Rules, NonFiniteTest, ::testing::Values(adamw_options(), adafactor_options()),
                         [](const auto& rule) { return rule.index == 0 ? "AdamW" : "Adafactor"; });

TEST_P(NonFiniteTest, AGradientThatIsNotFiniteChangesNothing) {
  const smpo_model model = trainable(SMPO_BF16);
  const smpo_optimizer optimizer = open(model, GetParam());
  train(model, optimizer, 1, 2);
  const Values before = weights(model);
  const auto state_before = states(optimizer);
  const std::vector<float> prediction = predict(model);

  auto inputs = tiny_inputs(session);
  std::vector<float> cotangent(2 * 4 * 6 * 5, 1.0f);
  cotangent[17] = std::numeric_limits<float>::infinity();
  smpo_tensor output = 0;
  EXPECT_OK(smpo_unet_backward(session, model, &inputs, from_host(spec_of(SMPO_F32, {2, 4, 6, 5}), cotangent), &output,
                               nullptr, &error));
  const smpo_step_outcome outcome = step(optimizer, 1e-3, 1);
  EXPECT_EQ(outcome.finite, 0);
  EXPECT_EQ(outcome.applied, 0);
  EXPECT_EQ(outcome.steps, 2);
  EXPECT_FALSE(std::isfinite(outcome.grad_norm));
  EXPECT_EQ(outcome.clip_coefficient, 0);
  EXPECT_EQ(weights(model), before);
  EXPECT_EQ(predict(model), prediction);
  const auto state_after = states(optimizer);
  for (size_t i = 0; i < state_after.size(); ++i) EXPECT_EQ(state_after[i].values, state_before[i].values);

  // The gradients are unchanged, and the message names the first parameter with a non-finite one.
  std::string wanted;
  const Values left = gradients(model);
  for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
    for (const float g : left.at(parameter.name)) {
      if (wanted.empty() && !std::isfinite(g)) wanted = parameter.name;
    }
  }
  char name[192] = "?";
  EXPECT_OK(smpo_optimizer_find_non_finite(session, optimizer, name, sizeof name, &error));
  EXPECT_FALSE(wanted.empty());
  EXPECT_EQ(name, wanted);
  EXPECT_OK(smpo_model_zero_gradients(session, model, &error));
  EXPECT_OK(smpo_optimizer_find_non_finite(session, optimizer, name, sizeof name, &error));
  EXPECT_STREQ(name, "");
  train(model, optimizer, 3, 3);
  EXPECT_NE(weights(model), before);
}

TEST_F(OptimizerTest, AdamWContinuesBitForBit) {
  expect_resumable(adamw_options(), [this] { return trainable(SMPO_F32); });
  expect_resumable(adamw_options(), [this] { return trainable(SMPO_BF16); });
  expect_resumable(adamw_options(), [this] { return adapted(SMPO_BF16); });
}

TEST_F(OptimizerTest, AdafactorContinuesBitForBit) {
  auto without_moment = adafactor_options();
  without_moment.beta1 = 0;
  expect_resumable(adafactor_options(), [this] { return trainable(SMPO_BF16); });
  expect_resumable(without_moment, [this] { return adapted(SMPO_F32); });
}

TEST_F(OptimizerTest, TheAverageIsCopiedToAnotherModel) {
  const smpo_model model = trainable(SMPO_F32);
  const smpo_optimizer optimizer = open(model, adamw_options());
  train(model, optimizer, 1, 3);
  const smpo_model average = frozen(SMPO_F32);
  EXPECT_OK(smpo_optimizer_copy_ema(session, optimizer, average, &error));
  EXPECT_EQ(weights(average, /*of_trained_only=*/false), state(optimizer, "ema"));
  EXPECT_NE(weights(model), state(optimizer, "ema"));

  EXPECT_EQ(smpo_optimizer_copy_ema(session, optimizer, model, &error), SMPO_INVALID_ARGUMENT);
  auto without = adamw_options();
  without.ema_decay = 0;
  EXPECT_EQ(smpo_optimizer_copy_ema(session, open(trainable(SMPO_F32), without), average, &error),
            SMPO_INVALID_ARGUMENT);
  EXPECT_STREQ(error.message,
               "smpo_optimizer_copy_ema: optimizer: expected one with an EMA, got one whose options.ema_decay is 0");
}

TEST_F(OptimizerTest, TheAverageOfAdaptersGoesToAdapters) {
  const smpo_model model = adapted(SMPO_F32);
  const smpo_optimizer optimizer = open(model, adamw_options());
  train(model, optimizer, 1, 2);
  const smpo_model average = adapted(SMPO_F32);
  EXPECT_OK(smpo_optimizer_copy_ema(session, optimizer, average, &error));
  EXPECT_EQ(weights(average), state(optimizer, "ema"));
}

TEST_F(OptimizerTest, HoldsItsModelAndItsAdapters) {
  const smpo_model model = adapted(SMPO_F32);
  smpo_optimizer optimizer = open(model, adamw_options());
  EXPECT_EQ(smpo_model_merge_lora(session, model, 1, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_STREQ(error.message,
               "smpo_model_merge_lora: model: expected adapters that no optimizer holds: close the optimizer first");
  const auto options = adamw_options();
  smpo_optimizer second = 0;
  EXPECT_EQ(smpo_optimizer_open(session, model, &options, &second, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_OK(smpo_optimizer_close(session, optimizer, &error));
  optimizer = open(model, options);
  train(model, optimizer, 1, 1);
  EXPECT_OK(smpo_model_close(session, model, &error));
  EXPECT_EQ(step(optimizer, 1e-3, kNever).applied, 1);
  EXPECT_OK(smpo_optimizer_close(session, optimizer, &error));
}

TEST_F(OptimizerTest, WantsSomethingToTrain) {
  smpo_optimizer optimizer = 0;
  const auto options = adamw_options();
  EXPECT_EQ(smpo_optimizer_open(session, frozen(SMPO_F32), &options, &optimizer, &error), SMPO_INVALID_ARGUMENT);
  auto trainable_options = f32_options();
  trainable_options.trainable = 1;
  const smpo_model empty = open_unet(session, trainable_options);
  EXPECT_EQ(smpo_optimizer_open(session, empty, &options, &optimizer, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_NE(std::string(error.message).find("parameters were never written"), std::string::npos) << error.message;
}

}  // namespace
}  // namespace smpo::test
