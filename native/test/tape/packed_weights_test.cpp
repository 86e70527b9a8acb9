// Layers with packed weights give the same bits as the same layers without.
#include "tape/packed_weights.h"

#include <ATen/ops/equal.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <limits>

#include "tape/convolution.h"
#include "tape/onednn.h"
#include "tape/op_case.h"

namespace smpo::tape::test {
namespace {

class PackedWeightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!prefers_onednn(layer({640, 640}).weight.value)) GTEST_SKIP() << "the CPU has no AVX-512: no weight is packed";
  }

  Layer layer(const Shape& weight) {
    Samples samples(41);
    Layer made;
    made.weight = {.name = "weight", .value = samples.normal(weight, 0.02).to(at::kFloat)};
    made.bias = {.name = "bias", .value = samples.normal({weight[0]}).to(at::kFloat)};
    return made;
  }

  at::Tensor input(const Shape& shape) { return Samples(42).normal(shape).to(at::kFloat); }

  const c10::InferenceMode mode_;
};

TEST_F(PackedWeightsTest, ConvolutionsHaveTheBitsOfPlainWeights) {
  struct Case {
    Shape x, weight;
    Conv2dOptions options;
  };
  for (const Case& c :
       {Case{{1, 320, 16, 16}, {320, 320, 3, 3}, {.padding = 1}},
        Case{{2, 640, 8, 8}, {640, 640, 3, 3}, {.padding = 1}}, Case{{1, 640, 5, 7}, {320, 640, 3, 3}, {.padding = 1}},
        Case{{1, 1280, 4, 4}, {640, 1280, 3, 3}, {.padding = 1}},
        Case{{3, 160, 12, 10}, {256, 160, 3, 3}, {.stride = 2, .padding = 1}},
        Case{{1, 160, 13, 12}, {160, 160, 3, 3}, {.stride = 2, .padding = {0, 1}}},
        Case{{1, 3, 28, 28}, {320, 3, 14, 14}, {.stride = 14}}, Case{{2, 640, 12, 12}, {320, 640, 1, 1}, {}}}) {
    Layer plain = layer(c.weight), packed = plain;
    SCOPED_TRACE(::testing::PrintToString(c.x) + " by " + ::testing::PrintToString(c.weight));
    PackedWeights copies({});
    packed.weight.packed = &copies;
    const at::Tensor x = input(c.x);
    Tape tape = Tape::inference();
    const at::Tensor expected = conv2d(tape, x, plain, c.options).value;
    EXPECT_TRUE(at::equal(conv2d(tape, x, packed, c.options).value, expected));
    EXPECT_TRUE(at::equal(conv2d(tape, x, packed, c.options).value, expected)) << "from the copy that is there";
    EXPECT_EQ(copies.bytes(), int64_t(plain.weight.value.nbytes()));
  }
}

TEST_F(PackedWeightsTest, ACopyServesEveryImageSizeAndBatch) {
  Layer plain = layer({320, 320, 3, 3}), packed = plain;
  PackedWeights copies({});
  packed.weight.packed = &copies;
  Tape tape = Tape::inference();
  for (const Shape& shape :
       {Shape{1, 320, 8, 8}, Shape{4, 320, 8, 8}, Shape{1, 320, 33, 31}, Shape{2, 320, 2, 1}, Shape{1, 320, 1, 1}}) {
    const at::Tensor x = input(shape);
    EXPECT_TRUE(at::equal(conv2d(tape, x, packed, {.padding = 1}).value, conv2d(tape, x, plain, {.padding = 1}).value));
  }
  EXPECT_EQ(copies.bytes(), int64_t(plain.weight.value.nbytes()));
}

TEST_F(PackedWeightsTest, LinearLayersHaveTheBitsOfPlainWeights) {
  // Layers of SD 1.5, SD 1.5 at half width, SDXL and CLIP ViT-H, and one with odd sizes.
  for (const Shape& weight :
       {Shape{1280, 160}, Shape{2560, 320}, Shape{320, 1280}, Shape{640, 640}, Shape{1280, 768}, Shape{640, 2048},
        Shape{1280, 5120}, Shape{1024, 1024}, Shape{1280, 1280}, Shape{401, 1001}}) {
    Layer plain = layer(weight), packed = plain;
    PackedWeights copies({});
    packed.weight.packed = &copies;
    Tape tape = Tape::inference();
    for (const int64_t rows : {256, 77, 64, 72, 16, 1, 1024}) {
      SCOPED_TRACE(::testing::PrintToString(weight) + ", " + std::to_string(rows) + " rows");
      const at::Tensor x = input({2, rows, weight[1]}), residual = input({2, rows, weight[0]});
      EXPECT_TRUE(at::equal(linear(tape, x, packed).value, linear(tape, x, plain).value));
      EXPECT_TRUE(at::equal(linear(tape, x, packed, {.residual = residual}).value,
                            linear(tape, x, plain, {.residual = residual}).value));
    }
    EXPECT_EQ(copies.bytes(), int64_t(plain.weight.value.nbytes()));
  }
}

TEST_F(PackedWeightsTest, SmallWeightsAndOtherDTypesAreNotPacked) {
  Layer small = layer({64, 64, 3, 3});
  Layer wide = layer({640, 640});
  PackedWeights copies({});
  small.weight.packed = wide.weight.packed = &copies;
  wide.weight.value = wide.weight.value.to(at::kDouble);
  wide.bias.value = wide.bias.value.to(at::kDouble);
  Tape tape = Tape::inference();
  conv2d(tape, input({1, 64, 8, 8}), small, {.padding = 1});
  linear(tape, input({128, 640}).to(at::kDouble), wide);
  EXPECT_EQ(copies.bytes(), 0);
}

TEST_F(PackedWeightsTest, AClearedCopyIsMadeAgainFromTheNewWeight) {
  Layer packed = layer({640, 320});
  PackedWeights copies({});
  packed.weight.packed = &copies;
  Tape tape = Tape::inference();
  const at::Tensor x = input({128, 320});
  const at::Tensor before = linear(tape, x, packed).value;
  packed.weight.value.mul_(2);
  packed.bias.value.mul_(2);
  copies.clear();
  EXPECT_EQ(copies.bytes(), 0);
  EXPECT_TRUE(at::equal(linear(tape, x, packed).value, before.mul(2)));
}

TEST_F(PackedWeightsTest, WeightsBeyondTheBudgetStayPlain) {
  Layer first = layer({640, 320}), second = layer({640, 320, 3, 3}), plain = second;
  int asked = 0;
  std::vector<int64_t> refused;
  PackedWeights copies({.budget =
                            [&asked] {
                              ++asked;
                              return int64_t{640 * 320 * 4};
                            },
                        .refused = [&refused](int64_t bytes) { refused.push_back(bytes); }});
  first.weight.packed = second.weight.packed = &copies;
  Tape tape = Tape::inference();
  const at::Tensor image = input({1, 320, 8, 8});
  linear(tape, input({128, 320}), first);
  for (int again = 0; again < 2; ++again) {
    EXPECT_TRUE(
        at::equal(conv2d(tape, image, second, {.padding = 1}).value, conv2d(tape, image, plain, {.padding = 1}).value));
  }
  EXPECT_EQ(copies.bytes(), 640 * 320 * 4);
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(refused, std::vector<int64_t>{640 * 320 * 9 * 4}) << "reported once";
}

}  // namespace
}  // namespace smpo::tape::test
