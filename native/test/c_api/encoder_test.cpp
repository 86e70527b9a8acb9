// The VAE, CLIP's towers and BERT through the C API: kinds, shapes, tiles, optional arguments. The tests of the models
// check the numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_encoders.h"

namespace smpo::test {
namespace {

class EncoderTest : public BorderTest {
 protected:
  std::vector<int64_t> shape_of(smpo_tensor tensor) {
    auto spec = sized<smpo_tensor_spec>();
    EXPECT_OK(smpo_tensor_describe(session, tensor, &spec, &error));
    EXPECT_EQ(spec.dtype, SMPO_F32);
    return {spec.shape, spec.shape + spec.rank};
  }
  double distance(smpo_tensor a, smpo_tensor b) {
    const std::vector<float> x = to_host<float>(a), y = to_host<float>(b);
    EXPECT_EQ(x.size(), y.size());
    double squares = 0, norm = 0;
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      squares += std::pow(static_cast<double>(x[i]) - y[i], 2);
      norm += std::pow(static_cast<double>(y[i]), 2);
    }
    EXPECT_GT(norm, 0);
    return std::sqrt(squares / norm);
  }
};

using Shape = std::vector<int64_t>;

TEST_F(EncoderTest, ModelsSayWhatTheyAre) {
  const EncoderWorld world(session);
  const auto kind = [&](smpo_model model) {
    auto info = sized<smpo_model_info>();
    EXPECT_OK(smpo_model_describe(session, model, &info, &error));
    return info.kind;
  };
  EXPECT_EQ(kind(open_unet(session, f32_options())), SMPO_MODEL_UNET);
  EXPECT_EQ(kind(world.vae), SMPO_MODEL_VAE);
  EXPECT_EQ(kind(world.text), SMPO_MODEL_CLIP_TEXT);
  EXPECT_EQ(kind(world.vision), SMPO_MODEL_CLIP_VISION);
  EXPECT_EQ(kind(world.bert), SMPO_MODEL_BERT);
}

TEST_F(EncoderTest, VaeWholeAndInTiles) {
  const EncoderWorld world(session);
  smpo_tensor mean = 0, logvar = 0, tiled_mean = 0, tiled_logvar = 0, decoded = 0, tiled = 0, one_tile = 0;
  EXPECT_OK(smpo_vae_encode(session, world.vae, world.pixels, 0, &mean, &logvar, &error));
  EXPECT_OK(smpo_vae_encode(session, world.vae, world.pixels, 8, &tiled_mean, &tiled_logvar, &error));
  EXPECT_OK(smpo_vae_decode(session, world.vae, world.latents, 0, &decoded, &error));
  EXPECT_OK(smpo_vae_decode(session, world.vae, world.latents, 8, &tiled, &error));
  EXPECT_OK(smpo_vae_decode(session, world.vae, world.latents, 16, &one_tile, &error));
  for (const smpo_tensor latents : {mean, logvar, tiled_mean, tiled_logvar}) {
    EXPECT_EQ(shape_of(latents), (Shape{1, 2, 6, 5}));
  }
  for (const smpo_tensor pixels : {decoded, tiled, one_tile}) EXPECT_EQ(shape_of(pixels), (Shape{1, 3, 12, 10}));
  EXPECT_EQ(to_host<float>(one_tile), to_host<float>(decoded));
  EXPECT_NE(to_host<float>(tiled), to_host<float>(decoded));
  EXPECT_NE(to_host<float>(tiled_mean), to_host<float>(mean));
  EXPECT_NE(to_host<float>(logvar), to_host<float>(mean));
}

TEST_F(EncoderTest, TextHasItsHiddenStateAndItsPooledToken) {
  const EncoderWorld world(session);
  smpo_tensor hidden = 0, pooled = 0, alone = 0, last = 0, last_pooled = 0;
  EXPECT_OK(smpo_clip_text_encode(session, world.text, world.ids, 1, 0, &hidden, &pooled, &error));
  EXPECT_OK(smpo_clip_text_encode(session, world.text, world.ids, 1, 0, &alone, nullptr, &error));
  EXPECT_OK(smpo_clip_text_encode(session, world.text, world.ids, 0, 1, &last, &last_pooled, &error));
  EXPECT_EQ(shape_of(hidden), (Shape{2, 5, 4}));
  EXPECT_EQ(shape_of(pooled), (Shape{2, 3}));
  EXPECT_EQ(to_host<float>(alone), to_host<float>(hidden));
  EXPECT_EQ(to_host<float>(last_pooled), to_host<float>(pooled));
  EXPECT_NE(to_host<float>(last), to_host<float>(hidden));
  // A row without end token has a hidden state but no pooled output.
  const smpo_tensor endless = id_tensor(session, {1, 3}, {1, 2, 3});
  EXPECT_OK(smpo_clip_text_encode(session, world.text, endless, 0, 1, &last, nullptr, &error));
  EXPECT_EQ(smpo_clip_text_encode(session, world.text, endless, 0, 1, &last, &pooled, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_STREQ(error.message, "smpo_clip_text_encode: ids[0]: expected the end token 19, got a row without");
}

TEST_F(EncoderTest, BlipSeesAllTokensAndBertReadsThem) {
  const EncoderWorld world(session);
  smpo_model blip = 0;
  const auto spec = tiny_blip_spec();
  const auto options = f32_options();
  EXPECT_OK(smpo_clip_vision_open(session, &spec, &options, &blip, &error));
  write_missing(session, blip);
  smpo_tensor tokens = 0, first = 0, other = 0;
  EXPECT_OK(smpo_clip_vision_encode(session, blip, world.pixel_values, &tokens, &error));
  EXPECT_EQ(shape_of(tokens), (Shape{2, 5, 4}));
  EXPECT_OK(smpo_bert_encode(session, world.bert, world.ids, tokens, &first, &error));
  EXPECT_EQ(shape_of(first), (Shape{2, 6}));
  EXPECT_OK(smpo_bert_encode(session, world.bert, world.ids, world.states, &other, &error));
  EXPECT_NE(to_host<float>(first), to_host<float>(other));
  const smpo_tensor one = some_tensor(session, {1, 7, 4}, 6);
  EXPECT_EQ(smpo_bert_encode(session, world.bert, world.ids, one, &other, &error), SMPO_SHAPE_MISMATCH);
  EXPECT_STREQ(error.message, "smpo_bert_encode: encoder_states: expected [2,T,4] of Float, got [1, 7, 4] of Float");
}

// The gradient of a sum of products is the product of the gradients: finite differences in f32, which err by rounding.
TEST_F(EncoderTest, GradientsOfInputsAreSlopes) {
  const EncoderWorld world(session);
  const auto spec = tiny_pixel_spec();
  const auto slope = [&](std::initializer_list<int64_t> shape, smpo_tensor input, smpo_tensor cotangent,
                         const std::function<smpo_status(smpo_tensor, smpo_tensor*)>& forward, smpo_tensor gradient) {
    const std::vector<float> x = to_host<float>(input), seed = to_host<float>(cotangent), d = to_host<float>(gradient);
    EXPECT_EQ(shape_of(gradient), Shape(shape));
    const auto loss = [&](double step) {
      std::vector<float> moved(x);
      for (size_t i = 0; i < x.size(); ++i) moved[i] += static_cast<float>(step * (i % 3 == 0 ? 1 : -0.5));
      const auto tensor_spec = spec_of(SMPO_F32, shape);
      smpo_tensor tensor = 0, output = 0;
      EXPECT_OK(smpo_tensor_from_host(session, &tensor_spec, moved.data(), 4 * moved.size(), &tensor, &error));
      EXPECT_OK(forward(tensor, &output));
      const std::vector<float> y = to_host<float>(output);
      double sum = 0;
      for (size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(y[i]) * seed[i];
      return sum;
    };
    double expected = 0, size = 0;
    for (size_t i = 0; i < d.size(); ++i) {
      expected += d[i] * (i % 3 == 0 ? 1 : -0.5);
      size += std::abs(d[i]);
    }
    EXPECT_GT(size, 0);
    EXPECT_NEAR((loss(1e-2) - loss(-1e-2)) / 2e-2, expected, 2e-3 * size);
  };
  smpo_tensor d_pixels = 0, d_values = 0, d_latents = 0, again = 0;
  EXPECT_OK(smpo_pixel_values_backward(session, world.pixels, &spec, world.d_values, &d_pixels, &error));
  slope(
      {1, 3, 12, 10}, world.pixels, world.d_values,
      [&](smpo_tensor x, smpo_tensor* y) { return smpo_pixel_values(session, x, &spec, y, &error); }, d_pixels);
  EXPECT_OK(smpo_clip_vision_backward(session, world.vision, world.pixel_values, world.d_embeds, &d_values, &error));
  slope(
      {2, 3, 4, 4}, world.pixel_values, world.d_embeds,
      [&](smpo_tensor x, smpo_tensor* y) { return smpo_clip_vision_encode(session, world.vision, x, y, &error); },
      d_values);
  EXPECT_OK(smpo_vae_decode_backward(session, world.vae, world.latents, 0, world.d_decoded, &d_latents, &error));
  slope(
      {1, 2, 6, 5}, world.latents, world.d_decoded,
      [&](smpo_tensor x, smpo_tensor* y) { return smpo_vae_decode(session, world.vae, x, 0, y, &error); }, d_latents);
  EXPECT_OK(smpo_vae_decode_backward(session, world.vae, world.latents, 1, world.d_decoded, &again, &error));
  EXPECT_EQ(to_host<float>(again), to_host<float>(d_latents));
}

TEST_F(EncoderTest, Bf16AgreesWithF32UpToRounding) {
  const EncoderWorld wide(session), narrow(session, SMPO_BF16);
  const auto outputs = [&](const EncoderWorld& world) {
    std::vector<smpo_tensor> all(7);
    EXPECT_OK(smpo_vae_encode(session, world.vae, world.pixels, 0, &all[0], &all[1], &error));
    EXPECT_OK(smpo_vae_decode(session, world.vae, world.latents, 8, &all[2], &error));
    EXPECT_OK(smpo_clip_text_encode(session, world.text, world.ids, 0, 1, &all[3], &all[4], &error));
    EXPECT_OK(smpo_clip_vision_encode(session, world.vision, world.pixel_values, &all[5], &error));
    EXPECT_OK(smpo_bert_encode(session, world.bert, world.ids, world.states, &all[6], &error));
    return all;
  };
  const std::vector<smpo_tensor> expected = outputs(wide), got = outputs(narrow);
  EXPECT_EQ(shape_of(got[5]), (Shape{2, 3}));
  for (size_t i = 0; i < got.size(); ++i) {
    // Only checks that it is the same network: these small weights amplify roundings. The tests of the models compare
    // the bf16 error with that of the peers.
    EXPECT_LT(distance(got[i], expected[i]), 0.25) << i;
    EXPECT_GT(distance(got[i], expected[i]), 0x1p-14) << i << ": no rounding at all: is this bf16?";
  }
}

}  // namespace
}  // namespace smpo::test
