// Pair batches that one model inverts and accumulates again and again: later calls are replayed, and have the same
// results as the first calls on the same batch, which run directly.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

namespace smpo::test {
namespace {

constexpr uint32_t kW = 3, kR = 2 * kW;
constexpr int64_t kN = 4 * 6 * 5;

class RecordedTest : public BorderTest {
 protected:
  RecordedTest() {
    auto options = f32_options();
    options.trainable = 1;
    policy = open_unet(session, options);
    reference = open_unet(session, f32_options());
    write_missing(session, policy);
    write_missing(session, reference);
  }

  /// Different latents, prompts, timesteps and steps for each `salt`.
  smpo_pair_batch batch_of(uint64_t salt) {
    auto inputs = sized<smpo_pair_batch_inputs>();
    inputs.pairs = kW;
    inputs.keep_predictions = 1;
    inputs.latents = some_tensor(session, {kR, 4, 6, 5}, salt);
    inputs.encoder_hidden_states = some_tensor(session, {kW, 7, 6}, salt + 50);
    timesteps.clear();
    items.clear();
    for (uint32_t row = 0; row < kR; ++row) {
      timesteps.push_back(static_cast<int32_t>((100 * row + 17 * salt) % 1000));
      items.push_back(row);
    }
    inputs.timesteps = timesteps.data();
    inputs.items = items.data();
    smpo_pair_batch batch = 0;
    EXPECT_OK(smpo_pair_batch_open(session, &inputs, &batch, &error));
    return batch;
  }

  void invert(smpo_pair_batch batch, uint64_t salt, uint32_t inversion_batch) {
    std::vector<int32_t> row_start = {0};
    std::vector<double> timestep, sample, output, noise, target(kR, 1.0), clean(kR, -0.5);
    std::vector<uint8_t> averages;
    for (uint32_t row = 0; row < kR; ++row) {
      for (uint64_t k = 0; k < 1 + (row + salt) % 3; ++k) {
        timestep.push_back(static_cast<double>(100 * k + salt));
        sample.push_back(0.9);
        output.push_back(0.1 + 0.01 * static_cast<double>(k));
        noise.push_back(0);
        averages.push_back((row + k) % 2 == 0 ? 1 : 0);
      }
      row_start.push_back(static_cast<int32_t>(timestep.size()));
    }
    auto plan = sized<smpo_inversion_plan>();
    plan.inversion_batch = inversion_batch;
    plan.row_start = row_start.data();
    plan.timestep = timestep.data();
    plan.sample = sample.data();
    plan.output = output.data();
    plan.noise = noise.data();
    plan.averages = averages.data();
    plan.target_sample = target.data();
    plan.target_clean = clean.data();
    EXPECT_OK(smpo_pair_batch_invert(session, batch, policy, &plan, nullptr, &error));
  }

  double accumulate(smpo_pair_batch batch, uint64_t salt) {
    auto loss = sized<smpo_pair_loss>();
    loss.kind = SMPO_PAIR_LOSS_SMPO;
    loss.parameter_count = 1;
    loss.strength = 5;
    loss.parameters[0] = 0.5;
    const std::vector<double> label = {0.9, 0.6 + 0.01 * static_cast<double>(salt), 0.7};
    for (uint32_t first = 0; first < kW; ++first) {
      auto micro_batch = sized<smpo_micro_batch>();
      micro_batch.first_pair = first;
      micro_batch.pairs = 1;
      micro_batch.backward = 1;
      micro_batch.gradient_scale = 1.0 / kW;
      micro_batch.label = label.data() + first;
      EXPECT_OK(smpo_pair_batch_accumulate(session, batch, policy, reference, &loss, &micro_batch, &error));
    }
    std::vector<double> errors(4 * kW), logits(kW), losses(kW);
    auto results = sized<smpo_pair_results>();
    results.pairs = kW;
    results.errors = errors.data();
    results.logits = logits.data();
    results.losses = losses.data();
    EXPECT_OK(smpo_pair_batch_read(session, batch, &results, &error));
    return results.loss_sum;
  }

  /// All results of one batch, including the gradient of the policy.
  std::vector<float> outcome(uint64_t salt, uint32_t inversion_batch = 4) {
    EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
    const smpo_pair_batch batch = batch_of(salt);
    invert(batch, salt, inversion_batch);
    std::vector<float> all = {static_cast<float>(accumulate(batch, salt))};
    for (int32_t which = SMPO_PAIR_BATCH_NOISED; which <= SMPO_PAIR_BATCH_REFERENCE_PREDICTION; ++which) {
      smpo_tensor tensor = 0;
      EXPECT_OK(smpo_pair_batch_tensor(session, batch, which, &tensor, &error));
      const std::vector<float> values = to_host<float>(tensor);
      EXPECT_EQ(values.size(), kR * kN);
      all.insert(all.end(), values.begin(), values.end());
      close(tensor);
    }
    for (const smpo_parameter_info& parameter : parameters_of(session, policy)) {
      const auto spec = host_spec_of(parameter);
      std::vector<float> gradient(elements_of(spec));
      EXPECT_OK(smpo_model_read_gradient(session, policy, parameter.name, &spec, gradient.data(),
                                         gradient.size() * sizeof(float), &error));
      all.insert(all.end(), gradient.begin(), gradient.end());
    }
    EXPECT_OK(smpo_pair_batch_close(session, batch, &error));
    return all;
  }

  smpo_model policy = 0, reference = 0;
  std::vector<int32_t> timesteps;
  std::vector<int64_t> items;
};

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double(a[i]) - double(b[i]), 2);
    norm += std::pow(double(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

TEST_F(RecordedTest, ReplayedBatchesHaveTheResultsOfDirectOnes) {
  const std::vector<float> first = outcome(1);
  const std::vector<float> other = outcome(2);
  EXPECT_GT(distance(first, other), 0.01) << "the batches are too alike to tell";
  for (int again = 0; again < 3; ++again) {
    EXPECT_EQ(outcome(1), first);
    EXPECT_EQ(outcome(2), other);
  }
}

TEST_F(RecordedTest, ChangedWeightsAreUsed) {
  for (int again = 0; again < 4; ++again) outcome(1);
  const std::vector<float> before = outcome(1);
  const auto parameters = parameters_of(session, policy);
  const auto spec = host_spec_of(parameters[0]);
  std::vector<float> values(elements_of(spec), 0.05f);
  EXPECT_OK(smpo_model_write_parameter(session, policy, parameters[0].name, &spec, values.data(),
                                       values.size() * sizeof(float), &error));
  const std::vector<float> after = outcome(1);
  EXPECT_GT(distance(after, before), 1e-4);
  EXPECT_EQ(outcome(1), after);
}

TEST_F(RecordedTest, PaddingDoesNotChangeResults) {
  // An inversion batch of 4 leaves tails of 3, 2 and 1 images; one of 1 has no tail. f32 rounding depends on the size.
  const std::vector<float> one_by_one = outcome(3, 1);
  const double limit = 1e-5;
  for (const uint32_t size : {2u, 4u, 5u, 6u, 64u}) {
    std::vector<float> batched = outcome(3, size);
    EXPECT_LE(distance(batched, one_by_one), limit) << "inversion batch " << size;
    batched[batched.size() / 2] += 1;
    EXPECT_GT(distance(batched, one_by_one), limit) << "the comparison is too loose";
  }
}

}  // namespace
}  // namespace smpo::test
