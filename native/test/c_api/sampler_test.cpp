// The sampler's loop compared with the same rule written with smpo_unet_forward.
#include <gtest/gtest.h>

#include <cmath>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

namespace smpo::test {
namespace {

constexpr int64_t kPixels = 6 * 5, kChannels = 4, kImage = kChannels * kPixels;

class SamplerTest : public BorderTest {
 protected:
  SamplerTest() {
    write_missing(session, model_);
    inputs_.guidance_scale = 1;
    inputs_.noise = some_tensor(session, {2, kChannels, 6, 5}, 21);
    inputs_.encoder_hidden_states = some_tensor(session, {2, 7, 6}, 22);
    negative_ = some_tensor(session, {2, 7, 6}, 23);
    items_[0] = 17;
    items_[1] = (int64_t{1} << 40) + 5;
  }

  void guide(double scale, double rescale) {
    inputs_.guidance_scale = scale;
    inputs_.guidance_rescale = rescale;
    inputs_.negative_encoder_hidden_states = negative_;
  }

  /// A UNet with other weights than the model's, of `channels` latent channels.
  smpo_model another_unet(int32_t channels = kChannels) {
    auto spec = tiny_unet_spec();
    spec.in_channels = spec.out_channels = channels;
    const auto options = f32_options();
    smpo_model other = 0;
    EXPECT_OK(smpo_unet_open(session, &spec, &options, &other, &error));
    for (const char* name : {"conv_in.bias", "conv_out.bias", "mid_block.attentions.0.proj_in.bias"}) {
      write_constant(other, name, {0.3f});
    }
    write_missing(session, other);
    return other;
  }

  /// Fills a parameter with values in turn.
  void write_constant(smpo_model model, const std::string& name, const std::vector<float>& values) {
    for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
      if (name != parameter.name) continue;
      const auto spec = host_spec_of(parameter);
      std::vector<float> all(elements_of(spec));
      for (size_t i = 0; i < all.size(); ++i) all[i] = values[i % values.size()];
      EXPECT_OK(smpo_model_write_parameter(session, model, parameter.name, &spec, all.data(),
                                           all.size() * sizeof(float), &error));
      return;
    }
    FAIL() << "no parameter " << name;
  }

  void add_adapters(smpo_model model) {
    const char* modules[] = {"conv_in"};
    auto lora = sized<smpo_lora_spec>();
    lora.rank = 1;
    lora.alpha = 1;
    lora.module_count = 1;
    lora.modules = modules;
    EXPECT_OK(smpo_model_add_lora(session, model, &lora, &error));
    write_constant(model, "conv_in.lora_A.weight", {0.2f, -0.1f, 0.3f});
    write_constant(model, "conv_in.lora_B.weight", {0.5f, -0.4f, 0.3f});
  }

  smpo_sampler open(const std::vector<smpo_sampler_row>& rows) {
    auto plan = sized<smpo_sampler_plan>();
    plan.steps = static_cast<uint32_t>(rows.size());
    plan.initial_noise_scale = 1.5;
    plan.rows = rows.data();
    smpo_sampler sampler = 0;
    EXPECT_OK(smpo_sampler_open(session, model_, &plan, &inputs_, &sampler, &error));
    return sampler;
  }
  std::vector<float> latents(smpo_sampler sampler) {
    smpo_tensor tensor = 0;
    EXPECT_OK(smpo_sampler_latents(session, sampler, &tensor, &error));
    return to_host<float>(tensor);
  }
  std::vector<float> run(const std::vector<smpo_sampler_row>& rows) {
    const smpo_sampler sampler = open(rows);
    EXPECT_OK(smpo_sampler_step(session, sampler, static_cast<uint32_t>(rows.size()), &error));
    return latents(sampler);
  }

  std::vector<double> predict(smpo_model model, const std::vector<double>& x, double timestep, smpo_tensor states) {
    auto inputs = sized<smpo_unet_inputs>();
    inputs.sample = from_host(spec_of(SMPO_F32, {2, kChannels, 6, 5}), std::vector<float>(x.begin(), x.end()));
    inputs.timesteps = from_host(spec_of(SMPO_F32, {2}), std::vector<float>(2, static_cast<float>(timestep)));
    inputs.encoder_hidden_states = states;
    smpo_tensor output = 0;
    EXPECT_OK(smpo_unet_forward(session, model, &inputs, &output, &error));
    const std::vector<float> values = to_host<float>(output);
    return {values.begin(), values.end()};
  }

  static double deviation(const std::vector<double>& x, int64_t image) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < kImage; ++i) mean += x[image * kImage + i] / kImage;
    for (int64_t i = 0; i < kImage; ++i) square += std::pow(x[image * kImage + i] - mean, 2);
    return std::sqrt(square / (kImage - 1));
  }

  std::vector<double> guided(const std::vector<double>& x, double timestep) {
    const bool adapters = inputs_.negative_adapters == 1;
    if (adapters) EXPECT_OK(smpo_model_set_lora_scale(session, model_, 0, &error));
    const std::vector<double> positive = predict(model_, x, timestep, inputs_.encoder_hidden_states);
    if (adapters) EXPECT_OK(smpo_model_set_lora_scale(session, model_, 1, &error));
    if (inputs_.guidance_scale == 1) return positive;
    const smpo_model other = inputs_.negative_model == 0 ? model_ : inputs_.negative_model;
    const std::vector<double> negative = predict(other, x, timestep, inputs_.negative_encoder_hidden_states);
    std::vector<double> result(positive.size());
    for (size_t i = 0; i < result.size(); ++i) {
      result[i] = negative[i] + inputs_.guidance_scale * (positive[i] - negative[i]);
    }
    const double rescale = inputs_.guidance_rescale;
    for (int64_t image = 0; image < 2; ++image) {
      const double factor = rescale * deviation(positive, image) / deviation(result, image) + 1 - rescale;
      for (int64_t i = 0; i < kImage; ++i) result[image * kImage + i] *= factor;
    }
    return result;
  }

  // The rule of smpo.h in double.
  std::vector<double> expected(const std::vector<smpo_sampler_row>& rows) {
    const std::vector<float> noise = to_host<float>(inputs_.noise);
    std::vector<double> x(noise.begin(), noise.end()), saved(x.size());
    for (double& value : x) value *= 1.5;
    std::deque<std::vector<double>> history;
    for (size_t step = 0; step < rows.size(); ++step) {
      const smpo_sampler_row& row = rows[step];
      std::vector<double> scaled = x;
      for (double& value : scaled) value *= row.input_scale;
      std::vector<double> entry = guided(scaled, row.timestep);
      for (size_t i = 0; i < x.size(); ++i) entry[i] = row.history_sample * x[i] + row.history_output * entry[i];
      history.push_front(entry);
      std::vector<double> next(x.size());
      std::vector<float> drawn(x.size());
      if (row.noise != 0) {
        const smpo_tensor tensor = zeros(spec_of(SMPO_F32, {2, kChannels, 6, 5}));
        EXPECT_OK(smpo_tensor_fill_normal(session, tensor, 8, static_cast<uint32_t>(step), items_, 2, &error));
        drawn = to_host<float>(tensor);
      }
      for (size_t i = 0; i < x.size(); ++i) {
        next[i] = row.sample * x[i] + row.saved * saved[i] + row.noise * drawn[i];
        for (size_t j = 0; j < 4 && j < history.size(); ++j) next[i] += row.history[j] * history[j][i];
      }
      if (row.saves == 1) saved = x;
      history.erase(history.begin() + 1, history.begin() + 1 + row.drops);
      if (row.keeps == 0) history.pop_front();
      x = next;
    }
    return x;
  }

  /// Expects the relative L2 error of a few f32 steps at most, and shows that a change of that order is detected.
  void expect_close(const std::vector<float>& values, const std::vector<double>& wanted) {
    ASSERT_EQ(values.size(), wanted.size());
    constexpr double kTolerance = 1e-5;
    const auto error_of = [&wanted](const std::vector<float>& v) {
      double error2 = 0, norm2 = 0;
      for (size_t i = 0; i < v.size(); ++i) {
        error2 += std::pow(v[i] - wanted[i], 2);
        norm2 += std::pow(wanted[i], 2);
      }
      return std::sqrt(error2 / norm2);
    };
    EXPECT_LT(error_of(values), kTolerance);
    std::vector<float> mutated = values;
    for (float& value : mutated) value *= 1 + 3e-5f;
    EXPECT_GT(error_of(mutated), kTolerance);
  }

  smpo_model model_ = open_unet(session, f32_options());
  smpo_sampler_inputs inputs_ = sized<smpo_sampler_inputs>();
  smpo_tensor negative_ = 0;
  int64_t items_[2] = {};
};

std::vector<smpo_sampler_row> ddim() {
  return {ddim_row(981, 1.02, -0.3), ddim_row(500.5, 1.05, -0.4), ddim_row(17, 0.97, -0.1)};
}

/// A plan that uses every column and more history entries than are kept.
std::vector<smpo_sampler_row> everything() {
  std::vector<smpo_sampler_row> rows;
  int entries = 0;
  for (int i = 0; i < 9; ++i) {
    smpo_sampler_row row = ddim_row(900 - 130.25 * i, 0.9 + 0.01 * i, 0.2);
    row.input_scale = 1 / std::sqrt(1.0 + i);
    row.history_sample = 0.1 * i;
    row.history_output = 1 - 0.2 * i;
    for (int back = 1; back <= std::min(entries, 3); ++back) row.history[back] = 0.15 / back;
    row.saves = i == 0 || i == 4;
    row.saved = i == 0 ? 0 : 0.05 * i;
    row.keeps = i != 1 && i != 5;
    row.drops = i == 3 ? 1 : i == 5 ? 2 : 0;
    entries += row.keeps - row.drops;
    rows.push_back(row);
  }
  return rows;
}

TEST_F(SamplerTest, FollowsThePlan) { expect_close(run(ddim()), expected(ddim())); }

TEST_F(SamplerTest, FollowsEveryColumn) { expect_close(run(everything()), expected(everything())); }

TEST_F(SamplerTest, GuidesAndRescales) {
  guide(7.5, 0);
  const std::vector<float> plain = run(ddim());
  expect_close(plain, expected(ddim()));
  guide(7.5, 0.7);
  const std::vector<float> rescaled = run(ddim());
  expect_close(rescaled, expected(ddim()));
  EXPECT_NE(plain, rescaled);
}

TEST_F(SamplerTest, GuidanceBetweenEqualPromptsHasNoEffect) {
  const std::vector<float> single = run(ddim());
  guide(3, 0.5);
  inputs_.negative_encoder_hidden_states = inputs_.encoder_hidden_states;
  expect_close(run(ddim()), std::vector<double>(single.begin(), single.end()));
}

TEST_F(SamplerTest, TheNegativeModelPredictsTheNegativeSide) {
  guide(7.5, 0.7);
  const std::vector<float> one_network = run(everything());
  inputs_.negative_model = another_unet();
  const std::vector<float> two_networks = run(everything());
  expect_close(two_networks, expected(everything()));
  EXPECT_NE(two_networks, one_network);
}

TEST_F(SamplerTest, TheNegativeModelHasConditionsOfItsOwn) {
  guide(3, 0);
  inputs_.negative_model = another_unet();
  inputs_.negative_encoder_hidden_states = some_tensor(session, {2, 3, 6}, 24);
  expect_close(run(ddim()), expected(ddim()));
}

TEST_F(SamplerTest, TheModelItselfAsItsNegativeChangesRoundingOnly) {
  for (const double rescale : {0.0, 0.7}) {
    guide(7.5, rescale);
    inputs_.negative_model = 0;
    const std::vector<float> batched = run(everything());
    inputs_.negative_model = model_;
    expect_close(run(everything()), std::vector<double>(batched.begin(), batched.end()));
  }
}

TEST_F(SamplerTest, AdaptersMayActOnTheNegativeSideOnly) {
  guide(7.5, 0.7);
  const std::vector<float> without = run(ddim());
  add_adapters(model_);
  const std::vector<float> on_both_sides = run(ddim());
  inputs_.negative_adapters = 1;
  const std::vector<float> on_the_negative_side = run(ddim());
  expect_close(on_the_negative_side, expected(ddim()));
  EXPECT_NE(on_the_negative_side, without);
  EXPECT_NE(on_the_negative_side, on_both_sides);
}

TEST_F(SamplerTest, GuidanceWithTwoNetworksHasThePublishedFormula) {
  // Networks whose prediction is the bias of conv_out, whatever their input: numpy's values in float64.
  const auto constant = [this](const std::vector<float>& prediction) {
    const smpo_model model = open_unet(session, f32_options());
    write_constant(model, "conv_out.weight", {0});
    write_constant(model, "conv_out.bias", prediction);
    write_missing(session, model);
    return model;
  };
  model_ = constant({0.5f, -0.2f, 0.1f, 0.3f});
  inputs_.noise = some_tensor(session, {1, kChannels, 1, 1}, 21);
  inputs_.encoder_hidden_states = some_tensor(session, {1, 7, 6}, 22);
  negative_ = some_tensor(session, {1, 7, 6}, 23);
  const smpo_model other = constant({0.4f, -0.1f, 0.3f, 0.1f});
  const std::vector<smpo_sampler_row> only_the_prediction = {ddim_row(500, 0, 1)};
  const auto expect = [&](double scale, double rescale, const std::vector<double>& wanted) {
    guide(scale, rescale);
    inputs_.negative_model = other;
    expect_close(run(only_the_prediction), wanted);
  };
  expect(7.5, 0, {1.15, -0.85, -1.2, 1.6});
  expect(7.5, 0.7, {0.516082362496, -0.381452180975, -0.538520726083, 0.718027634777});
  expect(0, 0, {0.4, -0.1, 0.3, 0.1});
}

TEST_F(SamplerTest, TheNegativeModelHasTheModelsChannels) {
  guide(7.5, 0);
  inputs_.negative_model = another_unet(8);
  auto plan = sized<smpo_sampler_plan>();
  const auto rows = ddim();
  plan.steps = static_cast<uint32_t>(rows.size());
  plan.initial_noise_scale = 1;
  plan.rows = rows.data();
  smpo_sampler sampler = 0;
  EXPECT_EQ(smpo_sampler_open(session, model_, &plan, &inputs_, &sampler, &error), SMPO_SHAPE_MISMATCH);
  EXPECT_STREQ(error.message, "smpo_sampler_open: inputs.negative_model: expected 4 channels like the model, got 8");
}

TEST_F(SamplerTest, NoiseIsTheItems) {
  inputs_.items = items_;
  std::vector<smpo_sampler_row> rows = ddim();
  rows[0].noise = 0.3;
  rows[1].noise = 0.2;
  const std::vector<float> together = run(rows);
  expect_close(together, expected(rows));
  // The second image alone has the same noise, because noise depends on the item and not on the row.
  const std::vector<float> noise = to_host<float>(inputs_.noise),
                           states = to_host<float>(inputs_.encoder_hidden_states);
  inputs_.noise =
      from_host(spec_of(SMPO_F32, {1, kChannels, 6, 5}), std::vector<float>(noise.begin() + kImage, noise.end()));
  inputs_.encoder_hidden_states =
      from_host(spec_of(SMPO_F32, {1, 7, 6}), std::vector<float>(states.begin() + 42, states.end()));
  inputs_.items = items_ + 1;
  const std::vector<float> alone = run(rows);
  expect_close(alone, std::vector<double>(together.begin() + kImage, together.end()));
}

TEST_F(SamplerTest, StepsMayBeTakenInParts) {
  const smpo_sampler sampler = open(everything());
  for (const uint32_t steps : {1u, 0u, 4u, 4u}) EXPECT_OK(smpo_sampler_step(session, sampler, steps, &error));
  EXPECT_EQ(latents(sampler), run(everything()));
  EXPECT_EQ(smpo_sampler_step(session, sampler, 1, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_STREQ(error.message, "smpo_sampler_step: steps: expected at most the 0 that are left, got 1");
}

TEST_F(SamplerTest, ACancelledRunGoesOn) {
  const smpo_sampler sampler = open(ddim());
  EXPECT_OK(smpo_sampler_step(session, sampler, 1, &error));
  const std::vector<float> before = latents(sampler);
  std::thread([this] { smpo_session_cancel(session, nullptr); }).join();
  EXPECT_EQ(smpo_sampler_step(session, sampler, 2, &error), SMPO_CANCELLED);
  EXPECT_EQ(latents(sampler), before);
  EXPECT_OK(smpo_sampler_step(session, sampler, 2, &error));
  EXPECT_EQ(latents(sampler), run(ddim()));
}

TEST_F(SamplerTest, KeepsWhatItNeeds) {
  guide(7.5, 0);
  inputs_.negative_model = another_unet();
  const std::vector<float> wanted = run(ddim());
  const smpo_sampler sampler = open(ddim());
  EXPECT_OK(smpo_tensor_close(session, inputs_.noise, &error));
  EXPECT_OK(smpo_tensor_close(session, inputs_.encoder_hidden_states, &error));
  EXPECT_OK(smpo_tensor_close(session, inputs_.negative_encoder_hidden_states, &error));
  EXPECT_OK(smpo_model_close(session, model_, &error));
  EXPECT_OK(smpo_model_close(session, inputs_.negative_model, &error));
  EXPECT_OK(smpo_sampler_step(session, sampler, 3, &error));
  EXPECT_EQ(latents(sampler), wanted);
  EXPECT_OK(smpo_sampler_close(session, sampler, &error));
}

// ---- candidates

std::vector<smpo_sampler_row> noisy() {
  std::vector<smpo_sampler_row> rows = ddim();
  for (size_t i = 0; i < rows.size(); ++i) rows[i].noise = 0.4 - 0.1 * static_cast<double>(i);
  rows[1].history_sample = 0.3;  // as for a prediction of clean latents
  rows[1].history_output = 0.8;
  return rows;
}

class CandidatesTest : public SamplerTest {
 protected:
  CandidatesTest() { inputs_.items = items_; }

  std::vector<float> fork(smpo_sampler sampler, std::vector<int64_t> items) {
    auto candidates = sized<smpo_sampler_candidates>();
    candidates.candidates = static_cast<uint32_t>(items.size() / 2);
    candidates.items = items.data();
    candidates.clean_sample = 1.25;
    candidates.clean_output = -0.75;
    smpo_tensor clean = 0;
    EXPECT_OK(smpo_sampler_fork(session, sampler, &candidates, &clean, &error));
    return to_host<float>(clean);
  }
  void select(smpo_sampler sampler, const std::vector<int32_t>& chosen) {
    EXPECT_OK(smpo_sampler_select(session, sampler, chosen.data(), &error));
  }
  void expect_refused(smpo_status status, smpo_status wanted, const char* message) {
    EXPECT_EQ(status, wanted);
    EXPECT_NE(std::string(error.message).find(message), std::string::npos) << error.message;
  }
  smpo_status try_fork(smpo_sampler sampler) {
    auto candidates = sized<smpo_sampler_candidates>();
    candidates.candidates = 1;
    candidates.items = items_;
    smpo_tensor clean = 0;
    const smpo_status status = smpo_sampler_fork(session, sampler, &candidates, &clean, &error);
    EXPECT_EQ(clean != 0, status == SMPO_OK);
    return status;
  }
};

TEST_F(CandidatesTest, OneCandidateIsAStepBitForBit) {
  guide(5, 0);
  const std::vector<smpo_sampler_row> rows = noisy();
  const smpo_sampler plain = open(rows), forked = open(rows), mixed = open(rows);
  for (size_t row = 0; row < rows.size(); ++row) {
    SCOPED_TRACE(row);
    EXPECT_OK(smpo_sampler_step(session, plain, 1, &error));
    fork(forked, {items_[0], items_[1]});
    select(forked, {0, 0});
    EXPECT_EQ(latents(forked), latents(plain));
    // A plain step after a choice takes over the candidate's prediction.
    if (row == 1) {
      EXPECT_OK(smpo_sampler_step(session, mixed, 1, &error));
    } else {
      fork(mixed, {items_[0], items_[1], 5, 6});
      select(mixed, {0, 0});
    }
    EXPECT_EQ(latents(mixed), latents(plain));
  }
}

TEST_F(CandidatesTest, TheirCleanLatentsTargetsAndTheChoice) {
  guide(3, 0);
  std::vector<smpo_sampler_row> rows = noisy();
  const std::vector<int64_t> items = {7, 8, 9, 10, int64_t{1} << 50, 12};
  const smpo_sampler sampler = open(rows);
  EXPECT_OK(smpo_sampler_step(session, sampler, 1, &error));
  const std::vector<float> start = latents(sampler);
  const std::vector<double> x(start.begin(), start.end());
  const std::vector<float> clean = fork(sampler, items);
  const smpo_tensor drawn = zeros(spec_of(SMPO_F32, {6, kChannels, 6, 5}));
  EXPECT_OK(smpo_tensor_fill_normal(session, drawn, 8, 1, items.data(), 6, &error));
  const std::vector<float> z = to_host<float>(drawn);
  const std::vector<double> out = guided(x, rows[1].timestep);
  const double a = rows[1].sample + rows[1].history[0] * rows[1].history_sample;
  const double b = rows[1].history[0] * rows[1].history_output;
  std::vector<double> candidates, wanted;
  for (int64_t k = 0; k < 3; ++k) {
    std::vector<double> next(x.size());
    for (size_t i = 0; i < x.size(); ++i) next[i] = a * x[i] + b * out[i] + rows[1].noise * z[k * x.size() + i];
    const std::vector<double> next_out = guided(next, rows[2].timestep);
    for (size_t i = 0; i < x.size(); ++i) wanted.push_back(1.25 * next[i] - 0.75 * next_out[i]);
    candidates.insert(candidates.end(), next.begin(), next.end());
  }
  expect_close(clean, wanted);
  EXPECT_EQ(latents(sampler), start);

  // From the target, the row without noise leads to the candidate.
  const auto candidate = [&](int64_t k, int64_t image, int64_t i) {
    return candidates[static_cast<size_t>((2 * k + image) * kImage + i)];
  };
  const int32_t winner[2] = {2, 0}, loser[2] = {0, 1};
  smpo_tensor noised = 0, target = 0;
  EXPECT_OK(smpo_sampler_pairs(session, sampler, winner, loser, &noised, &target, &error));
  EXPECT_EQ(to_host<float>(noised), start);
  std::vector<float> reached = to_host<float>(target);
  std::vector<double> chosen;
  for (int64_t row = 0; row < 4; ++row) {
    const int64_t image = row % 2, k = row < 2 ? winner[image] : loser[image];
    for (int64_t i = 0; i < kImage; ++i) {
      float& value = reached[static_cast<size_t>(row * kImage + i)];
      value = static_cast<float>(a * x[static_cast<size_t>(image * kImage + i)] + b * value);
      chosen.push_back(candidate(k, image, i));
    }
  }
  expect_close(reached, chosen);
  const int32_t some_winner[2] = {-1, 2}, some_loser[2] = {-1, 1};
  EXPECT_OK(smpo_sampler_pairs(session, sampler, some_winner, some_loser, &noised, &target, &error));
  EXPECT_EQ(to_host<float>(noised), std::vector<float>(start.begin() + kImage, start.end()));
  EXPECT_EQ(to_host<float>(target).size(), static_cast<size_t>(2 * kImage));

  select(sampler, {1, 2});
  std::vector<double> next;
  for (int64_t i = 0; i < kImage; ++i) next.push_back(candidate(1, 0, i));
  for (int64_t i = 0; i < kImage; ++i) next.push_back(candidate(2, 1, i));
  expect_close(latents(sampler), next);

  // On the last row, a candidate is its own clean latents.
  const std::vector<float> last = fork(sampler, {items_[0], items_[1]});
  select(sampler, {0, 0});
  EXPECT_EQ(latents(sampler), last);
  expect_refused(try_fork(sampler), SMPO_INVALID_ARGUMENT, "sampler: expected a row that is left, got none");
}

TEST_F(CandidatesTest, AMovedCandidateIsAnotherCandidate) {
  guide(3, 0);
  const std::vector<smpo_sampler_row> rows = noisy();
  const smpo_sampler sampler = open(rows);
  EXPECT_OK(smpo_sampler_step(session, sampler, 1, &error));
  const std::vector<float> x = latents(sampler);
  fork(sampler, {7, 8, 9, 10});
  const int32_t which[2] = {1, 0};
  smpo_tensor taken = 0, clean = 0, noised = 0, before = 0, after = 0;
  EXPECT_OK(smpo_sampler_candidate(session, sampler, which, &taken, &error));
  const std::vector<float> from = to_host<float>(taken);
  std::vector<float> moves(from.size());
  for (size_t i = 0; i < moves.size(); ++i) moves[i] = 0.01f * static_cast<float>(i % 7) - 0.02f;
  EXPECT_OK(smpo_sampler_pairs(session, sampler, which, which, &noised, &before, &error));
  EXPECT_OK(smpo_sampler_move(session, sampler, which, from_host(spec_of(SMPO_F32, {2, kChannels, 6, 5}), moves),
                              &clean, &error));
  const int32_t moved[2] = {2, 2};
  EXPECT_OK(smpo_sampler_candidate(session, sampler, moved, &taken, &error));
  const std::vector<float> to = to_host<float>(taken);
  std::vector<double> next(to.begin(), to.end()), wanted, reached;
  for (size_t i = 0; i < to.size(); ++i) {
    EXPECT_EQ(to[i], from[i] + moves[i]);
    reached.push_back(moves[i] / (rows[1].history[0] * rows[1].history_output));
  }
  // Its clean latents are those of its own prediction, and its target moves by the move over B.
  const std::vector<double> output = guided(next, rows[2].timestep);
  for (size_t i = 0; i < next.size(); ++i) wanted.push_back(1.25 * next[i] - 0.75 * output[i]);
  expect_close(to_host<float>(clean), wanted);
  EXPECT_OK(smpo_sampler_pairs(session, sampler, moved, which, &noised, &after, &error));
  const std::vector<float> old_target = to_host<float>(before), new_target = to_host<float>(after);
  std::vector<float> by;
  for (size_t i = 0; i < to.size(); ++i) by.push_back(new_target[i] - old_target[i]);
  expect_close(by, reached);
  EXPECT_EQ(std::vector<float>(new_target.begin() + static_cast<std::ptrdiff_t>(to.size()), new_target.end()),
            std::vector<float>(old_target.begin() + static_cast<std::ptrdiff_t>(to.size()), old_target.end()));
  EXPECT_EQ(latents(sampler), x);

  // Choosing it continues from it, with the prediction that it has.
  select(sampler, {2, 1});
  std::vector<float> chosen(to.begin(), to.begin() + kImage);
  const std::vector<float> now = latents(sampler);
  EXPECT_EQ(std::vector<float>(now.begin(), now.begin() + kImage), chosen);
  const std::vector<float> one_step = fork(sampler, {items_[0], items_[1]});
  select(sampler, {0, 0});
  EXPECT_EQ(latents(sampler), one_step);

  const int32_t third[2] = {0, 3};
  fork(open(rows), {1, 2, 3, 4});
  const smpo_sampler other = open(rows);
  fork(other, {1, 2, 3, 4});
  expect_refused(smpo_sampler_candidate(session, other, third, &taken, &error), SMPO_INVALID_ARGUMENT,
                 "which[1]: expected 0..1, got 3");
  expect_refused(
      smpo_sampler_move(session, other, which,
                        from_host(spec_of(SMPO_F32, {1, kChannels, 6, 5}), std::vector<float>(kImage)), &clean, &error),
      SMPO_SHAPE_MISMATCH, "move: expected [2,4,6,5] as the latents, got [1,4,6,5]");
}

TEST_F(CandidatesTest, AMoveOfNothingIsTheSameCandidate) {
  guide(3, 0);
  const smpo_sampler sampler = open(noisy());
  const std::vector<float> clean = fork(sampler, {7, 8, 9, 10});
  const int32_t which[2] = {0, 0};
  smpo_tensor again = 0;
  EXPECT_OK(smpo_sampler_move(session, sampler, which, zeros(spec_of(SMPO_F32, {2, kChannels, 6, 5})), &again, &error));
  EXPECT_EQ(to_host<float>(again), std::vector<float>(clean.begin(), clean.begin() + 2 * kImage));
}

TEST_F(CandidatesTest, RulesOfSeveralStepsAreRefused) {
  for (const char* field : {"saves", "history", "input_scale"}) {
    std::vector<smpo_sampler_row> rows = noisy();
    if (std::string(field) == "saves") rows[1].saves = 1;
    if (std::string(field) == "history") rows[1].history[1] = 0.1;
    if (std::string(field) == "input_scale") rows[1].input_scale = 0.5;
    expect_refused(try_fork(open(rows)), SMPO_UNSUPPORTED,
                   "plan.rows[1]: expected a rule of one step with input_scale 1");
  }
  std::vector<smpo_sampler_row> rows = noisy();
  rows[0].noise = 0;
  expect_refused(try_fork(open(rows)), SMPO_INVALID_ARGUMENT, "plan.rows[0]: expected noise and history[0]");
}

TEST_F(CandidatesTest, CallsInTheWrongOrderAreRefused) {
  const smpo_sampler sampler = open(noisy());
  const int32_t first[2] = {0, 0};
  smpo_tensor noised = 0, target = 0;
  const char* none = "sampler: expected smpo_sampler_fork first, since there are no candidates";
  expect_refused(smpo_sampler_select(session, sampler, first, &error), SMPO_INVALID_ARGUMENT, none);
  expect_refused(smpo_sampler_pairs(session, sampler, first, first, &noised, &target, &error), SMPO_INVALID_ARGUMENT,
                 none);
  fork(sampler, {1, 2, 3, 4});
  const char* waiting = "sampler: expected smpo_sampler_select first, since candidates await a choice";
  expect_refused(smpo_sampler_step(session, sampler, 1, &error), SMPO_INVALID_ARGUMENT, waiting);
  expect_refused(try_fork(sampler), SMPO_INVALID_ARGUMENT, waiting);
  const int32_t third[2] = {0, 2}, left_out[2] = {-1, -1}, half[2] = {-1, 0};
  expect_refused(smpo_sampler_select(session, sampler, third, &error), SMPO_INVALID_ARGUMENT,
                 "chosen[1]: expected 0..1, got 2");
  expect_refused(smpo_sampler_select(session, sampler, left_out, &error), SMPO_INVALID_ARGUMENT,
                 "chosen[0]: expected 0..1, got -1");
  expect_refused(smpo_sampler_pairs(session, sampler, third, first, &noised, &target, &error), SMPO_INVALID_ARGUMENT,
                 "winner[1]: expected -1..1, got 2");
  expect_refused(smpo_sampler_pairs(session, sampler, half, first, &noised, &target, &error), SMPO_INVALID_ARGUMENT,
                 "loser[0]: expected -1 where winner is -1");
  expect_refused(smpo_sampler_pairs(session, sampler, left_out, left_out, &noised, &target, &error),
                 SMPO_INVALID_ARGUMENT, "winner: expected at least one image that is not left out");
  select(sampler, {0, 1});
}

}  // namespace
}  // namespace smpo::test
