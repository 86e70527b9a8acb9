// The tape itself: fan-out, freezing, checkpoints, accumulation, memory, misuse.
#include <ATen/Functions.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "tape/compare.h"
#include "tape/op_case.h"

namespace smpo::tape::test {
namespace {

/// A small network with all parts of a UNet block: norm, convolution, time embedding, residual, attention, skip.
struct Net {
  Layer norm1, conv1, time, norm2, conv2, norm3, q, k, v, out, ff_in, ff_out, merge;

  static constexpr int64_t kChannels = 8, kHeads = 2;

  std::vector<Layer*> layers() {
    return {&norm1, &conv1, &time, &norm2, &conv2, &norm3, &q, &k, &v, &out, &ff_in, &ff_out, &merge};
  }

  std::vector<Parameter*> parameters() {
    std::vector<Parameter*> all;
    for (Layer* layer : layers()) {
      all.insert(all.end(), {&layer->weight, &layer->bias});
      if (layer->lora) {
        all.insert(all.end(), {&layer->lora->down, &layer->lora->up});
      }
    }
    std::erase_if(all, [](const Parameter* parameter) { return !parameter->defined(); });
    return all;
  }

  static Net make(at::ScalarType dtype, bool lora = false, bool train_base = true) {
    constexpr int64_t c = kChannels;
    Samples samples(5);
    const auto parameter = [&](const Shape& shape, double scale, double mean, bool trainable) {
      Parameter p;
      p.value = samples.normal(shape, scale).add_(mean).to(dtype);
      if (trainable) {
        p.grad = at::zeros_like(p.value, dtype == at::kDouble ? at::kDouble : at::kFloat);
      }
      return p;
    };
    Net net;
    for (Layer* norm : {&net.norm1, &net.norm2, &net.norm3}) {
      *norm = {.weight = parameter({c}, 0.2, 1.0, train_base), .bias = parameter({c}, 0.2, 0.0, train_base)};
    }
    const auto dense = [&](Layer& layer, const Shape& weight) {
      layer = {.weight = parameter(weight, 0.2, 0.0, train_base), .bias = parameter({weight[0]}, 0.2, 0.0, train_base)};
      if (lora) {
        Shape down = weight, up{weight[0], 3};
        down[0] = 3;
        if (weight.size() == 4) {
          up.insert(up.end(), {1, 1});
        }
        layer.lora = Lora{.down = parameter(down, 0.2, 0.0, true), .up = parameter(up, 0.2, 0.0, true), .scale = 0.5};
      }
    };
    dense(net.conv1, {c, c, 3, 3});
    dense(net.time, {c, 6});
    dense(net.conv2, {c, c, 3, 3});
    for (Layer* linear : {&net.q, &net.k, &net.v, &net.out}) {
      dense(*linear, {c, c});
    }
    net.k.bias = {};  // Softmax is invariant to it, so its gradient would be pure rounding.
    dense(net.ff_in, {4 * c, c});
    dense(net.ff_out, {c, 2 * c});
    dense(net.merge, {c, 2 * c, 1, 1});
    return net;
  }

  Var residual_block(Tape& tape, const Var& x, const Var& time_BC) const {
    Var h = group_norm_silu(tape, x, norm1, 4, 1e-5);
    h = conv2d(tape, h, conv1, {.padding = 1, .sample_bias = linear(tape, time_BC, time)});
    h = group_norm_silu(tape, h, norm2, 4, 1e-5);
    return conv2d(tape, h, conv2, {.padding = 1, .residual = x});
  }

  Var transformer_block(Tape& tape, const Var& x) const {
    Var h = tokens(tape, x);
    const Var n = layer_norm(tape, h, norm3, 1e-5);
    const Var a = attention(tape, linear(tape, n, q), linear(tape, n, k), linear(tape, n, v), {.heads = kHeads});
    h = linear(tape, a, out, {.residual = h});
    h = linear(tape, geglu(tape, linear(tape, h, ff_in)), ff_out, {.residual = h});
    return image(tape, h, x.size(2), x.size(3));
  }

  /// With `checkpointed`, each block is a segment.
  Var forward(Tape& tape, const Var& x, const Var& time_BC, bool checkpointed) const {
    const auto first = [this](Tape& t, std::span<const Var> in) {
      return std::vector<Var>{residual_block(t, in[0], in[1])};
    };
    const auto second = [this](Tape& t, std::span<const Var> in) {
      return std::vector<Var>{transformer_block(t, in[0])};
    };
    Var h = checkpointed ? tape.checkpoint({x, time_BC}, first)[0] : residual_block(tape, x, time_BC);
    h = checkpointed ? tape.checkpoint({h}, second)[0] : transformer_block(tape, h);
    // x is used again: its gradient has partial sums from outside and inside the segments.
    return conv2d(tape, concat(tape, {h, x}), merge);
  }
};

struct Pass {
  at::Tensor output;
  std::vector<at::Tensor> gradients;
};

Pass run_net(Net& net, const at::Tensor& x, const at::Tensor& time_BC, const at::Tensor& d_y, bool checkpointed) {
  Tape tape;
  const Var in = tape.input(x), time = tape.input(time_BC);
  const Var y = net.forward(tape, in, time, checkpointed);
  tape.backward({{y, d_y}});
  Pass result{y.value, {tape.gradient(in), tape.gradient(time)}};
  for (const Parameter* parameter : net.parameters()) {
    if (parameter->trainable()) {
      result.gradients.push_back(parameter->grad.clone());
    }
  }
  return result;
}

struct Batch {
  at::Tensor x, time, d_y;

  static Batch make(int64_t batch, at::ScalarType dtype) {
    Samples samples(6);
    return {samples.normal({batch, Net::kChannels, 5, 7}).to(dtype), samples.normal({batch, 6}).to(dtype),
            samples.normal({batch, Net::kChannels, 5, 7}).to(dtype)};
  }
};

TEST(Tape, RecomputedOutputsAreNotKept) {
  const c10::InferenceMode mode;
  const Net net = Net::make(at::kFloat);
  Samples samples(7);
  const auto gradient = [&](const Layer& layer) {
    at::Tensor grad = layer.weight.grad;
    at::Tensor copy = grad.clone();
    grad.zero_();
    return copy;
  };
  const at::Tensor x = samples.normal({2, 6, Net::kChannels}).to(at::kFloat), d_y = at::ones_like(x);
  // Two layers on one norm, then one on a geglu.
  const auto run = [&](bool watch) {
    Tape tape;
    Var n = layer_norm(tape, tape.input(x), net.norm3, 1e-5);
    const Var y = linear(tape, n, net.q, {.residual = linear(tape, n, net.v)});
    Var g = geglu(tape, linear(tape, y, net.ff_in));
    const Var z = linear(tape, g, net.ff_out);
    const auto norm_memory = n.value.storage().getWeakStorageImpl(),
               gated_memory = g.value.storage().getWeakStorageImpl();
    if (watch) n = g = Var();
    EXPECT_EQ(norm_memory.expired(), watch);
    EXPECT_EQ(gated_memory.expired(), watch);
    tape.backward({{z, d_y}});
    return std::vector<at::Tensor>{gradient(net.q), gradient(net.v), gradient(net.ff_out), gradient(net.norm3)};
  };
  const std::vector<at::Tensor> wanted = run(false), got = run(true);
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(at::equal(got[i], wanted[i])) << i;
    EXPECT_GT(got[i].abs().max().item<float>(), 0.0f) << i;
  }
}

TEST(Tape, CheckpointedSegmentsGiveTheSameBits) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Batch batch = Batch::make(2, dtype);
    Net kept = Net::make(dtype), recomputed = Net::make(dtype);
    const Pass a = run_net(kept, batch.x, batch.time, batch.d_y, false);
    const Pass b = run_net(recomputed, batch.x, batch.time, batch.d_y, true);
    EXPECT_TRUE(a.output.equal(b.output));
    ASSERT_EQ(a.gradients.size(), b.gradients.size());
    for (size_t i = 0; i < a.gradients.size(); ++i) {
      EXPECT_TRUE(a.gradients[i].equal(b.gradients[i])) << "gradient " << i;
      EXPECT_GT(a.gradients[i].norm().item<double>(), 0) << "gradient " << i;
    }
  }
}

TEST(Tape, NestedCheckpointsGiveTheSameBits) {
  const Batch batch = Batch::make(1, at::kFloat);
  Net plain = Net::make(at::kFloat), nested = Net::make(at::kFloat);
  const Pass a = run_net(plain, batch.x, batch.time, batch.d_y, false);
  Tape tape;
  const Var x = tape.input(batch.x), time = tape.input(batch.time);
  const Var y = tape.checkpoint({x, time}, [&](Tape& t, std::span<const Var> in) {
    return std::vector<Var>{nested.forward(t, in[0], in[1], /*checkpointed=*/true)};
  })[0];
  tape.backward({{y, batch.d_y}});
  EXPECT_TRUE(tape.gradient(x).equal(a.gradients[0]));
  size_t i = 2;
  for (const Parameter* parameter : nested.parameters()) {
    EXPECT_TRUE(parameter->grad.equal(a.gradients[i++]));
  }
}

TEST(Tape, RunsRepeatBitForBit) {
  const Batch batch = Batch::make(3, at::kFloat);
  Net first = Net::make(at::kFloat), second = Net::make(at::kFloat);
  const Pass a = run_net(first, batch.x, batch.time, batch.d_y, false);
  const Pass b = run_net(second, batch.x, batch.time, batch.d_y, false);
  for (size_t i = 0; i < a.gradients.size(); ++i) {
    EXPECT_TRUE(a.gradients[i].equal(b.gradients[i])) << "gradient " << i;
  }
}

TEST(Tape, TwoMicroBatchesAddUpToOne) {
  const Batch batch = Batch::make(4, at::kDouble);
  Net whole = Net::make(at::kDouble), parts = Net::make(at::kDouble);
  run_net(whole, batch.x, batch.time, batch.d_y, false);
  for (int64_t start : {0, 1}) {
    const int64_t length = start == 0 ? 1 : 3;
    run_net(parts, batch.x.narrow(0, start, length), batch.time.narrow(0, start, length),
            batch.d_y.narrow(0, start, length), false);
  }
  const auto a = whole.parameters(), b = parts.parameters();
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(matches(b[i]->grad, a[i]->grad, 1e-12)) << "parameter " << i;
  }
}

TEST(Tape, GradientsThatMeetAreAdded) {
  Tape tape;
  const Var x = tape.input(at::full({3}, 2.0, at::kDouble));
  const Var square = multiply(tape, x, x);
  const Var y = add(tape, add(tape, square, x), add(tape, x, x));
  const at::Tensor seed = at::ones({3}, at::kDouble);
  tape.backward({{y, seed}});
  EXPECT_TRUE(tape.gradient(x).equal(at::full({3}, 2 * 2.0 + 3.0, at::kDouble)));
  EXPECT_TRUE(seed.equal(at::ones({3}, at::kDouble))) << "a gradient that others hold must not be written to";
}

TEST(Tape, UnusedOutputsAndInputsGetNothing) {
  Tape tape;
  const Var x = tape.input(at::ones({2, 3})), unused = tape.input(at::ones({4}));
  const Var dead_end = silu(tape, unused);
  tape.backward({{scale(tape, x, 3.0), at::ones({2, 3})}});
  EXPECT_TRUE(tape.gradient(unused).equal(at::zeros({4})));
  EXPECT_TRUE(tape.gradient(x).equal(at::full({2, 3}, 3.0)));
  EXPECT_GE(dead_end.node, 0);
}

TEST(Tape, FrozenLayersPassGradientsOnAndKeepNone) {
  const Batch batch = Batch::make(2, at::kFloat);
  Net trained = Net::make(at::kFloat), frozen = Net::make(at::kFloat, /*lora=*/false, /*train_base=*/false);
  const Pass a = run_net(trained, batch.x, batch.time, batch.d_y, false);
  const Pass b = run_net(frozen, batch.x, batch.time, batch.d_y, false);
  ASSERT_EQ(b.gradients.size(), 2u);
  EXPECT_TRUE(a.gradients[0].equal(b.gradients[0]));
  EXPECT_TRUE(a.gradients[1].equal(b.gradients[1]));
}

TEST(Tape, AFrozenModelWithConstantInputsRecordsNothing) {
  const Batch batch = Batch::make(1, at::kFloat);
  Net frozen = Net::make(at::kFloat, /*lora=*/false, /*train_base=*/false);
  Tape tape;
  EXPECT_LT(frozen.forward(tape, Var(batch.x), Var(batch.time), false).node, 0);
}

TEST(Tape, AdaptersTrainAloneAndCanBeOff) {
  const Batch batch = Batch::make(2, at::kDouble);
  Net lora = Net::make(at::kDouble, /*lora=*/true, /*train_base=*/false);
  Net base = lora;
  for (Layer* layer : base.layers()) {
    layer->lora.reset();
  }
  Tape off = Tape::inference(/*adapters=*/false), on = Tape::inference(), plain = Tape::inference();
  const at::Tensor reference = lora.forward(off, batch.x, batch.time, false).value;
  EXPECT_TRUE(reference.equal(base.forward(plain, batch.x, batch.time, false).value));
  EXPECT_FALSE(reference.equal(lora.forward(on, batch.x, batch.time, false).value));

  // The adapted model equals one with merged weights, and so do its gradients by the chain rule through the merge.
  Net merged = Net::make(at::kDouble, /*lora=*/true, /*train_base=*/true);
  std::vector<std::pair<Layer*, Lora>> adapters;
  for (Layer* layer : merged.layers()) {
    if (layer->lora) {
      const at::Tensor up = layer->lora->up.value.flatten(1), down = layer->lora->down.value;
      layer->weight.value = layer->weight.value.add(
          at::mm(up, down.flatten(1))
              .view(down.sizes().size() == 4 ? layer->weight.value.sizes() : layer->weight.value.sizes()),
          layer->lora->scale);
      adapters.emplace_back(layer, *layer->lora);
      layer->lora.reset();
    }
  }
  const Pass a = run_net(lora, batch.x, batch.time, batch.d_y, false);
  const Pass b = run_net(merged, batch.x, batch.time, batch.d_y, false);
  EXPECT_TRUE(matches(a.output, b.output, 1e-12));
  EXPECT_TRUE(matches(a.gradients[0], b.gradients[0], 1e-12));
  size_t i = 0;
  for (Layer* layer : lora.layers()) {
    EXPECT_FALSE(layer->weight.trainable());
    if (!layer->lora) {
      continue;
    }
    const auto& [whole, adapter] = adapters[i++];
    const at::Tensor d_weight = whole->weight.grad.flatten(1);
    const at::Tensor up = adapter.up.value.flatten(1), down = adapter.down.value.flatten(1);
    EXPECT_TRUE(matches(layer->lora->up.grad.flatten(1), at::mm(d_weight, down.t()) * adapter.scale, 1e-11));
    EXPECT_TRUE(matches(layer->lora->down.grad.flatten(1), at::mm(up.t(), d_weight) * adapter.scale, 1e-11));
  }
  EXPECT_EQ(i, adapters.size());
}

TEST(Tape, BackwardFreesActivationsAsItGoes) {
  std::vector<c10::weak_intrusive_ptr<c10::TensorImpl>> saved;
  std::vector<size_t> alive;
  Tape tape;
  Var x = tape.input(at::ones({16}));
  const auto count = [&] {
    size_t n = 0;
    for (const auto& weak : saved) {
      n += weak.expired() ? 0 : 1;
    }
    alive.push_back(n);
  };
  for (int i = 0; i < 4; ++i) {
    x = silu(tape, x);
    saved.emplace_back(x.value.getIntrusivePtr());
    const int32_t node = x.node;
    x = tape.record(x.value.clone(), [&count, node](Tape& t, const at::Tensor& d_y) {
      count();
      t.accumulate(node, d_y);
    });
  }
  const Var y = std::exchange(x, Var());
  for (const auto& weak : saved) {
    EXPECT_TRUE(weak.expired()) << "silu keeps its input, not its output";
  }
  saved.clear();
  alive.clear();
  {
    Tape second;
    Var h = second.input(at::ones({16}));
    for (int i = 0; i < 4; ++i) {
      h = scale(second, h, 1.5);
      saved.emplace_back(h.value.getIntrusivePtr());
      h = silu(second, h);  // keeps the output of scale
      const int32_t node = h.node;
      h = second.record(h.value.clone(), [&count, node](Tape& t, const at::Tensor& d_y) {
        count();
        t.accumulate(node, d_y);
      });
    }
    const Var last = std::exchange(h, Var());
    second.backward({{last, at::ones({16})}});
    count();
  }
  EXPECT_EQ(alive, (std::vector<size_t>{4, 3, 2, 1, 0}));
}

TEST(Tape, InferenceKeepsNothing) {
  const Batch batch = Batch::make(1, at::kFloat);
  Tape tape = Tape::inference();
  Net net = Net::make(at::kFloat);
  const Var x = tape.input(batch.x);
  EXPECT_LT(x.node, 0);
  Var h = net.residual_block(tape, x, Var(batch.time));
  c10::weak_intrusive_ptr<c10::TensorImpl> weak(h.value.getIntrusivePtr());
  h = net.transformer_block(tape, h);
  EXPECT_TRUE(weak.expired());
}

TEST(Tape, WorksUnderInferenceMode) {
  const c10::InferenceMode guard;
  const Batch batch = Batch::make(2, at::kFloat);
  Net net = Net::make(at::kFloat);
  const Pass result = run_net(net, batch.x, batch.time, batch.d_y, true);
  EXPECT_GT(result.gradients[0].norm().item<double>(), 0);
}

TEST(Tape, MisuseIsRefused) {
  Tape tape;
  const Var x = tape.input(at::ones({2}));
  const Var y = silu(tape, x);
  EXPECT_THROW(tape.backward({{y, at::ones({3})}}), std::invalid_argument);
  EXPECT_THROW(tape.gradient(Var(at::ones({2}))), std::invalid_argument);
  EXPECT_THROW(tape.input(at::ones({2}).requires_grad_()), std::logic_error);
  Tape inference = Tape::inference();
  EXPECT_THROW(silu(inference, y), std::logic_error);
  EXPECT_THROW(inference.backward({{y, at::ones({2})}}), std::logic_error);
  const Var captured = silu(tape, x);
  EXPECT_THROW(
      tape.checkpoint({x}, [&](Tape& t, std::span<const Var> in) { return std::vector<Var>{add(t, in[0], captured)}; }),
      std::logic_error);
  tape.backward({{y, at::ones({2})}});
  EXPECT_THROW(tape.backward({{y, at::ones({2})}}), std::logic_error);
  EXPECT_THROW(silu(tape, y), std::logic_error);
}

TEST(Ops, WrongShapesAreNamed) {
  Tape tape = Tape::inference();
  Layer layer{.weight = {.name = "conv_in.weight", .value = at::ones({4, 3, 3, 3})}};
  try {
    conv2d(tape, at::ones({1, 5, 4, 4}), layer);
    FAIL() << "accepted";
  } catch (const std::invalid_argument& error) {
    EXPECT_NE(std::string(error.what()).find("conv_in.weight: input [1, 5, 4, 4], weight [4, 3, 3, 3]"),
              std::string::npos)
        << error.what();
  }
  EXPECT_THROW(group_norm(tape, at::ones({1, 4, 2, 2}), {.weight = {.value = at::ones({4})}}, 3, 1e-5),
               std::invalid_argument);
  EXPECT_THROW(attention(tape, at::ones({1, 4, 6}), at::ones({1, 5, 6}), at::ones({1, 5, 6}), {.heads = 4}),
               std::invalid_argument);
  EXPECT_THROW(geglu(tape, at::ones({2, 3})), std::invalid_argument);
  EXPECT_THROW(image(tape, at::ones({1, 6, 3}), 2, 2), std::invalid_argument);
}

}  // namespace
}  // namespace smpo::tape::test
