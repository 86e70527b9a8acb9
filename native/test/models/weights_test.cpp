// Flat buffers and their parameters.
#include "models/weights.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>

namespace smpo::models {
namespace {

at::Tensor counting(std::vector<int64_t> shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return at::arange(1, elements + 1, at::kFloat).view(shape);
}

struct Small {
  Weights weights;
  const tape::Layer& conv;
  const tape::Layer& linear;
  const tape::Layer& norm;
  const tape::Parameter& table;

  explicit Small(const WeightOptions& options)
      : weights(options),
        conv(weights.conv2d("conv", 3, 5, 2)),
        linear(weights.linear("block.linear", 3, 4, /*bias=*/false)),
        norm(weights.norm("norm", 7)),
        table(weights.parameter("embedding.table", {6, 2})) {
    weights.allocate();
  }
  void write_all() {
    for (size_t i = 0; i < weights.size(); ++i) weights.write(weights.entry(i).name, counting(weights.entry(i).shape));
  }
};

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "(nothing thrown)";
}

TEST(Weights, LieInOrderOfDeclarationOnBoundaries) {
  const Small small({.trainable = true});
  const std::vector<std::string> names = {"conv.weight", "conv.bias", "block.linear.weight",
                                          "norm.weight", "norm.bias", "embedding.table"};
  ASSERT_EQ(small.weights.size(), names.size());
  int64_t end = 0, elements = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const ParameterGroup::Entry& entry = small.weights.entry(i);
    EXPECT_EQ(entry.name, names[i]);
    EXPECT_EQ(entry.offset % ParameterGroup::kAlignment, 0);
    EXPECT_GE(entry.offset, end);
    EXPECT_LT(entry.offset, end + ParameterGroup::kAlignment);
    end = entry.offset + entry.elements;
    elements += entry.elements;
    EXPECT_EQ(entry.parameter->value.const_data_ptr<float>(),
              small.weights.base().compute().const_data_ptr<float>() + entry.offset);
    EXPECT_EQ(entry.parameter->grad.const_data_ptr<float>(),
              small.weights.base().gradient().const_data_ptr<float>() + entry.offset);
  }
  EXPECT_EQ(small.weights.base().elements(), elements);
  EXPECT_FALSE(small.linear.bias.defined());
}

TEST(Weights, BuffersAreThoseThatAreNeeded) {
  const auto buffers = [](at::ScalarType precision, bool trainable) {
    Small small({.precision = precision, .trainable = trainable});
    const ParameterGroup& group = small.weights.base();
    const int64_t end = group.compute().numel();
    std::string kind = group.gradient().defined() ? "gradient " : "";
    kind += !group.master().defined() ? "no master" : group.master().is_same(group.compute()) ? "shared" : "own master";
    return kind + " " + std::to_string(group.bytes() / end);
  };
  EXPECT_EQ(buffers(at::kFloat, false), "shared 4");
  EXPECT_EQ(buffers(at::kFloat, true), "gradient shared 8");
  EXPECT_EQ(buffers(at::kBFloat16, false), "no master 2");
  EXPECT_EQ(buffers(at::kBFloat16, true), "gradient own master 10");
}

TEST(Weights, ConvolutionsAreChannelsLastInMemoryAndRowMajorOutside) {
  Small small({});
  small.write_all();
  const at::Tensor& value = small.conv.weight.value;
  EXPECT_TRUE(value.is_contiguous(at::MemoryFormat::ChannelsLast));
  // In memory [out,kh,kw,in]: the second element is the same position in the next input channel, 2 x 2 elements later.
  EXPECT_EQ(value.const_data_ptr<float>()[1], 5.0f);
  const at::Tensor back = small.weights.read("conv.weight");
  EXPECT_TRUE(back.is_contiguous());
  EXPECT_TRUE(at::equal(back, counting({5, 3, 2, 2})));
}

TEST(Weights, AnyFloatTypeIsConverted) {
  for (const auto precision : {at::kFloat, at::kBFloat16}) {
    for (const auto given : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}) {
      for (const bool trainable : {false, true}) {
        Small small({.precision = precision, .trainable = trainable});
        // 1 + 2^-9 is exact in half and float and rounds to 1 in bfloat16.
        const at::Tensor wanted = at::full({7}, 1 + 0x1p-9, at::kDouble).to(given);
        small.weights.write("norm.weight", wanted);
        EXPECT_TRUE(at::equal(small.norm.weight.value, wanted.to(precision)));
        const auto kept = precision == at::kBFloat16 && !trainable ? at::kBFloat16 : at::kFloat;
        EXPECT_TRUE(at::equal(small.weights.read("norm.weight"), wanted.to(kept)));
      }
    }
  }
}

TEST(Weights, TheComputeCopyFollowsTheMasterWhenRefreshed) {
  Small small({.precision = at::kBFloat16, .trainable = true});
  small.write_all();
  at::Tensor(small.weights.base().master()).add_(1.0);
  EXPECT_TRUE(at::equal(small.norm.weight.value, counting({7}).to(at::kBFloat16)));
  small.weights.base().refresh_compute_copy();
  EXPECT_TRUE(at::equal(small.norm.weight.value, counting({7}).add(1.0).to(at::kBFloat16)));
}

TEST(Weights, WhatIsMissingIsListed) {
  Small small({});
  EXPECT_EQ(message_of([&] { small.weights.require_written(); }),
            "model: 6 of 6 parameters were never written: conv.weight, conv.bias, block.linear.weight, norm.weight, "
            "norm.bias, ...");
  small.write_all();
  EXPECT_NO_THROW(small.weights.require_written());
}

TEST(Weights, WrongNamesShapesAndTypesAreNamed) {
  Small small({});
  EXPECT_EQ(message_of([&] { small.weights.write("conv", at::ones({1})); }), "conv: the model has no such parameter");
  EXPECT_EQ(message_of([&] { small.weights.write("norm.bias", at::ones({8})); }),
            "norm.bias: expected shape [7], got [8]");
  EXPECT_EQ(message_of([&] { small.weights.write("norm.bias", at::ones({7}, at::kInt)); }),
            "norm.bias: expected a float dtype, got Int");
  EXPECT_EQ(message_of([&] { small.weights.read_gradient("norm.bias"); }),
            "norm.bias: the parameter is frozen and has no gradient");
  EXPECT_EQ(message_of([] { const Weights weights({.precision = at::kHalf}); }),
            "precision: expected f32 or bf16, got Half");
}

TEST(Weights, ANameDeclaredTwiceIsABug) {
  Weights weights({});
  weights.norm("norm", 3);
  EXPECT_THROW(weights.linear("norm", 3, 3), std::logic_error);
}

TEST(Weights, GradientsAreReadInTheCheckpointsLayoutAndZeroed) {
  Small small({.trainable = true});
  at::Tensor(small.conv.weight.grad).copy_(counting({5, 3, 2, 2}));
  EXPECT_TRUE(at::equal(small.weights.read_gradient("conv.weight"), counting({5, 3, 2, 2})));
  EXPECT_TRUE(small.weights.read_gradient("conv.weight").is_contiguous());
  small.weights.zero_gradients();
  EXPECT_EQ(small.weights.base().gradient().abs().max().item<float>(), 0.0f);
}

TEST(Lora, HasBuffersOfItsOwnAndTrainsAlone) {
  Small small({});
  small.write_all();
  EXPECT_EQ(small.weights.trained(), nullptr);
  small.weights.add_lora({.rank = 2, .alpha = 1.0, .modules = {"conv", "block.linear"}});
  ASSERT_EQ(small.weights.size(), 10u);
  EXPECT_EQ(small.weights.trained(), small.weights.adapters());
  EXPECT_EQ(small.weights.entry(6).name, "conv.lora_A.weight");
  EXPECT_EQ(small.weights.entry(6).shape, (std::vector<int64_t>{2, 3, 2, 2}));
  EXPECT_EQ(small.weights.find("conv.lora_B.weight")->shape, (std::vector<int64_t>{5, 2, 1, 1}));
  EXPECT_EQ(small.weights.find("block.linear.lora_A.weight")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(small.weights.find("block.linear.lora_B.weight")->shape, (std::vector<int64_t>{4, 2}));
  EXPECT_FALSE(small.conv.weight.trainable());
  EXPECT_TRUE(small.conv.lora->trainable());
  EXPECT_DOUBLE_EQ(small.conv.lora->scale, 0.5);
  small.weights.set_lora_scale(3.0);
  EXPECT_DOUBLE_EQ(small.linear.lora->scale, 1.5);
  EXPECT_EQ(message_of([&] { small.weights.require_written(); }),
            "model: 2 of 10 parameters were never written: conv.lora_A.weight, block.linear.lora_A.weight");
  EXPECT_NO_THROW(small.weights.require_written(/*adapters=*/false));
}

TEST(Lora, MergesIntoTheWeights) {
  for (const auto precision : {at::kFloat, at::kBFloat16}) {
    Small small({.precision = precision});
    small.write_all();
    small.weights.add_lora({.rank = 1, .alpha = 2.0, .modules = {"block.linear"}});
    small.weights.write("block.linear.lora_A.weight", at::ones({1, 3}));
    small.weights.write("block.linear.lora_B.weight", counting({4, 1}));
    small.weights.merge_lora(0.5);
    EXPECT_EQ(small.weights.size(), 6u);
    EXPECT_EQ(small.weights.adapters(), nullptr);
    EXPECT_FALSE(small.linear.lora.has_value());
    // Adds 0.5 * 2 / 1 * B A: row r of the weight increases by r + 1.
    const at::Tensor wanted = counting({4, 3}).add(counting({4, 1}));
    EXPECT_TRUE(at::equal(small.weights.read("block.linear.weight").to(at::kFloat), wanted));
    EXPECT_EQ(small.weights.find("block.linear.lora_A.weight"), nullptr);
    // New adapters can be added afterwards.
    EXPECT_NO_THROW(small.weights.add_lora({.rank = 2, .alpha = 2.0, .modules = {"conv"}}));
    EXPECT_NE(small.weights.find("conv.lora_B.weight"), nullptr);
  }
}

TEST(Lora, WhatCannotBeAdaptedIsNamed) {
  Small small({});
  const auto refused = [&](Weights::LoraOptions options) {
    return message_of([&] { small.weights.add_lora(options); });
  };
  EXPECT_EQ(refused({.modules = {"nothing"}}), "spec.modules: the model has no layer nothing");
  EXPECT_EQ(refused({.modules = {"norm"}}), "spec.modules: norm is neither linear nor a convolution");
  EXPECT_EQ(refused({.modules = {"conv", "conv"}}), "spec.modules: conv is named twice");
  EXPECT_EQ(refused({.rank = 0, .modules = {"conv"}}), "spec.rank: expected at least 1, got 0");
  EXPECT_EQ(refused({}), "spec.modules: expected at least one");
  EXPECT_EQ(message_of([&] { small.weights.merge_lora(1.0); }), "lora: the model has no adapters");
  EXPECT_EQ(small.weights.size(), 6u);
  small.weights.add_lora({.modules = {"conv"}});
  EXPECT_EQ(refused({.modules = {"conv"}}), "lora: the model has adapters already; merge them first");
  Small trainable({.trainable = true});
  EXPECT_EQ(message_of([&] { trainable.weights.add_lora({.modules = {"conv"}}); }),
            "lora: expected a frozen model, got one whose own parameters train");
}

}  // namespace
}  // namespace smpo::models
