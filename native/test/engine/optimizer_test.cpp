// The optimizer against LibTorch's AdamW and clip_grad_norm_, and the gaps between parameters in the flat buffers.
#include "engine/optimizer.h"

#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "engine/model.h"
#include "engine/model_value.h"
#include "engine/session.h"

namespace smpo::engine {
namespace {

using models::ParameterGroup;

constexpr double kNever = std::numeric_limits<double>::infinity();

smpo_unet_spec tiny_spec() {
  smpo_unet_spec spec{};
  spec.size = sizeof spec;
  spec.in_channels = spec.out_channels = 3;  // filters and biases with gaps after them
  spec.levels = 2;
  for (int32_t i = 0; i < spec.levels; ++i) {
    spec.block_out_channels[i] = 12;
    spec.layers_per_block[i] = 1;
    spec.transformer_layers[i] = 1;
    spec.attention_heads[i] = 2;
  }
  spec.down_attention[0] = 1;
  spec.up_attention[1] = 1;
  spec.cross_attention_dim = 6;
  spec.norm_num_groups = 4;
  spec.flip_sin_to_cos = 1;
  spec.norm_eps = 1e-5;
  return spec;
}

smpo_optimizer_options rule(int32_t kind) {
  smpo_optimizer_options options{};
  options.size = sizeof options;
  options.kind = kind;
  options.beta1 = 0.9;
  options.eps = 1e-8;
  options.weight_decay = 0.1;
  options.ema_decay = 0.99;
  if (kind == SMPO_OPTIMIZER_ADAMW) {
    options.beta2 = 0.999;
  } else {
    options.parameter_eps = 1e-3;
    options.clip_threshold = 1;
    options.decay_rate = -0.8;
    options.scale_parameter = 1;
  }
  return options;
}

class OptimizerTest : public ::testing::Test {
 protected:
  // A trainable UNet with random weights.
  std::shared_ptr<Model> trainable(int32_t precision) {
    smpo_model_options options{};
    options.size = sizeof options;
    options.precision = precision;
    options.trainable = 1;
    std::shared_ptr<Model> model = open_unet(session_, tiny_spec(), options);
    for (const ParameterGroup::Entry& entry : model->weights().base().entries()) {
      model->weights().write(entry.name, at::rand(entry.shape).sub_(0.5));
    }
    return model;
  }

  static void randomize_gradients(Model& model) {
    for (const ParameterGroup::Entry& entry : model.weights().base().entries()) {
      entry.parameter->grad.copy_(at::rand(entry.shape).sub_(0.5));
    }
  }

  Session session_{{.device_type = SMPO_DEVICE_CPU,
                    .device_index = 0,
                    .threads = 2,
                    .seed = 1,
                    .deterministic = true,
                    .log_level = SMPO_LOG_ERROR,
                    .log_capacity = 8}};
};

TEST_F(OptimizerTest, AgreesWithTorchsAdamWAndClipGradNorm) {
  session_.run([&] {
    const std::shared_ptr<Model> model = trainable(SMPO_F32);
    const auto& entries = model->weights().base().entries();
    const smpo_optimizer_options options = rule(SMPO_OPTIMIZER_ADAMW);
    const std::shared_ptr<Optimizer> optimizer = open_optimizer(session_, model, options, nullptr);
    std::vector<at::Tensor> weights, exp_avg, exp_avg_sq, counts;
    for (const ParameterGroup::Entry& entry : entries) {
      weights.push_back(model->weights().read(entry.name));
      exp_avg.push_back(at::zeros_like(weights.back()));
      exp_avg_sq.push_back(at::zeros_like(weights.back()));
      counts.push_back(at::zeros({}));
    }
    constexpr int kSteps = 5;
    constexpr double kLearningRate = 1e-2;
    for (int number = 1; number <= kSteps; ++number) {
      randomize_gradients(*model);
      std::vector<at::Tensor> gradients;
      for (const ParameterGroup::Entry& entry : entries)
        gradients.push_back(entry.parameter->grad.clone(at::MemoryFormat::Contiguous));
      // torch.nn.utils.clip_grad_norm_
      const at::Tensor norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients)));
      const double max_norm = number % 2 == 0 ? 1.0 : 1e6;
      const at::Tensor coefficient = norm.add(1e-6).reciprocal().mul(max_norm).clamp_max(1.0);
      for (at::Tensor& gradient : gradients) gradient.mul_(coefficient);
      for (const at::Tensor& count : counts) at::Tensor(count).add_(1);
      at::_fused_adamw_(weights, gradients, exp_avg, exp_avg_sq, {}, counts, kLearningRate, options.beta1,
                        options.beta2, options.weight_decay, options.eps, /*amsgrad=*/false, /*maximize=*/false);

      const smpo_step_outcome outcome = step(session_, *optimizer, kLearningRate, max_norm);
      EXPECT_EQ(outcome.steps, number);
      // torch sums squares in f32: a few roundings in a tree over 10^5 elements, far below this tolerance.
      EXPECT_NEAR(outcome.grad_norm, norm.item<double>(), 1e-5 * outcome.grad_norm);
      EXPECT_NEAR(outcome.clip_coefficient, coefficient.item<double>(), 1e-5 * outcome.clip_coefficient);
    }
    const auto largest_difference = [&] {
      double largest = 0;
      for (size_t i = 0; i < entries.size(); ++i) {
        const at::Tensor difference = weights[i].sub(model->weights().read(entries[i].name)).abs();
        largest = std::max(largest, difference.max().item<double>());
      }
      return largest;
    };
    // Weights below 1 and updates of about the learning rate, both with a few roundings per step; the clip coefficients
    // differ by less than 1e-6.
    constexpr double kTolerance = kSteps * (4 * 0x1p-24 + kLearningRate * 3e-6);
    EXPECT_LT(largest_difference(), kTolerance);
    // The comparison detects one hundredth of one update of one parameter.
    weights.back().add_(0.01 * kLearningRate);
    EXPECT_GT(largest_difference(), kTolerance);
  });
}

TEST_F(OptimizerTest, WhatLiesBetweenParametersStaysZero) {
  for (const int32_t kind : {SMPO_OPTIMIZER_ADAMW, SMPO_OPTIMIZER_ADAFACTOR}) {
    for (const int32_t precision : {SMPO_F32, SMPO_BF16}) {
      session_.run([&] {
        const std::shared_ptr<Model> model = trainable(precision);
        const ParameterGroup& group = model->weights().base();
        const std::shared_ptr<Optimizer> optimizer = open_optimizer(session_, model, rule(kind), nullptr);
        at::Tensor between = at::ones_like(group.master());
        for (const ParameterGroup::Entry& entry : group.entries()) {
          between.narrow(0, entry.offset, entry.elements).zero_();
        }
        ASSERT_GT(between.sum().item<double>(), 0) << "every parameter fills its place: nothing is tested";
        const at::Tensor before = group.master().clone();
        for (int number = 1; number <= 3; ++number) {
          randomize_gradients(*model);
          EXPECT_EQ(step(session_, *optimizer, 1e-2, number == 2 ? 0.5 : kNever).applied, 1);
        }
        EXPECT_FALSE(before.equal(group.master()));
        EXPECT_EQ(group.gradient().abs().max().item<double>(), 0);
        for (const at::Tensor& buffer : {group.master(), group.compute()}) {
          EXPECT_EQ(buffer.to(at::kFloat).mul(between).abs().max().item<double>(), 0);
        }
        EXPECT_TRUE(group.master().to(group.compute().scalar_type()).equal(group.compute()));
      });
    }
  }
}

TEST_F(OptimizerTest, AClosedOptimizerLeavesItsModelFree) {
  session_.run([&] {
    const std::shared_ptr<Model> model = trainable(SMPO_F32);
    std::shared_ptr<Optimizer> optimizer = open_optimizer(session_, model, rule(SMPO_OPTIMIZER_ADAFACTOR), nullptr);
    EXPECT_FALSE(model->optimizer.expired());
    optimizer.reset();
    EXPECT_TRUE(model->optimizer.expired());
  });
}

}  // namespace
}  // namespace smpo::engine
