// Cancellation: every long call stops at its first safe point when a request is pending, leaves its arguments as
// documented, consumes the request, and succeeds when it is called again.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_encoders.h"
#include "c_api/tiny_unet.h"

namespace smpo::test {
namespace {

class CancelTest : public BorderTest {
 protected:
  CancelTest() {
    auto options = f32_options();
    options.trainable = 1;
    unet = open_unet(session, options);
    write_missing(session, unet);
    inputs = tiny_inputs(session);
  }

  void request() {
    std::thread([this] { EXPECT_EQ(smpo_session_cancel(session, nullptr), SMPO_OK); }).join();
  }

  /// Calls with a pending request, then without.
  void expect_cancelled_once(const std::function<smpo_status()>& call) {
    request();
    EXPECT_EQ(call(), SMPO_CANCELLED);
    EXPECT_TRUE(std::string(error.message).ends_with("stopped by smpo_session_cancel")) << error.message;
    EXPECT_EQ(call(), SMPO_OK) << error.message;
  }

  std::vector<float> gradients() {
    std::vector<float> all;
    for (const smpo_parameter_info& parameter : parameters_of(session, unet)) {
      const auto spec = host_spec_of(parameter);
      std::vector<float> values(elements_of(spec));
      EXPECT_OK(smpo_model_read_gradient(session, unet, parameter.name, &spec, values.data(),
                                         values.size() * sizeof(float), &error));
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  smpo_model unet = 0;
  smpo_unet_inputs inputs = {};
};

TEST_F(CancelTest, AnEvaluationOfTheUNet) {
  smpo_tensor output = 0;
  request();
  EXPECT_EQ(smpo_unet_forward(session, unet, &inputs, &output, &error), SMPO_CANCELLED);
  EXPECT_EQ(output, 0u);
  expect_cancelled_once([&] { return smpo_unet_forward(session, unet, &inputs, &output, &error); });
}

TEST_F(CancelTest, ABackwardPassThatIsCancelledChangesNoGradient) {
  smpo_tensor output = 0;
  const smpo_tensor cotangent = some_tensor(session, {2, 4, 6, 5}, 7);
  const auto backward = [&] { return smpo_unet_backward(session, unet, &inputs, cotangent, &output, nullptr, &error); };
  EXPECT_OK(backward());
  const std::vector<float> before = gradients();
  request();
  EXPECT_EQ(backward(), SMPO_CANCELLED);
  EXPECT_EQ(gradients(), before);
  EXPECT_OK(backward());
  EXPECT_NE(gradients(), before);
}

TEST_F(CancelTest, Encoders) {
  const EncoderWorld world(session);
  smpo_tensor a = 0, b = 0;
  for (const int32_t tile : {0, 8}) {
    expect_cancelled_once([&] { return smpo_vae_encode(session, world.vae, world.pixels, tile, &a, &b, &error); });
    expect_cancelled_once([&] { return smpo_vae_decode(session, world.vae, world.latents, tile, &a, &error); });
  }
  expect_cancelled_once([&] { return smpo_clip_text_encode(session, world.text, world.ids, 0, 1, &a, &b, &error); });
  expect_cancelled_once([&] { return smpo_clip_vision_encode(session, world.vision, world.pixel_values, &a, &error); });
  expect_cancelled_once([&] { return smpo_bert_encode(session, world.bert, world.ids, world.states, &a, &error); });
  const auto spec = tiny_pixel_spec();
  expect_cancelled_once([&] { return smpo_pixel_values(session, world.pixels, &spec, &a, &error); });
  expect_cancelled_once(
      [&] { return smpo_pixel_values_backward(session, world.pixels, &spec, world.d_values, &a, &error); });
  expect_cancelled_once(
      [&] { return smpo_clip_vision_backward(session, world.vision, world.pixel_values, world.d_embeds, &a, &error); });
  expect_cancelled_once(
      [&] { return smpo_vae_decode_backward(session, world.vae, world.latents, 1, world.d_decoded, &a, &error); });
}

TEST_F(CancelTest, ADecoderStopsBetweenTiles) {
  const EncoderWorld world(session);
  const smpo_tensor latents = some_tensor(session, {1, 2, 64, 64}, 9);
  smpo_tensor pixels = 0;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_OK(smpo_vae_decode(session, world.vae, latents, 8, &pixels, &error));
  const auto whole = std::chrono::steady_clock::now() - start;
  close(pixels);
  pixels = 0;
  // On a busy machine the request may arrive after the end; it is then pending when the next round begins.
  for (int round = 0; round < 50; ++round) {
    std::thread canceller([&] {
      std::this_thread::sleep_for(whole / 4);
      EXPECT_EQ(smpo_session_cancel(session, nullptr), SMPO_OK);
    });
    const auto begin = std::chrono::steady_clock::now();
    const smpo_status status = smpo_vae_decode(session, world.vae, latents, 8, &pixels, &error);
    const auto time = std::chrono::steady_clock::now() - begin;
    canceller.join();
    if (status == SMPO_CANCELLED && time > whole / 8) {
      EXPECT_EQ(pixels, 0u);
      return;
    }
    if (status == SMPO_OK) {
      close(pixels);
      pixels = 0;
    }
  }
  FAIL() << "no call was stopped in its middle";
}

TEST_F(CancelTest, AMicroBatchThatIsCancelledAddsNothing) {
  auto batch_inputs = sized<smpo_pair_batch_inputs>();
  batch_inputs.pairs = 2;
  batch_inputs.latents = some_tensor(session, {4, 4, 6, 5}, 11);
  batch_inputs.encoder_hidden_states = some_tensor(session, {2, 7, 6}, 12);
  const std::vector<int32_t> timesteps = {10, 500, 10, 500};
  const std::vector<int64_t> items = {0, 1, 2, 3};
  batch_inputs.timesteps = timesteps.data();
  batch_inputs.items = items.data();
  const std::vector<double> half(4, 0.5);
  auto noise = sized<smpo_forward_noise>();
  noise.sample = noise.noise = noise.target_sample = noise.target_noise = half.data();
  smpo_model reference = open_unet(session, f32_options());
  write_missing(session, reference);
  auto loss = sized<smpo_pair_loss>();
  loss.kind = SMPO_PAIR_LOSS_DPO;
  loss.strength = 5;

  // Accumulates both micro-batches of a batch; optionally cancels the second one and repeats it.
  const auto accumulated = [&](bool cancelled) {
    EXPECT_OK(smpo_model_zero_gradients(session, unet, &error));
    smpo_pair_batch batch = 0;
    EXPECT_OK(smpo_pair_batch_open(session, &batch_inputs, &batch, &error));
    EXPECT_OK(smpo_pair_batch_add_noise(session, batch, &noise, &error));
    auto micro_batch = sized<smpo_micro_batch>();
    micro_batch.pairs = 1;
    micro_batch.backward = 1;
    micro_batch.gradient_scale = 0.5;
    const auto accumulate = [&] {
      return smpo_pair_batch_accumulate(session, batch, unet, reference, &loss, &micro_batch, &error);
    };
    EXPECT_OK(accumulate());
    micro_batch.first_pair = 1;
    if (cancelled) {
      const std::vector<float> before = gradients();
      request();
      EXPECT_EQ(accumulate(), SMPO_CANCELLED);
      EXPECT_EQ(gradients(), before);
    }
    EXPECT_OK(accumulate());
    EXPECT_OK(smpo_pair_batch_close(session, batch, &error));
    return gradients();
  };
  EXPECT_EQ(accumulated(true), accumulated(false));
}

TEST_F(CancelTest, AnOptimizerStepIsNotInterruptedAndLeavesTheRequest) {
  const auto options = adamw_options();
  smpo_optimizer optimizer = 0;
  EXPECT_OK(smpo_optimizer_open(session, unet, &options, &optimizer, &error));
  auto outcome = sized<smpo_step_outcome>();
  request();
  EXPECT_OK(smpo_optimizer_step(session, optimizer, 1e-3, 1.0, &outcome, &error));
  EXPECT_EQ(outcome.applied, 1);
  smpo_tensor output = 0;
  EXPECT_EQ(smpo_unet_forward(session, unet, &inputs, &output, &error), SMPO_CANCELLED);
}

}  // namespace
}  // namespace smpo::test
