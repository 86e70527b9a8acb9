// A batch of pairs compared with the same rules written with smpo_unet_forward and smpo_unet_backward, in double where
// the batch uses f32.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <functional>
#include <initializer_list>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

// Legend: W pairs, R = 2W images, winners first, and N elements of a latent.
namespace smpo::test {
namespace {

constexpr int64_t kW = 3, kR = 2 * kW;
constexpr int64_t kChannels = 4, kHeight = 6, kWidth = 5, kN = kChannels * kHeight * kWidth;
constexpr int64_t kTokens = 7, kTextWidth = 6, kPooled = 5, kSizes = 6;
constexpr uint32_t kStep = 12;

// One timestep per image: the first has no inversion step under some semantics, the others have few or many.
constexpr int32_t kTimesteps[kR] = {0, 999, 201, 1, 602, 60};

// The f32 error of a prediction is 1e-6; that of gradients is larger, because their terms cancel.
constexpr double kClose = 1e-5;

using Doubles = std::vector<double>;

double distance(const Doubles& values, const Doubles& wanted) {
  EXPECT_EQ(values.size(), wanted.size());
  double error2 = 0, norm2 = 0;
  for (size_t i = 0; i < std::min(values.size(), wanted.size()); ++i) {
    error2 += std::pow(values[i] - wanted[i], 2);
    norm2 += std::pow(wanted[i], 2);
  }
  return norm2 == 0 ? std::sqrt(error2) : std::sqrt(error2 / norm2);
}

/// Expects a relative L2 distance within `limit`, and shows that three times as much is detected.
void expect_close(const Doubles& values, const Doubles& wanted, double limit = kClose) {
  EXPECT_LE(distance(values, wanted), limit);
  Doubles mutated = values;
  for (double& value : mutated) value *= 1 + 3 * limit;
  const bool nothing = std::ranges::all_of(wanted, [](double x) { return x == 0; });
  EXPECT_TRUE(nothing || distance(mutated, wanted) > limit) << "the comparison is too loose";
}

Doubles widened(const std::vector<float>& values) { return {values.begin(), values.end()}; }

Doubles rows_of(const Doubles& all, const std::vector<int64_t>& rows, int64_t size) {
  Doubles chosen;
  for (const int64_t row : rows) chosen.insert(chosen.end(), all.begin() + row * size, all.begin() + (row + 1) * size);
  return chosen;
}

/// An inversion plan that owns its numbers.
struct Plan {
  std::vector<int32_t> row_start = {0};
  Doubles timestep, sample, output, noise;
  std::vector<uint8_t> averages;
  Doubles target_sample = Doubles(kR), target_clean = Doubles(kR);
  uint32_t inversion_batch = 3;

  void add(double t, double from, double to) {
    timestep.push_back(t);
    sample.push_back(std::sqrt(to / from));
    output.push_back(std::sqrt(1 - to) - sample.back() * std::sqrt(1 - from));
    noise.push_back(0);
    averages.push_back(1);
  }
  smpo_inversion_plan spec() const {
    auto plan = sized<smpo_inversion_plan>();
    plan.inversion_batch = inversion_batch;
    plan.row_start = row_start.data();
    plan.timestep = timestep.data();
    plan.sample = sample.data();
    plan.output = output.data();
    plan.noise = noise.data();
    plan.averages = averages.data();
    plan.target_sample = target_sample.data();
    plan.target_clean = target_clean.data();
    return plan;
  }
  int64_t evaluations(int64_t row) const {
    int64_t count = 0;
    for (int32_t k = row_start[row]; k < row_start[row + 1]; ++k) count += averages[k] == 0 ? 1 : 2;
    return count;
  }
};

/// alphas_cumprod of Stable Diffusion 1 by timestep.
Doubles alphas_cumprod() {
  Doubles alphas;
  double product = 1;
  for (int i = 0; i < 1000; ++i) {
    const double root = std::sqrt(0.00085) + (std::sqrt(0.012) - std::sqrt(0.00085)) * i / 999;
    alphas.push_back(product *= 1 - root * root);
  }
  return alphas;
}

enum class Reading { kV020, kV022, kExact };

/// A plan with a grid of five steps: 1, 201, ..., 801.
Plan plan_of(Reading reading) {
  const Doubles alphas = alphas_cumprod();
  const auto level = [&](int64_t t) { return alphas[static_cast<size_t>(std::max<int64_t>(t, 0))]; };
  Plan plan;
  for (int64_t row = 0; row < kR; ++row) {
    const int64_t t = kTimesteps[row];
    int64_t before = -1;
    for (int64_t point = 1; point < 1000; point += 200) {
      if (reading == Reading::kV020 && point - 200 < t) {
        plan.add(static_cast<double>(point - 200), level(point - 200), level(point));
      } else if (reading == Reading::kV022 && point < t) {
        plan.add(static_cast<double>(point), level(point - 200), level(point));
      } else if (reading == Reading::kExact && point < t) {
        plan.add(static_cast<double>(point), level(before), level(point));
        before = point;
      }
    }
    if (reading == Reading::kExact) plan.add(static_cast<double>(t), level(before), level(t));
    plan.row_start.push_back(static_cast<int32_t>(plan.timestep.size()));
    plan.target_sample[row] = 1 / std::sqrt(1 - level(t));
    plan.target_clean[row] = -std::sqrt(level(t)) / std::sqrt(1 - level(t));
  }
  return plan;
}

/// A plan in which some steps average and some add noise.
Plan mixed_plan() {
  Plan plan = plan_of(Reading::kV020);
  for (size_t k = 0; k < plan.averages.size(); ++k) {
    plan.averages[k] = k % 3 == 1 ? 1 : 0;
    plan.noise[k] = k % 2 == 0 ? 0.1 : 0;
  }
  return plan;
}

smpo_unet_spec text_time_spec() {
  smpo_unet_spec spec = tiny_unet_spec();
  spec.addition_time_embed_dim = 2;
  spec.projection_class_embeddings_input_dim = kPooled + 2 * kSizes;
  return spec;
}

smpo_pair_loss loss_of(int32_t kind) {
  auto loss = sized<smpo_pair_loss>();
  loss.kind = kind;
  const auto own = [&loss](std::initializer_list<double> parameters) {
    loss.parameter_count = static_cast<uint32_t>(parameters.size());
    std::copy(parameters.begin(), parameters.end(), loss.parameters);
  };
  loss.strength = 1.5;
  switch (static_cast<smpo_pair_loss_kind>(kind)) {
    case SMPO_PAIR_LOSS_DPO:
    case SMPO_PAIR_LOSS_NPO:
    case SMPO_PAIR_LOSS_CAPO:
    case SMPO_PAIR_LOSS_SFT:
    case SMPO_PAIR_LOSS_HINGE:
      break;
    case SMPO_PAIR_LOSS_SMPO:
      own({10});
      break;
    case SMPO_PAIR_LOSS_DMPO:
      own({0.1});
      break;
    case SMPO_PAIR_LOSS_IPO:
      own({0.7});
      break;
    case SMPO_PAIR_LOSS_ROBUST:
      own({0.2});
      break;
    case SMPO_PAIR_LOSS_PSEUDO_HUBER:
      own({0.01});
      break;
    case SMPO_PAIR_LOSS_SPO:
      own({0.1});
      break;
    case SMPO_PAIR_LOSS_KTO:
      own({1.1, 0.9});
      break;
    case SMPO_PAIR_LOSS_MAPO:
      own({0.5, 20, 0.3});
      break;
  }
  return loss;
}

/// Forward noise per image: the schedule's coefficients, or ones that no schedule has.
struct NoiseTable {
  double sample[kR] = {0.9, 0.1, 0.5, 1, 0, -0.3};
  double noise[kR] = {0.4, 0.99, 0.8, 0, 1, 0.2};
  double target_sample[kR] = {0, 0.5, -0.8, 1, 0, 0.1};
  double target_noise[kR] = {1, 0.5, 0.5, 0, 1, -0.4};
};
constexpr NoiseTable kNoise;

/// Values per pair of the batch; a micro-batch takes its part.
constexpr double kLabel[kW] = {0.7, 0.58, 0.4};
constexpr double kLogitScale[kW] = {1.5, 0.7, 1};
constexpr double kWeight[kW] = {0.5, 2, 1};
/// KTO's reference point.
constexpr double kMeanGain = 0.02;

struct PairValue {
  double logit = 0;
  double loss = 0;
};

/// Each loss as printed in its paper; see kernels/preference_loss.h for the sources.
PairValue pair_value(const smpo_pair_loss& loss, const std::array<double, 4>& errors, int64_t pair,
                     double mean_gain = kMeanGain) {
  const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
  const auto [winner, loser, reference_winner, reference_loser] = errors;
  const double k = loss.strength * kLogitScale[pair];
  const double* own = loss.parameters;
  const double label = kLabel[pair];
  const double u = -k * ((winner - loser) - (reference_winner - reference_loser));
  PairValue value{.logit = u};
  switch (loss.kind) {
    case SMPO_PAIR_LOSS_DPO:
      value.loss = -std::log(sigmoid(u));
      break;
    case SMPO_PAIR_LOSS_SMPO:
      value.logit = own[0] * (2 * label - 1) * u;
      value.loss = -std::log(sigmoid(value.logit));
      break;
    case SMPO_PAIR_LOSS_NPO:
      value.loss = -std::log(sigmoid(-u));
      break;
    case SMPO_PAIR_LOSS_DMPO:
      value.loss = sigmoid(u) * std::log(sigmoid(u) / (1 - own[0])) + sigmoid(-u) * std::log(sigmoid(-u) / own[0]);
      break;
    case SMPO_PAIR_LOSS_IPO:
      value.loss = std::pow(u - own[0], 2);
      break;
    case SMPO_PAIR_LOSS_CAPO:
      value.loss = std::pow(u - label, 2);
      break;
    case SMPO_PAIR_LOSS_KTO: {
      const double z = mean_gain;
      value.loss = (own[0] * (1 - sigmoid(k * (reference_winner - winner - z))) +
                    own[1] * (1 - sigmoid(-k * (reference_loser - loser - z)))) /
                   2;
      break;
    }
    case SMPO_PAIR_LOSS_MAPO: {
      const auto score = [&](double x) { return own[0] * x / std::expm1(own[0] * x); };
      value.logit = own[1] * (score(winner) - score(loser));
      value.loss = winner - own[2] * std::log(sigmoid(value.logit));
      break;
    }
    case SMPO_PAIR_LOSS_HINGE:
      value.loss = std::max(0.0, 1 - u);
      break;
    case SMPO_PAIR_LOSS_ROBUST:
      value.loss = (-(1 - own[0]) * std::log(sigmoid(u)) + own[0] * std::log(sigmoid(-u))) / (1 - 2 * own[0]);
      break;
    case SMPO_PAIR_LOSS_SPO: {
      const auto ratio = [&](double gain) {
        return std::clamp(kLogitScale[pair] * gain, std::log(1 - own[0]), std::log(1 + own[0]));
      };
      value.logit = loss.strength * (ratio(reference_winner - winner) - ratio(reference_loser - loser));
      value.loss = -std::log(sigmoid(value.logit));
      break;
    }
    case SMPO_PAIR_LOSS_SFT:
      value.logit = 0;
      value.loss = winner;
      break;
    default:
      ADD_FAILURE() << "no such loss";
  }
  if (loss.budget_weight != 0 && loss.kind != SMPO_PAIR_LOSS_MAPO && loss.kind != SMPO_PAIR_LOSS_SFT) {
    const double rise = loss.kind == SMPO_PAIR_LOSS_NPO ? loser - reference_loser : winner - reference_winner;
    value.loss += loss.budget_weight * std::max(0.0, k * rise - loss.budget);
  }
  return value;
}

struct Results {
  Doubles errors = Doubles(4 * kW), logits = Doubles(kW), losses = Doubles(kW);
  double loss_sum = 0;
};

class PairBatchTest : public BorderTest {
 protected:
  PairBatchTest() {
    inputs_.pairs = kW;
    inputs_.step = kStep;
    inputs_.keep_predictions = 1;
    inputs_.latents = some_tensor(session, {kR, kChannels, kHeight, kWidth}, 31);
    inputs_.encoder_hidden_states = some_tensor(session, {kW, kTokens, kTextWidth}, 32);
    inputs_.text_embeds = some_tensor(session, {kW, kPooled}, 33);
    inputs_.time_ids = some_tensor(session, {kR, kSizes}, 34);
    inputs_.timesteps = kTimesteps;
    inputs_.items = items_;
    clean_ = widened(to_host<float>(inputs_.latents));
    states_ = widened(to_host<float>(inputs_.encoder_hidden_states));
    embeds_ = widened(to_host<float>(inputs_.text_embeds));
    sizes_ = widened(to_host<float>(inputs_.time_ids));
  }

  // ---- models

  /// `away`: relative difference of the weights from those with away = 0.
  smpo_model unet(bool trainable, double away = 0, bool checkpointing = false, int32_t precision = SMPO_F32) {
    auto options = f32_options();
    options.precision = precision;
    options.trainable = trainable ? 1 : 0;
    options.checkpointing = checkpointing ? 1 : 0;
    const smpo_unet_spec spec = text_time_spec();
    smpo_model model = 0;
    EXPECT_OK(smpo_unet_open(session, &spec, &options, &model, &error));
    write_missing(session, model);
    if (away != 0) {
      uint64_t salt = 1000;
      for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
        const auto host = host_spec_of(parameter);
        std::vector<float> values(elements_of(host));
        const uint64_t bytes = values.size() * sizeof(float);
        EXPECT_OK(smpo_model_read_parameter(session, model, parameter.name, &host, values.data(), bytes, &error));
        const std::vector<float> direction = some_floats(values.size(), ++salt);
        for (size_t i = 0; i < values.size(); ++i) values[i] *= static_cast<float>(1 + away * direction[i]);
        EXPECT_OK(smpo_model_write_parameter(session, model, parameter.name, &host, values.data(), bytes, &error));
      }
    }
    return model;
  }
  smpo_model adapted(double scale = 1, int32_t precision = SMPO_F32) {
    const smpo_model model = unet(/*trainable=*/false, 0, false, precision);
    const char* modules[] = {"conv_in", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"};
    auto lora = sized<smpo_lora_spec>();
    lora.rank = 2;
    lora.alpha = 4;
    lora.module_count = 2;
    lora.modules = modules;
    EXPECT_OK(smpo_model_add_lora(session, model, &lora, &error));
    for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
      if (std::string(parameter.name).find("lora") == std::string::npos) continue;
      const auto host = host_spec_of(parameter);
      const std::vector<float> values = some_floats(elements_of(host), 5);
      EXPECT_OK(smpo_model_write_parameter(session, model, parameter.name, &host, values.data(),
                                           values.size() * sizeof(float), &error));
    }
    EXPECT_OK(smpo_model_set_lora_scale(session, model, scale, &error));
    return model;
  }

  smpo_tensor tensor(std::initializer_list<int64_t> shape, const Doubles& values) {
    return from_host(spec_of(SMPO_F32, shape), std::vector<float>(values.begin(), values.end()));
  }

  /// Conditioning of these images.
  smpo_unet_inputs unet_inputs(const std::vector<int64_t>& images, const Doubles& x, const Doubles& timesteps) {
    const auto count = static_cast<int64_t>(images.size());
    std::vector<int64_t> pairs;
    for (const int64_t image : images) pairs.push_back(image % kW);
    auto inputs = sized<smpo_unet_inputs>();
    inputs.sample = tensor({count, kChannels, kHeight, kWidth}, x);
    inputs.timesteps = tensor({count}, timesteps);
    inputs.encoder_hidden_states = tensor({count, kTokens, kTextWidth}, rows_of(states_, pairs, kTokens * kTextWidth));
    inputs.text_embeds = tensor({count, kPooled}, rows_of(embeds_, pairs, kPooled));
    inputs.time_ids = tensor({count, kSizes}, rows_of(sizes_, images, kSizes));
    return inputs;
  }
  Doubles predict(smpo_model model, const std::vector<int64_t>& images, const Doubles& x, const Doubles& timesteps) {
    const smpo_unet_inputs inputs = unet_inputs(images, x, timesteps);
    smpo_tensor output = 0;
    EXPECT_OK(smpo_unet_forward(session, model, &inputs, &output, &error));
    return widened(to_host<float>(output));
  }
  static std::vector<int64_t> every_image() {
    std::vector<int64_t> images(kR);
    std::iota(images.begin(), images.end(), 0);
    return images;
  }
  static Doubles every_timestep() { return {std::begin(kTimesteps), std::end(kTimesteps)}; }

  Doubles normal(uint32_t purpose, const std::vector<int64_t>& items) {
    const auto count = static_cast<int64_t>(items.size());
    const smpo_tensor drawn = zeros(spec_of(SMPO_F32, {count, kChannels, kHeight, kWidth}));
    EXPECT_OK(smpo_tensor_fill_normal(session, drawn, purpose, kStep, items.data(), items.size(), &error));
    return widened(to_host<float>(drawn));
  }

  Doubles gradients(smpo_model model) {
    Doubles all;
    for (const smpo_parameter_info& parameter : parameters_of(session, model)) {
      if (parameter.trainable == 0) continue;
      const auto host = host_spec_of(parameter);
      std::vector<float> values(elements_of(host));
      EXPECT_OK(smpo_model_read_gradient(session, model, parameter.name, &host, values.data(),
                                         values.size() * sizeof(float), &error));
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  // ---- the batch

  smpo_pair_batch open() {
    smpo_pair_batch batch = 0;
    EXPECT_OK(smpo_pair_batch_open(session, &inputs_, &batch, &error));
    return batch;
  }
  smpo_inversion_report invert(smpo_pair_batch batch, smpo_model model, const Plan& plan) {
    const smpo_inversion_plan spec = plan.spec();
    auto report = sized<smpo_inversion_report>();
    EXPECT_OK(smpo_pair_batch_invert(session, batch, model, &spec, &report, &error));
    return report;
  }
  Doubles part(smpo_pair_batch batch, int32_t which) {
    smpo_tensor tensor = 0;
    EXPECT_OK(smpo_pair_batch_tensor(session, batch, which, &tensor, &error));
    const Doubles values = widened(to_host<float>(tensor));
    close(tensor);
    return values;
  }
  smpo_pair_batch noised() {
    const smpo_pair_batch batch = open();
    add_noise(batch, /*per_image=*/1);
    return batch;
  }
  void add_noise(smpo_pair_batch batch, int32_t per_image) {
    auto noise = sized<smpo_forward_noise>();
    noise.per_image = per_image;
    noise.sample = kNoise.sample;
    noise.noise = kNoise.noise;
    noise.target_sample = kNoise.target_sample;
    noise.target_noise = kNoise.target_noise;
    EXPECT_OK(smpo_pair_batch_add_noise(session, batch, &noise, &error));
  }
  static smpo_micro_batch micro_batch_of(uint32_t first, uint32_t pairs, int32_t backward = 1) {
    auto micro_batch = sized<smpo_micro_batch>();
    micro_batch.first_pair = first;
    micro_batch.pairs = pairs;
    micro_batch.backward = backward;
    micro_batch.gradient_scale = 1.0 / kW;
    micro_batch.label = kLabel + first;
    micro_batch.logit_scale = kLogitScale + first;
    micro_batch.weight = kWeight + first;
    micro_batch.mean_gain = &kMeanGain;
    return micro_batch;
  }
  void accumulate(smpo_pair_batch batch, smpo_model policy, smpo_model reference, const smpo_pair_loss& loss,
                  const smpo_micro_batch& micro_batch) {
    EXPECT_OK(smpo_pair_batch_accumulate(session, batch, policy, reference, &loss, &micro_batch, &error));
  }
  Results read(smpo_pair_batch batch) {
    Results results;
    auto spec = sized<smpo_pair_results>();
    spec.pairs = kW;
    spec.errors = results.errors.data();
    spec.logits = results.logits.data();
    spec.losses = results.losses.data();
    EXPECT_OK(smpo_pair_batch_read(session, batch, &spec, &error));
    results.loss_sum = spec.loss_sum;
    return results;
  }
  void expect_same(const Results& results, const Results& wanted, double limit) {
    expect_close(results.errors, wanted.errors, limit);
    expect_close(results.logits, wanted.logits, 100 * limit);  // differences of errors
    expect_close(results.losses, wanted.losses, 100 * limit);
    expect_close({results.loss_sum}, {wanted.loss_sum}, 100 * limit);
  }

  // ---- the rules in double

  struct Inverted {
    Doubles noised, target;
  };
  /// The norm of each image's difference.
  Inverted inverted(smpo_model model, const Plan& plan) {
    Inverted result;
    for (int64_t row = 0; row < kR; ++row) {
      const Doubles x0 = rows_of(clean_, {row}, kN);
      Doubles x = x0;
      for (int32_t k = plan.row_start[row]; k < plan.row_start[row + 1]; ++k) {
        const Doubles e1 = predict(model, {row}, x, {plan.timestep[k]});
        Doubles e2 = e1;
        if (plan.averages[k] != 0) {
          Doubles guess(kN);
          for (int64_t i = 0; i < kN; ++i) guess[i] = plan.sample[k] * x[i] + plan.output[k] * e1[i];
          e2 = predict(model, {row}, guess, {plan.timestep[k]});
        }
        const Doubles n = normal(6, {items_[row] * 4096 + (k - plan.row_start[row])});
        for (int64_t i = 0; i < kN; ++i) {
          x[i] = plan.sample[k] * x[i] + plan.output[k] * (e1[i] + e2[i]) / 2 + plan.noise[k] * n[i];
        }
      }
      for (int64_t i = 0; i < kN; ++i) {
        result.target.push_back(plan.target_sample[row] * x[i] + plan.target_clean[row] * x0[i]);
      }
      result.noised.insert(result.noised.end(), x.begin(), x.end());
    }
    return result;
  }
  /// Compares image by image, because a norm over all would hide errors in a small target.
  void expect_inverted(smpo_pair_batch batch, const Inverted& wanted) {
    const Doubles x = part(batch, SMPO_PAIR_BATCH_NOISED), target = part(batch, SMPO_PAIR_BATCH_TARGET);
    for (int64_t row = 0; row < kR; ++row) {
      SCOPED_TRACE(testing::Message() << "image " << row);
      expect_close(rows_of(x, {row}, kN), rows_of(wanted.noised, {row}, kN));
      expect_close(rows_of(target, {row}, kN), rows_of(wanted.target, {row}, kN));
    }
  }

  struct Expected {
    Results results;
    Doubles prediction, reference_prediction;
    Doubles gradients;  // gradients of `policy`, which were zero before
  };
  /// All pairs of the batch at once. `policy` must not be the tested model, because its gradients are overwritten.
  Expected expected(smpo_pair_batch batch, smpo_model policy, smpo_model reference, const smpo_pair_loss& loss) {
    const Doubles x = part(batch, SMPO_PAIR_BATCH_NOISED), target = part(batch, SMPO_PAIR_BATCH_TARGET);
    Expected wanted;
    wanted.prediction = predict(policy, every_image(), x, every_timestep());
    const bool compares = loss.kind != SMPO_PAIR_LOSS_MAPO && loss.kind != SMPO_PAIR_LOSS_SFT;
    wanted.reference_prediction = compares ? predict(reference, every_image(), x, every_timestep()) : Doubles(kR * kN);
    const auto error_of = [&](const Doubles& prediction, int64_t row) {
      double sum = 0;
      for (int64_t i = row * kN; i < (row + 1) * kN; ++i) sum += std::pow(prediction[i] - target[i], 2);
      return sum / kN;
    };
    Doubles cotangent(kR * kN);
    for (int64_t pair = 0; pair < kW; ++pair) {
      std::array<double, 4> errors = {error_of(wanted.prediction, pair), error_of(wanted.prediction, kW + pair), 0, 0};
      if (compares) {
        errors[2] = error_of(wanted.reference_prediction, pair);
        errors[3] = error_of(wanted.reference_prediction, kW + pair);
      }
      for (int64_t kind = 0; kind < 4; ++kind) wanted.results.errors[kind * kW + pair] = errors[kind];
      const PairValue value = pair_value(loss, errors, pair);
      wanted.results.logits[pair] = value.logit;
      wanted.results.losses[pair] = value.loss;
      wanted.results.loss_sum += kWeight[pair] * value.loss / kW;

      // Gradients of the output are 2 (prediction - target) / N. NPO favours the loser, every other loss the winner.
      double inner = 0, favoured_norm2 = 0;
      const int favoured = loss.kind == SMPO_PAIR_LOSS_NPO ? 1 : 0;
      for (int64_t i = 0; i < kN; ++i) {
        const int64_t w = pair * kN + i, l = (kW + pair) * kN + i;
        const double winner = 2 * (wanted.prediction[w] - target[w]) / kN;
        const double loser = 2 * (wanted.prediction[l] - target[l]) / kN;
        inner += winner * loser;
        favoured_norm2 += favoured == 0 ? winner * winner : loser * loser;
      }
      for (const int side : {0, 1}) {
        const double h = 1e-5 * errors[side];
        std::array<double, 4> above = errors, below = errors;
        above[side] += h;
        below[side] -= h;
        double slope = (pair_value(loss, above, pair).loss - pair_value(loss, below, pair).loss) / (2 * h);
        if (side != favoured && loss.safeguard == 1 && inner > 0) {
          slope *= std::clamp((1 - loss.safeguard_mu) * favoured_norm2 / (inner + 1e-9), 0.0, 1.0);
        }
        const int64_t row = side * kW + pair;
        for (int64_t i = row * kN; i < (row + 1) * kN; ++i) {
          cotangent[i] = kWeight[pair] / kW * slope * 2 * (wanted.prediction[i] - target[i]) / kN;
        }
      }
    }
    const smpo_unet_inputs inputs = unet_inputs(every_image(), x, every_timestep());
    smpo_tensor output = 0;
    EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
    EXPECT_OK(smpo_unet_backward(session, policy, &inputs, tensor({kR, kChannels, kHeight, kWidth}, cotangent), &output,
                                 nullptr, &error));
    wanted.gradients = gradients(policy);
    EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
    return wanted;
  }

  const int64_t items_[kR] = {3, 14, (int64_t{1} << 44) - 1, 15, 92, 6};
  smpo_pair_batch_inputs inputs_ = sized<smpo_pair_batch_inputs>();
  Doubles clean_, states_, embeds_, sizes_;
};

// ---- noised latents and targets

TEST_F(PairBatchTest, AddsNoise) {
  for (const int32_t per_image : {0, 1}) {
    const smpo_pair_batch batch = open();
    add_noise(batch, per_image);
    const Doubles x = part(batch, SMPO_PAIR_BATCH_NOISED), target = part(batch, SMPO_PAIR_BATCH_TARGET);
    std::vector<int64_t> items(std::begin(items_), std::end(items_));
    if (per_image == 0) std::copy_n(items_, kW, items.begin() + kW);
    const Doubles n = normal(5, items);
    int noticed = 0;
    for (int64_t i = 0; i < kR * kN; ++i) {
      const int64_t row = i / kN;
      // Coefficients, products and sum are rounded to f32.
      const auto expect = [&](double value, double of_sample, double of_noise) {
        const double bound = 3.001 * 0x1p-24 * (std::abs(of_sample * clean_[i]) + std::abs(of_noise * n[i]));
        ASSERT_NEAR(value, of_sample * clean_[i] + of_noise * n[i], bound);
        noticed += std::abs(value * (1 + 1e-6) - (of_sample * clean_[i] + of_noise * n[i])) > bound ? 1 : 0;
      };
      expect(x[i], kNoise.sample[row], kNoise.noise[row]);
      expect(target[i], kNoise.target_sample[row], kNoise.target_noise[row]);
    }
    EXPECT_GT(noticed, kR * kN) << "the comparison is too loose";
  }
}

TEST_F(PairBatchTest, NoiseDependsOnItemAndStep) {
  const Doubles whole = part(noised(), SMPO_PAIR_BATCH_NOISED);
  EXPECT_EQ(part(noised(), SMPO_PAIR_BATCH_NOISED), whole);
  ++inputs_.step;
  EXPECT_NE(part(noised(), SMPO_PAIR_BATCH_NOISED), whole);
}

TEST_F(PairBatchTest, InvertsByEveryReading) {
  const smpo_model model = unet(/*trainable=*/false);
  for (const Reading reading : {Reading::kV020, Reading::kV022, Reading::kExact}) {
    Plan plan = plan_of(reading);
    const Inverted wanted = inverted(model, plan);
    const int64_t evaluations = [&] {
      int64_t sum = 0;
      for (int64_t row = 0; row < kR; ++row) sum += plan.evaluations(row);
      return sum;
    }();
    for (const uint32_t size : {1u, 3u, 64u}) {
      SCOPED_TRACE(testing::Message() << "reading " << static_cast<int>(reading) << ", " << "inversion batch " << size);
      plan.inversion_batch = size;
      const smpo_pair_batch batch = open();
      const smpo_inversion_report report = invert(batch, model, plan);
      expect_inverted(batch, wanted);
      EXPECT_EQ(report.evaluations, evaluations);
      EXPECT_GE(report.batches, (evaluations + size - 1) / size);
      // Inversion batch sizes of one, and of all images at once.
      if (size == 1) {
        EXPECT_EQ(report.batches, evaluations);
      } else if (size == 64) {
        EXPECT_EQ(report.batches, plan.evaluations(1));
      }
      EXPECT_GT(report.unet_seconds, 0);
      EXPECT_GE(report.seconds, report.unet_seconds);
    }
  }
}

TEST_F(PairBatchTest, InvertsWithMixedAveragesAndFreshNoise) {
  const smpo_model model = unet(/*trainable=*/true);
  Plan plan = mixed_plan();
  const Inverted wanted = inverted(model, plan);
  for (const uint32_t size : {1u, 2u, 3u, 5u, 6u}) {
    SCOPED_TRACE(testing::Message() << "inversion batch " << size);
    plan.inversion_batch = size;
    const smpo_pair_batch batch = open();
    invert(batch, model, plan);
    expect_inverted(batch, wanted);
  }
}

TEST_F(PairBatchTest, InvertsWithAdapters) {
  const Plan plan = plan_of(Reading::kV022);
  const smpo_model model = adapted();
  const Inverted wanted = inverted(model, plan);
  EXPECT_GT(distance(inverted(unet(/*trainable=*/false), plan).noised, wanted.noised), 1e-3);
  const smpo_pair_batch batch = open();
  invert(batch, model, plan);
  expect_inverted(batch, wanted);
}

// Every image has noise of its own at the start and at steps, and the prompt is the rollout's.
TEST_F(PairBatchTest, RollsOutFromNoisedLatents) {
  const smpo_model model = unet(/*trainable=*/false);
  Plan plan = plan_of(Reading::kExact);
  for (size_t k = 0; k < plan.averages.size(); ++k) {
    plan.averages[k] = k % 3 == 1 ? 1 : 0;
    plan.noise[k] = k % 2 == 0 ? 0.1 : 0;
  }
  const Doubles start_sample = {0.9, 0.5, 0.1, 0.3, 0, 1}, start_noise = {0.1, 0.8, 1, 0.4, 0.9, 0};
  const Doubles target_output = {0.7, 0.2, 1, 0.5, 0, 0.3}, target_noise = {0.6, 0.9, 0, 0.4, 1, 0};
  const smpo_pair_batch batch = open();
  // From here on, the prompt of every pair is the first one's.
  for (size_t i = 0; i < states_.size(); ++i) states_[i] = states_[i % (states_.size() / kW)];
  for (size_t i = 0; i < embeds_.size(); ++i) embeds_[i] = embeds_[i % (embeds_.size() / kW)];
  const Doubles first = normal(5, {std::begin(items_), std::end(items_)});
  Inverted wanted;
  for (int64_t row = 0; row < kR; ++row) {
    const Doubles x0 = rows_of(clean_, {row}, kN);
    Doubles x(kN), e, n;
    for (int64_t i = 0; i < kN; ++i) x[i] = start_sample[row] * x0[i] + start_noise[row] * first[row * kN + i];
    for (int32_t k = plan.row_start[row]; k < plan.row_start[row + 1]; ++k) {
      e = predict(model, {row}, x, {plan.timestep[k]});
      if (plan.averages[k] != 0) {
        Doubles guess(kN);
        for (int64_t i = 0; i < kN; ++i) guess[i] = plan.sample[k] * x[i] + plan.output[k] * e[i];
        const Doubles second = predict(model, {row}, guess, {plan.timestep[k]});
        for (int64_t i = 0; i < kN; ++i) e[i] = (e[i] + second[i]) / 2;
      }
      n = normal(6, {items_[row] * 4096 + (k - plan.row_start[row])});
      for (int64_t i = 0; i < kN; ++i) x[i] = plan.sample[k] * x[i] + plan.output[k] * e[i] + plan.noise[k] * n[i];
    }
    for (int64_t i = 0; i < kN; ++i) {
      wanted.target.push_back(plan.target_sample[row] * x[i] + plan.target_clean[row] * x0[i] +
                              target_output[row] * e[i] + target_noise[row] * n[i]);
    }
    wanted.noised.insert(wanted.noised.end(), x.begin(), x.end());
  }
  const auto one_row = [](const Doubles& all) {
    return Doubles(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / kW));
  };
  const auto width = static_cast<int64_t>(states_.size()) / kW / kTokens;
  auto rollout = sized<smpo_rollout>();
  rollout.start_sample = start_sample.data();
  rollout.start_noise = start_noise.data();
  rollout.target_output = target_output.data();
  rollout.target_noise = target_noise.data();
  rollout.encoder_hidden_states = tensor({1, kTokens, width}, one_row(states_));
  rollout.text_embeds = tensor({1, kPooled}, one_row(embeds_));
  for (const uint32_t size : {1u, 4u, 64u}) {
    SCOPED_TRACE(testing::Message() << "inversion batch " << size);
    plan.inversion_batch = size;
    const smpo_inversion_plan spec = plan.spec();
    auto report = sized<smpo_inversion_report>();
    EXPECT_OK(smpo_pair_batch_rollout(session, batch, model, &spec, &rollout, &report, &error));
    expect_inverted(batch, wanted);
    EXPECT_GT(report.evaluations, static_cast<uint64_t>(kR));
  }
}

TEST_F(PairBatchTest, ImagesWithoutAStepStayAsTheyAre) {
  const smpo_model model = unet(/*trainable=*/false);
  Plan plan;
  plan.row_start.resize(kR + 1);
  plan.timestep = plan.sample = plan.output = plan.noise = {0};  // none of them is read
  plan.averages = {0};
  plan.target_sample.assign(kR, 34.3);
  plan.target_clean.assign(kR, -34.2854);
  const smpo_pair_batch batch = open();
  const smpo_inversion_report report = invert(batch, model, plan);
  EXPECT_EQ(report.batches, 0u);
  EXPECT_EQ(report.evaluations, 0u);
  EXPECT_EQ(part(batch, SMPO_PAIR_BATCH_NOISED), clean_);
  const Doubles target = part(batch, SMPO_PAIR_BATCH_TARGET);
  for (size_t i = 0; i < target.size(); ++i) {
    ASSERT_EQ(target[i], static_cast<float>(34.3 * clean_[i] - 34.2854 * clean_[i]));
  }
}

TEST_F(PairBatchTest, ACancelledInversionLeavesThePairBatch) {
  const smpo_model model = unet(/*trainable=*/false);
  Plan plan = plan_of(Reading::kV020);
  // One image with more steps than complete before the cancellation.
  for (int32_t& start : plan.row_start) start = 0;
  plan.row_start[kR] = 4096;
  plan.timestep.assign(4096, 500);
  plan.sample.assign(4096, 1);
  plan.output.assign(4096, 0);
  plan.noise.assign(4096, 0);
  plan.averages.assign(4096, 1);
  const smpo_inversion_plan spec = plan.spec();
  const auto expect_cancelled = [&](smpo_pair_batch batch) {
    std::thread other([this] {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      EXPECT_EQ(smpo_session_cancel(session, nullptr), SMPO_OK);
    });
    EXPECT_EQ(smpo_pair_batch_invert(session, batch, model, &spec, nullptr, &error), SMPO_CANCELLED);
    other.join();
  };
  const smpo_pair_batch fresh = open();
  expect_cancelled(fresh);
  smpo_tensor tensor = 0;
  EXPECT_EQ(smpo_pair_batch_tensor(session, fresh, SMPO_PAIR_BATCH_NOISED, &tensor, &error), SMPO_INVALID_ARGUMENT);
  const smpo_pair_batch batch = noised();
  const Doubles x = part(batch, SMPO_PAIR_BATCH_NOISED), target = part(batch, SMPO_PAIR_BATCH_TARGET);
  expect_cancelled(batch);
  EXPECT_EQ(part(batch, SMPO_PAIR_BATCH_NOISED), x);
  EXPECT_EQ(part(batch, SMPO_PAIR_BATCH_TARGET), target);
  const Plan shorter = plan_of(Reading::kV022);
  invert(batch, model, shorter);
  expect_inverted(batch, inverted(model, shorter));
}

TEST_F(PairBatchTest, KeepsWhatItNeeds) {
  const smpo_model model = unet(/*trainable=*/false);
  const smpo_pair_batch batch = open();
  for (const smpo_tensor input :
       {inputs_.latents, inputs_.encoder_hidden_states, inputs_.text_embeds, inputs_.time_ids}) {
    close(input);
  }
  const Plan plan = plan_of(Reading::kV022);
  invert(batch, model, plan);
  expect_inverted(batch, inverted(model, plan));
  EXPECT_OK(smpo_pair_batch_close(session, batch, &error));
}

// ---- given noised latents

TEST_F(PairBatchTest, TakesNoisedLatentsAndTargets) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_SMPO);
  const smpo_pair_batch batch = noised();
  inputs_.latents = 0;
  const smpo_pair_batch given = open();
  smpo_tensor x = 0, target = 0;
  EXPECT_OK(smpo_pair_batch_tensor(session, batch, SMPO_PAIR_BATCH_NOISED, &x, &error));
  EXPECT_OK(smpo_pair_batch_tensor(session, batch, SMPO_PAIR_BATCH_TARGET, &target, &error));
  EXPECT_OK(smpo_pair_batch_set(session, given, x, target, &error));
  close(x);
  close(target);
  accumulate(batch, policy, reference, loss, micro_batch_of(0, kW));
  const Doubles gradient = gradients(policy);
  EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
  accumulate(given, policy, reference, loss, micro_batch_of(0, kW));
  EXPECT_EQ(read(given).errors, read(batch).errors);
  EXPECT_EQ(read(given).losses, read(batch).losses);
  EXPECT_EQ(gradients(policy), gradient);
  for (const int32_t which : {SMPO_PAIR_BATCH_NOISED, SMPO_PAIR_BATCH_TARGET, SMPO_PAIR_BATCH_PREDICTION}) {
    EXPECT_EQ(part(given, which), part(batch, which));
  }
}

struct Sharing {
  bool shared;
  double guidance_scale;
};

class GivenBatchTest : public PairBatchTest, public testing::WithParamInterface<Sharing> {
 protected:
  GivenBatchTest() {
    for (int64_t row = 0; row < kR; ++row) timesteps_[row] = kTimesteps[GetParam().shared ? row % kW : row];
    inputs_.timesteps = timesteps_;
    inputs_.latents = 0;
    inputs_.shared_sample = GetParam().shared ? 1 : 0;
    if (GetParam().shared) inputs_.time_ids = tensor({kW, kSizes}, rows_of(sizes_, samples(), kSizes));
    inputs_.guidance_scale = GetParam().guidance_scale;
    if (GetParam().guidance_scale == 0) return;
    inputs_.negative_encoder_hidden_states = some_tensor(session, {kW, kTokens, kTextWidth}, 42);
    inputs_.negative_text_embeds = some_tensor(session, {kW, kPooled}, 43);
    negative_states_ = widened(to_host<float>(inputs_.negative_encoder_hidden_states));
    negative_embeds_ = widened(to_host<float>(inputs_.negative_text_embeds));
  }

  /// The images whose samples the networks get.
  static std::vector<int64_t> samples() {
    std::vector<int64_t> all(GetParam().shared ? kW : kR);
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  Doubles sample_timesteps() const { return {timesteps_, timesteps_ + samples().size()}; }

  smpo_pair_batch given() {
    const smpo_pair_batch batch = open();
    const auto rows = static_cast<int64_t>(samples().size());
    EXPECT_OK(smpo_pair_batch_set(session, batch, tensor({rows, kChannels, kHeight, kWidth}, noised_),
                                  tensor({kR, kChannels, kHeight, kWidth}, target_), &error));
    return batch;
  }

  /// Calls `call` with the conditions of the negative prompts in place of the prompts'.
  template <typename Call>
  auto on_negative_side(const Call& call) {
    std::swap(states_, negative_states_);
    std::swap(embeds_, negative_embeds_);
    auto result = call();
    std::swap(states_, negative_states_);
    std::swap(embeds_, negative_embeds_);
    return result;
  }

  /// The predictions of all images.
  Doubles guided(smpo_model model) {
    const auto predicted = [&] { return predict(model, samples(), noised_, sample_timesteps()); };
    Doubles result = predicted();
    if (GetParam().guidance_scale != 0) {
      const Doubles negative = on_negative_side(predicted);
      for (size_t i = 0; i < result.size(); ++i) {
        result[i] = negative[i] + GetParam().guidance_scale * (result[i] - negative[i]);
      }
    }
    if (GetParam().shared) {
      const Doubles once = result;
      result.insert(result.end(), once.begin(), once.end());
    }
    return result;
  }

  bool backward(smpo_model policy, const Doubles& cotangent, double factor) {
    Doubles scaled = cotangent;
    for (double& value : scaled) value *= factor;
    const smpo_unet_inputs inputs = unet_inputs(samples(), noised_, sample_timesteps());
    const auto rows = static_cast<int64_t>(samples().size());
    smpo_tensor output = 0;
    EXPECT_OK(smpo_unet_backward(session, policy, &inputs, tensor({rows, kChannels, kHeight, kWidth}, scaled), &output,
                                 nullptr, &error));
    return true;
  }

  Expected expected_of_given(smpo_model policy, smpo_model reference, const smpo_pair_loss& loss) {
    Expected wanted;
    wanted.prediction = guided(policy);
    wanted.reference_prediction = guided(reference);
    const auto error_of = [&](const Doubles& prediction, int64_t row) {
      double sum = 0;
      for (int64_t i = row * kN; i < (row + 1) * kN; ++i) sum += std::pow(prediction[i] - target_[i], 2);
      return sum / kN;
    };
    Doubles cotangent(samples().size() * kN);
    for (int64_t pair = 0; pair < kW; ++pair) {
      const std::array<double, 4> errors = {error_of(wanted.prediction, pair), error_of(wanted.prediction, kW + pair),
                                            error_of(wanted.reference_prediction, pair),
                                            error_of(wanted.reference_prediction, kW + pair)};
      for (int64_t kind = 0; kind < 4; ++kind) wanted.results.errors[kind * kW + pair] = errors[kind];
      const PairValue value = pair_value(loss, errors, pair);
      wanted.results.logits[pair] = value.logit;
      wanted.results.losses[pair] = value.loss;
      wanted.results.loss_sum += kWeight[pair] * value.loss / kW;
      for (const int side : {0, 1}) {
        const double h = 1e-5 * errors[side];
        std::array<double, 4> above = errors, below = errors;
        above[side] += h;
        below[side] -= h;
        const double slope = (pair_value(loss, above, pair).loss - pair_value(loss, below, pair).loss) / (2 * h);
        const int64_t image = side * kW + pair, sample = GetParam().shared ? pair : image;
        for (int64_t i = 0; i < kN; ++i) {
          cotangent[sample * kN + i] +=
              kWeight[pair] / kW * slope * 2 * (wanted.prediction[image * kN + i] - target_[image * kN + i]) / kN;
        }
      }
    }
    const double scale = GetParam().guidance_scale;
    EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
    backward(policy, cotangent, scale == 0 ? 1 : scale);
    if (scale != 0) on_negative_side([&] { return backward(policy, cotangent, 1 - scale); });
    wanted.gradients = gradients(policy);
    EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
    return wanted;
  }

  int32_t timesteps_[kR] = {};
  Doubles negative_states_, negative_embeds_;
  Doubles noised_ = widened(some_floats(samples().size() * kN, 44));
  Doubles target_ = widened(some_floats(kR * kN, 45));
};

INSTANTIATE_TEST_SUITE_P(Sharing, GivenBatchTest,
                         testing::Values(Sharing{false, 0}, Sharing{true, 0}, Sharing{false, 5}, Sharing{true, 5},
                                         Sharing{true, 0.5}));

TEST_P(GivenBatchTest, LossesAndGradients) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  for (const int32_t kind : {SMPO_PAIR_LOSS_DPO, SMPO_PAIR_LOSS_SPO}) {
    const smpo_pair_loss loss = loss_of(kind);
    const Expected wanted = expected_of_given(policy, reference, loss);
    for (const uint32_t pairs : {1u, 2u, 3u}) {
      SCOPED_TRACE(testing::Message() << "kind " << kind << ", " << pairs << " at a time");
      const smpo_pair_batch batch = given();
      for (uint32_t first = 0; first < kW; first += pairs) {
        accumulate(batch, policy, reference, loss, micro_batch_of(first, std::min<uint32_t>(pairs, kW - first)));
      }
      expect_same(read(batch), wanted.results, 2e-6);
      expect_close(gradients(policy), wanted.gradients, 2e-5);
      expect_close(part(batch, SMPO_PAIR_BATCH_PREDICTION), wanted.prediction, 2e-6);
      expect_close(part(batch, SMPO_PAIR_BATCH_REFERENCE_PREDICTION), wanted.reference_prediction, 2e-6);
      EXPECT_EQ(part(batch, SMPO_PAIR_BATCH_NOISED).size(), noised_.size());
      EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
    }
  }
}

// The policy and its reference take the same path, so that adapters without effect give a logit of exactly 0.
TEST_P(GivenBatchTest, AdaptersOfScaleZeroHaveNoLogit) {
  for (const int32_t precision : {SMPO_F32, SMPO_BF16}) {
    const smpo_model policy = adapted(/*scale=*/0, precision);
    const smpo_pair_batch batch = given();
    accumulate(batch, policy, 0, loss_of(SMPO_PAIR_LOSS_SPO), micro_batch_of(0, kW));
    for (const double logit : read(batch).logits) EXPECT_EQ(logit, 0);
    for (const double gradient : gradients(policy)) ASSERT_EQ(gradient, 0);
  }
}

TEST_F(PairBatchTest, GivenLatentsFitTheBatch) {
  const auto refused = [&](smpo_pair_batch batch, smpo_tensor x, smpo_tensor target, const char* message) {
    EXPECT_EQ(smpo_pair_batch_set(session, batch, x, target, &error), SMPO_SHAPE_MISMATCH);
    EXPECT_NE(std::string(error.message).find(message), std::string::npos) << error.message;
  };
  const smpo_tensor pairs = some_tensor(session, {kW, kChannels, kHeight, kWidth}, 1);
  const smpo_tensor images = some_tensor(session, {kR, kChannels, kHeight, kWidth}, 1);
  const smpo_tensor wide = some_tensor(session, {kR, kChannels, kHeight, kWidth + 1}, 1);
  refused(open(), pairs, images, "noised: expected [2W,C,h,w] with 6 in front, got [3,4,6,5]");
  refused(open(), images, pairs, "target: expected [2W,C,h,w] with 6 in front, got [3,4,6,5]");
  refused(open(), wide, images, "noised: expected the rows of target, [6,4,6,5], got [6,4,6,6]");
  inputs_.latents = 0;
  const smpo_pair_batch unset = open();
  auto noise = sized<smpo_forward_noise>();
  noise.sample = noise.noise = noise.target_sample = noise.target_noise = kNoise.sample;
  EXPECT_EQ(smpo_pair_batch_add_noise(session, unset, &noise, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_NE(std::string(error.message).find("batch: expected one with clean latents"), std::string::npos);
  const smpo_inversion_plan plan = plan_of(Reading::kExact).spec();
  EXPECT_EQ(smpo_pair_batch_invert(session, unset, unet(false), &plan, nullptr, &error), SMPO_INVALID_ARGUMENT);
  EXPECT_NE(std::string(error.message).find("batch: expected one with clean latents"), std::string::npos);
}

// ---- errors, losses, gradients

TEST_F(PairBatchTest, EveryLossAndItsGradient) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  for (int32_t kind = SMPO_PAIR_LOSS_DPO; kind <= SMPO_PAIR_LOSS_KINDS; ++kind) {
    if (kind == SMPO_PAIR_LOSS_PSEUDO_HUBER) continue;  // SingleImagesTest
    SCOPED_TRACE(testing::Message() << "kind " << kind);
    const smpo_pair_batch batch = noised();
    const smpo_pair_loss loss = loss_of(kind);
    const Expected wanted = expected(batch, policy, reference, loss);
    accumulate(batch, policy, reference, loss, micro_batch_of(0, kW));
    expect_same(read(batch), wanted.results, 1e-7);
    expect_close(gradients(policy), wanted.gradients);
    expect_close(part(batch, SMPO_PAIR_BATCH_PREDICTION), wanted.prediction, 1e-7);
    expect_close(part(batch, SMPO_PAIR_BATCH_REFERENCE_PREDICTION), wanted.reference_prediction, 1e-7);
    EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
  }
}

class BudgetAndSafeguardTest : public PairBatchTest, public testing::WithParamInterface<int32_t> {};

// SmPO favours the winner, NPO the loser.
INSTANTIATE_TEST_SUITE_P(Losses, BudgetAndSafeguardTest, testing::Values(SMPO_PAIR_LOSS_SMPO, SMPO_PAIR_LOSS_NPO));

TEST_P(BudgetAndSafeguardTest, ProtectTheFavouredImage) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  smpo_pair_loss loss = loss_of(GetParam());
  // With shared noise, the gradients of the second pair's winner and loser point in the same direction.
  const smpo_pair_batch batch = open();
  add_noise(batch, /*per_image=*/0);
  const Doubles plain = expected(batch, policy, reference, loss).gradients;
  loss.budget_weight = 0.3;
  loss.budget = -10;  // exceeded by all
  const Doubles with_budget = expected(batch, policy, reference, loss).gradients;
  EXPECT_GT(distance(with_budget, plain), 1e-2);
  loss.safeguard = 1;
  loss.safeguard_mu = 0.9;
  const Expected wanted = expected(batch, policy, reference, loss);
  EXPECT_GT(distance(wanted.gradients, with_budget), 1e-2);
  accumulate(batch, policy, reference, loss, micro_batch_of(0, kW));
  expect_same(read(batch), wanted.results, 1e-7);
  expect_close(gradients(policy), wanted.gradients);
}

// Without a given mean gain, KTO uses the mean gain of the call: max(0, mean of reference - policy).
TEST_F(PairBatchTest, KtosOwnBaseline) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_KTO);
  for (const bool swapped : {false, true}) {  // the mean is above 0 in one case only
    const smpo_pair_batch batch = noised();
    const smpo_model one = swapped ? reference : policy, other = swapped ? policy : reference;
    smpo_micro_batch all = micro_batch_of(0, kW, /*backward=*/0);
    all.mean_gain = nullptr;
    accumulate(batch, one, other, loss, all);
    const Results results = read(batch);
    double mean = 0;
    for (int64_t i = 0; i < kR; ++i) mean += (results.errors[kR + i] - results.errors[i]) / kR;
    for (int64_t pair = 0; pair < kW; ++pair) {
      const std::array<double, 4> errors = {results.errors[pair], results.errors[kW + pair],
                                            results.errors[2 * kW + pair], results.errors[3 * kW + pair]};
      EXPECT_NEAR(results.losses[pair], pair_value(loss, errors, pair, std::max(0.0, mean)).loss, 1e-12);
    }
  }
}

TEST_F(PairBatchTest, MicroBatchesAddUp) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_SMPO);
  const Expected wanted = expected(noised(), policy, reference, loss);
  for (const uint32_t pairs : {1u, 2u, 3u}) {
    SCOPED_TRACE(testing::Message() << pairs << " at a time");
    const smpo_pair_batch batch = noised();
    for (uint32_t first = 0; first < kW; first += pairs) {
      accumulate(batch, policy, reference, loss, micro_batch_of(first, std::min<uint32_t>(pairs, kW - first)));
    }
    expect_same(read(batch), wanted.results, 1e-6);
    expect_close(gradients(policy), wanted.gradients);
    expect_close(part(batch, SMPO_PAIR_BATCH_PREDICTION), wanted.prediction, 1e-6);
    expect_close(part(batch, SMPO_PAIR_BATCH_REFERENCE_PREDICTION), wanted.reference_prediction, 1e-6);
    EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
  }
}

TEST_F(PairBatchTest, NumbersByPairMayBeLeftOut) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_DPO);
  const double ones[kW] = {1, 1, 1};
  smpo_micro_batch micro_batch = micro_batch_of(0, kW);
  micro_batch.logit_scale = micro_batch.weight = ones;
  const smpo_pair_batch said = noised(), left_out = noised();
  accumulate(said, policy, reference, loss, micro_batch);
  const Doubles wanted = gradients(policy);
  EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
  micro_batch.label = micro_batch.logit_scale = micro_batch.weight = nullptr;
  accumulate(left_out, policy, reference, loss, micro_batch);
  EXPECT_EQ(read(left_out).losses, read(said).losses);
  EXPECT_EQ(read(left_out).loss_sum, read(said).loss_sum);
  EXPECT_EQ(gradients(policy), wanted);
}

TEST_F(PairBatchTest, AdaptersOffAreTheReference) {
  const smpo_model policy = adapted(), reference = unet(/*trainable=*/false);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_SMPO);
  const smpo_pair_batch with_model = noised(), without = noised();
  const Expected wanted = expected(noised(), policy, reference, loss);
  accumulate(with_model, policy, reference, loss, micro_batch_of(0, kW));
  const Doubles gradient = gradients(policy);
  expect_close(gradient, wanted.gradients);
  EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
  accumulate(without, policy, 0, loss, micro_batch_of(0, kW));
  EXPECT_EQ(read(without).errors, read(with_model).errors);
  EXPECT_EQ(read(without).losses, read(with_model).losses);
  EXPECT_EQ(gradients(policy), gradient);
  const Results results = read(without);
  EXPECT_NE(results.errors[0], results.errors[kR]) << "adapters do something";
}

TEST_F(PairBatchTest, AdaptersOfScaleZeroAreTheReferenceAndHaveNoGradient) {
  const smpo_model policy = adapted(/*scale=*/0);
  const smpo_pair_batch batch = noised();
  accumulate(batch, policy, 0, loss_of(SMPO_PAIR_LOSS_DPO), micro_batch_of(0, kW));
  const Results results = read(batch);
  for (int64_t i = 0; i < kR; ++i) EXPECT_EQ(results.errors[i], results.errors[kR + i]);
  for (const double logit : results.logits) EXPECT_EQ(logit, 0);
  for (const double gradient : gradients(policy)) ASSERT_EQ(gradient, 0);
}

TEST_F(PairBatchTest, WithoutBackwardGradientsStay) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_SMPO);
  const smpo_pair_batch batch = noised(), again = noised();
  accumulate(batch, policy, reference, loss, micro_batch_of(0, kW));
  const Doubles before = gradients(policy);
  EXPECT_TRUE(std::ranges::any_of(before, [](double x) { return x != 0; }));
  accumulate(again, policy, reference, loss, micro_batch_of(0, kW, /*backward=*/0));
  EXPECT_EQ(gradients(policy), before);
  EXPECT_EQ(read(again).losses, read(batch).losses);
  // A model that is not trained has no gradients.
  accumulate(noised(), reference, policy, loss, micro_batch_of(0, kW, /*backward=*/0));
}

TEST_F(PairBatchTest, CheckpointingChangesNothing) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), saving = unet(/*trainable=*/true, 0.1, true);
  const smpo_model reference = unet(/*trainable=*/false);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_SMPO);
  accumulate(noised(), policy, reference, loss, micro_batch_of(0, kW));
  accumulate(noised(), saving, reference, loss, micro_batch_of(0, kW));
  EXPECT_EQ(gradients(saving), gradients(policy));
}

TEST_F(PairBatchTest, PairsThatWereNotAccumulatedAreNaN) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  const smpo_pair_batch batch = noised();
  const auto expect_pairs = [&](const std::vector<bool>& done) {
    const Results results = read(batch);
    const Doubles prediction = part(batch, SMPO_PAIR_BATCH_PREDICTION);
    for (int64_t pair = 0; pair < kW; ++pair) {
      const bool number = done[static_cast<size_t>(pair)];
      for (int64_t kind = 0; kind < 4; ++kind) EXPECT_EQ(std::isfinite(results.errors[kind * kW + pair]), number);
      EXPECT_EQ(std::isnan(results.logits[pair]), !number);
      EXPECT_EQ(std::isnan(results.losses[pair]), !number);
      for (const int64_t row : {pair, kW + pair}) EXPECT_EQ(prediction[row * kN] != 0, number);
    }
    return results.loss_sum;
  };
  EXPECT_EQ(expect_pairs({false, false, false}), 0);
  accumulate(batch, policy, reference, loss_of(SMPO_PAIR_LOSS_SMPO), micro_batch_of(1, 1));
  const double one = expect_pairs({false, true, false});
  EXPECT_NEAR(one, kWeight[1] * read(batch).losses[1] / kW, 1e-15);
  accumulate(batch, policy, reference, loss_of(SMPO_PAIR_LOSS_SMPO), micro_batch_of(0, 1));
  EXPECT_GT(expect_pairs({true, true, false}), one);
}

TEST_F(PairBatchTest, NonFiniteValuesArePropagated) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  std::vector<float> latents = to_host<float>(inputs_.latents);
  latents[static_cast<size_t>((kW + 1) * kN + 3)] = NAN;  // loser of pair 1
  inputs_.latents = from_host(spec_of(SMPO_F32, {kR, kChannels, kHeight, kWidth}), latents);
  const smpo_pair_batch batch = noised();
  accumulate(batch, policy, reference, loss_of(SMPO_PAIR_LOSS_SMPO), micro_batch_of(0, kW));
  const Results results = read(batch);
  for (int64_t pair = 0; pair < kW; ++pair) EXPECT_EQ(std::isnan(results.losses[pair]), pair == 1);
  EXPECT_TRUE(std::isnan(results.loss_sum));
}

TEST_F(PairBatchTest, TheSameCallsGiveTheSameBits) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  const auto everything = [&] {
    const smpo_pair_batch batch = open();
    invert(batch, policy, mixed_plan());
    EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
    accumulate(batch, policy, reference, loss_of(SMPO_PAIR_LOSS_SMPO), micro_batch_of(0, 2));
    accumulate(batch, policy, reference, loss_of(SMPO_PAIR_LOSS_SMPO), micro_batch_of(2, 1));
    const Results results = read(batch);
    return std::vector<Doubles>{part(batch, SMPO_PAIR_BATCH_NOISED),
                                part(batch, SMPO_PAIR_BATCH_TARGET),
                                part(batch, SMPO_PAIR_BATCH_PREDICTION),
                                part(batch, SMPO_PAIR_BATCH_REFERENCE_PREDICTION),
                                results.errors,
                                results.logits,
                                results.losses,
                                {results.loss_sum},
                                gradients(policy)};
  };
  EXPECT_EQ(everything(), everything());
}

TEST_F(PairBatchTest, RunsInBf16) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  const smpo_model narrow_policy = unet(/*trainable=*/true, 0.1, false, SMPO_BF16);
  const smpo_model narrow_reference = unet(/*trainable=*/false, 0, false, SMPO_BF16);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_DPO);
  const auto expect_near = [](const Doubles& narrow, const Doubles& wide, double ulps) {
    EXPECT_GT(distance(narrow, wide), 1e-4) << "it ran in f32";
    EXPECT_LT(distance(narrow, wide), ulps * 0x1p-8);
  };
  // About thirty layers, each of which rounds by up to 2^-9: their sum amounts to a few units of 2^-8.
  const smpo_pair_batch wide = noised(), narrow = noised();
  accumulate(wide, policy, reference, loss, micro_batch_of(0, kW));
  accumulate(narrow, narrow_policy, narrow_reference, loss, micro_batch_of(0, kW));
  EXPECT_EQ(part(narrow, SMPO_PAIR_BATCH_NOISED), part(wide, SMPO_PAIR_BATCH_NOISED)) << "latents stay f32";
  for (const int32_t which : {SMPO_PAIR_BATCH_PREDICTION, SMPO_PAIR_BATCH_REFERENCE_PREDICTION}) {
    expect_near(part(narrow, which), part(wide, which), 8);
  }
  expect_near(read(narrow).errors, read(wide).errors, 8);
  expect_near(gradients(narrow_policy), gradients(policy), 32);

  // Up to five steps with two predictions each, every one computed from the result before it.
  const Plan plan = mixed_plan();
  const smpo_pair_batch wide_inverted = open(), narrow_inverted = open();
  invert(wide_inverted, policy, plan);
  invert(narrow_inverted, narrow_policy, plan);
  expect_near(part(narrow_inverted, SMPO_PAIR_BATCH_NOISED), part(wide_inverted, SMPO_PAIR_BATCH_NOISED), 32);
}

// ---- single images

/// The images of the batch of pairs as a batch of single images.
class SingleImagesTest : public PairBatchTest {
 protected:
  /// The first `images` images; each has the prompt of its pair.
  smpo_pair_batch noised_singles(int64_t images) {
    std::vector<int64_t> rows(static_cast<size_t>(images)), prompts;
    std::iota(rows.begin(), rows.end(), 0);
    for (const int64_t row : rows) prompts.push_back(row % kW);
    smpo_pair_batch_inputs inputs = inputs_;
    inputs.pairs = static_cast<uint32_t>(images);
    inputs.single_images = 1;
    inputs.latents = tensor({images, kChannels, kHeight, kWidth}, rows_of(clean_, rows, kN));
    inputs.encoder_hidden_states =
        tensor({images, kTokens, kTextWidth}, rows_of(states_, prompts, kTokens * kTextWidth));
    inputs.text_embeds = tensor({images, kPooled}, rows_of(embeds_, prompts, kPooled));
    inputs.time_ids = tensor({images, kSizes}, rows_of(sizes_, rows, kSizes));
    smpo_pair_batch batch = 0;
    EXPECT_OK(smpo_pair_batch_open(session, &inputs, &batch, &error));
    add_noise(batch, /*per_image=*/1);
    return batch;
  }
  /// A micro-batch of images, whose numbers are those of their pairs.
  smpo_micro_batch images_of(uint32_t first, uint32_t images) {
    auto micro_batch = sized<smpo_micro_batch>();
    micro_batch.first_pair = first;
    micro_batch.pairs = images;
    micro_batch.backward = 1;
    micro_batch.gradient_scale = 1.0 / kW;
    micro_batch.logit_scale = scales_ + first;
    micro_batch.weight = weights_ + first;
    return micro_batch;
  }
  Results read_singles(smpo_pair_batch batch, size_t images) {
    Results results{.errors = Doubles(4 * images), .logits = Doubles(images), .losses = Doubles(images)};
    auto spec = sized<smpo_pair_results>();
    spec.pairs = static_cast<uint32_t>(images);
    spec.errors = results.errors.data();
    spec.logits = results.logits.data();
    spec.losses = results.losses.data();
    EXPECT_OK(smpo_pair_batch_read(session, batch, &spec, &error));
    results.loss_sum = spec.loss_sum;
    return results;
  }

  const double scales_[kR] = {1.5, 0.7, 1, 1.5, 0.7, 1};
  const double weights_[kR] = {0.5, 2, 1, 0.5, 2, 1};
  const uint8_t desirable_[kR] = {1, 1, 1, 0, 0, 0};
};

TEST_F(SingleImagesTest, AreNoisedAsTheImagesOfPairs) {
  const smpo_pair_batch singles = noised_singles(kR), pairs = noised();
  for (const int32_t which : {SMPO_PAIR_BATCH_NOISED, SMPO_PAIR_BATCH_TARGET}) {
    EXPECT_EQ(part(singles, which), part(pairs, which));
  }
}

TEST_F(SingleImagesTest, TunedOnWinnersAloneHaveTheGradientOfPairs) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_SFT);
  const smpo_pair_batch pairs = noised(), singles = noised_singles(kW);
  accumulate(pairs, policy, 0, loss, micro_batch_of(0, kW));
  const Doubles wanted = gradients(policy);
  EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
  for (uint32_t first = 0; first < kW; first += 2) {
    accumulate(singles, policy, 0, loss, images_of(first, std::min<uint32_t>(2, kW - first)));
  }
  expect_close(gradients(policy), wanted);
  const Results of_pairs = read(pairs), of_singles = read_singles(singles, kW);
  expect_close(of_singles.losses, of_pairs.losses, 1e-6);
  expect_close({of_singles.loss_sum}, {of_pairs.loss_sum}, 1e-6);
  for (size_t i = 0; i < kW; ++i) {
    EXPECT_EQ(of_singles.errors[i], of_singles.losses[i]);
    EXPECT_TRUE(std::isnan(of_singles.errors[kW + i]) && std::isnan(of_singles.errors[3 * kW + i]));
  }
}

TEST_F(SingleImagesTest, JudgedByKtoHaveTheGradientOfPairs) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1), reference = unet(/*trainable=*/false);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_KTO);
  const smpo_pair_batch pairs = noised(), singles = noised_singles(kR);
  accumulate(pairs, policy, reference, loss, micro_batch_of(0, kW));
  const Doubles wanted = gradients(policy);
  EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
  for (uint32_t first = 0; first < kR; first += 4) {
    smpo_micro_batch micro_batch = images_of(first, std::min<uint32_t>(4, kR - first));
    micro_batch.gradient_scale /= 2;  // a pair's loss is the mean of its images' losses
    micro_batch.desirable = desirable_ + first;
    micro_batch.mean_gain = &kMeanGain;
    accumulate(singles, policy, reference, loss, micro_batch);
  }
  expect_close(gradients(policy), wanted);
  const Results of_pairs = read(pairs), of_singles = read_singles(singles, kR);
  for (size_t pair = 0; pair < kW; ++pair) {
    EXPECT_NEAR((of_singles.losses[pair] + of_singles.losses[kW + pair]) / 2, of_pairs.losses[pair], 1e-6);
    EXPECT_NEAR(of_singles.logits[pair] - of_singles.logits[kW + pair], of_pairs.logits[pair], 1e-6);
  }
  EXPECT_NEAR(of_singles.loss_sum, of_pairs.loss_sum, 1e-6);

  // Its own reference point is the mean over the images of the call.
  const smpo_pair_batch alone = noised_singles(kR);
  smpo_micro_batch all = images_of(0, kR);
  all.backward = 0;
  all.desirable = desirable_;
  accumulate(alone, policy, reference, loss, all);
  const Results own = read_singles(alone, kR);
  double mean = 0;
  for (size_t i = 0; i < kR; ++i) mean += (own.errors[2 * kR + i] - own.errors[i]) / kR;
  const double z0 = std::max(0.0, mean), gain = own.errors[2 * kR] - own.errors[0];
  EXPECT_NEAR(own.losses[0], 1.1 / (1 + std::exp(1.5 * scales_[0] * (gain - z0))), 1e-12);
}

TEST_F(SingleImagesTest, PseudoHuberHasTheGradientOfItsFormula) {
  const smpo_model policy = unet(/*trainable=*/true, 0.1);
  const smpo_pair_loss loss = loss_of(SMPO_PAIR_LOSS_PSEUDO_HUBER);
  const double scale[kR] = {1, 0.1, 12, 0.5, 2, 3};
  const smpo_pair_batch singles = noised_singles(kR);
  for (uint32_t first = 0; first < kR; first += 4) {
    smpo_micro_batch micro_batch = images_of(first, std::min<uint32_t>(4, kR - first));
    micro_batch.error_scale = scale + first;
    accumulate(singles, policy, 0, loss, micro_batch);
  }
  const Doubles gradient = gradients(policy);
  const Doubles x = part(singles, SMPO_PAIR_BATCH_NOISED), target = part(singles, SMPO_PAIR_BATCH_TARGET);
  const Doubles prediction = predict(policy, every_image(), x, every_timestep());
  Doubles cotangent(kR * kN), losses(kR);
  for (int64_t row = 0; row < kR; ++row) {
    for (int64_t i = row * kN; i < (row + 1) * kN; ++i) {
      const double q = scale[row], d = prediction[i] - target[i];
      const double root = std::sqrt(q * q * d * d + 0.01 * 0.01);
      losses[row] += (root - 0.01) / kN;
      cotangent[i] = weights_[row] / kW * q * q * d / root / kN;
    }
  }
  expect_close(read_singles(singles, kR).losses, losses);
  const smpo_unet_inputs inputs = unet_inputs(every_image(), x, every_timestep());
  smpo_tensor output = 0;
  EXPECT_OK(smpo_model_zero_gradients(session, policy, &error));
  EXPECT_OK(smpo_unet_backward(session, policy, &inputs, tensor({kR, kChannels, kHeight, kWidth}, cotangent), &output,
                               nullptr, &error));
  expect_close(gradient, gradients(policy));
}

TEST_F(SingleImagesTest, RefuseWhatIsOfPairs) {
  const smpo_model policy = unet(/*trainable=*/true), reference = unet(/*trainable=*/false);
  const smpo_pair_batch singles = noised_singles(kR), pairs = noised();
  const auto expect_refused = [&](smpo_pair_batch batch, const smpo_pair_loss& loss, const smpo_micro_batch& images,
                                  const char* message) {
    EXPECT_EQ(smpo_pair_batch_accumulate(session, batch, policy, reference, &loss, &images, &error),
              SMPO_INVALID_ARGUMENT);
    EXPECT_NE(std::string(error.message).find(message), std::string::npos) << error.message;
  };
  smpo_micro_batch images = images_of(0, kR);
  images.label = scales_;
  for (const int32_t kind : {SMPO_PAIR_LOSS_DPO, SMPO_PAIR_LOSS_SMPO, SMPO_PAIR_LOSS_MAPO}) {
    expect_refused(singles, loss_of(kind), images, "loss.kind: expected one of single images");
  }
  expect_refused(pairs, loss_of(SMPO_PAIR_LOSS_PSEUDO_HUBER), micro_batch_of(0, kW),
                 "loss.kind: expected one of pairs");
  const smpo_pair_loss kto = loss_of(SMPO_PAIR_LOSS_KTO), sft = loss_of(SMPO_PAIR_LOSS_SFT);
  const smpo_pair_loss huber = loss_of(SMPO_PAIR_LOSS_PSEUDO_HUBER);
  expect_refused(singles, kto, images,
                 "micro_batch.desirable: expected a pointer for KTO of single images only, got none");
  images.desirable = desirable_;
  expect_refused(singles, sft, images,
                 "micro_batch.desirable: expected a pointer for KTO of single images only, got one");
  smpo_micro_batch of_pairs = micro_batch_of(0, kW);
  of_pairs.desirable = desirable_;
  expect_refused(pairs, kto, of_pairs,
                 "micro_batch.desirable: expected a pointer for KTO of single images only, got one");
  smpo_pair_loss guarded = kto;
  guarded.safeguard = 1;
  expect_refused(singles, guarded, images, "loss.safeguard: expected 0 for single images");
  guarded = kto;
  guarded.budget_weight = 0.5;
  expect_refused(singles, guarded, images, "loss.budget_weight: expected 0 for single images, got 0.5");
  const uint8_t flags[kR] = {1, 0, 2, 0, 0, 0};
  images.desirable = flags;
  expect_refused(singles, kto, images, "micro_batch.desirable[2]: expected 0..1, got 2");
  images.desirable = nullptr;
  const double scale[kR] = {1, 1, 1, 0, 1, 1};
  images.error_scale = scale;
  images.desirable = desirable_;
  expect_refused(singles, kto, images, "micro_batch.error_scale: expected none, since kind 7 of single images");
  images.desirable = nullptr;
  of_pairs.desirable = nullptr;
  of_pairs.error_scale = scale;
  expect_refused(pairs, sft, of_pairs, "micro_batch.error_scale: expected none, since kind 9 of pairs");
  expect_refused(singles, huber, images, "micro_batch.error_scale[3]: expected a number above 0, got 0");
  images.error_scale = nullptr;
  smpo_pair_loss sharp = huber;
  sharp.parameters[0] = 0;
  expect_refused(singles, sharp, images, "loss.parameters[0]: expected a number above 0, got 0");
  smpo_pair_batch_inputs inputs = inputs_;
  inputs.single_images = 1;
  smpo_pair_batch batch = 0;
  EXPECT_EQ(smpo_pair_batch_open(session, &inputs, &batch, &error), SMPO_SHAPE_MISMATCH) << "it has 2W latents";
  inputs.single_images = 2;
  EXPECT_EQ(smpo_pair_batch_open(session, &inputs, &batch, &error), SMPO_INVALID_ARGUMENT);
}

// ---- refused arguments

class BatchRefusalTest : public PairBatchTest {
 protected:
  void expect_refused(smpo_status wanted, smpo_status status, const std::string& message) {
    EXPECT_EQ(status, wanted);
    EXPECT_NE(std::string(error.message).find(message), std::string::npos) << error.message;
  }
  smpo_status tried(smpo_pair_batch batch, smpo_model policy, smpo_model reference, int32_t kind,
                    int32_t backward = 1) {
    const smpo_pair_loss loss = loss_of(kind);
    const smpo_micro_batch micro_batch = micro_batch_of(0, kW, backward);
    return smpo_pair_batch_accumulate(session, batch, policy, reference, &loss, &micro_batch, &error);
  }
};

TEST_F(BatchRefusalTest, ModelsThatCannotDoIt) {
  const smpo_model policy = unet(/*trainable=*/true), reference = unet(/*trainable=*/false);
  const smpo_pair_batch batch = noised();
  const int32_t dpo = SMPO_PAIR_LOSS_DPO;
  expect_refused(SMPO_INVALID_ARGUMENT, tried(open(), policy, reference, dpo),
                 "batch: expected one that was noised, inverted or set, got one that was only opened");
  expect_refused(SMPO_INVALID_ARGUMENT, tried(batch, reference, policy, dpo),
                 "policy: expected a trainable UNet or one with adapters, got a frozen one");
  expect_refused(SMPO_INVALID_ARGUMENT, tried(batch, policy, 0, dpo), "reference: expected a model, since the loss");
  EXPECT_OK(tried(batch, policy, 0, SMPO_PAIR_LOSS_SFT));
  EXPECT_OK(tried(batch, policy, 0, SMPO_PAIR_LOSS_MAPO));

  smpo_unet_spec spec = text_time_spec();
  spec.out_channels = 8;
  const smpo_model_options options = f32_options();
  smpo_model wider = 0;
  EXPECT_OK(smpo_unet_open(session, &spec, &options, &wider, &error));
  write_missing(session, wider);
  const char* predicts = "expected a UNet with as many output as input channels, got 4 channels in and 8 out";
  expect_refused(SMPO_UNSUPPORTED, tried(batch, wider, reference, dpo, 0), std::string("policy: ") + predicts);
  expect_refused(SMPO_UNSUPPORTED, tried(batch, policy, wider, dpo), std::string("reference: ") + predicts);
  const Plan plan = plan_of(Reading::kV020);
  const smpo_inversion_plan steps = plan.spec();
  expect_refused(SMPO_UNSUPPORTED, smpo_pair_batch_invert(session, batch, wider, &steps, nullptr, &error),
                 std::string("model: ") + predicts);
  for (const double gradient : gradients(policy)) ASSERT_TRUE(std::isfinite(gradient));
}

TEST_F(BatchRefusalTest, ConditionsThatDoNotFitTheModel) {
  const smpo_model plain = open_unet(session, f32_options());
  write_missing(session, plain);
  expect_refused(SMPO_INVALID_ARGUMENT, tried(noised(), plain, plain, SMPO_PAIR_LOSS_DPO, 0),
                 "expected none, since the UNet has no text_time embedding");
  const smpo_model policy = unet(/*trainable=*/true);
  inputs_.text_embeds = inputs_.time_ids = 0;
  const smpo_pair_batch batch = noised();
  const Plan plan = plan_of(Reading::kV020);
  const smpo_inversion_plan steps = plan.spec();
  EXPECT_NE(tried(batch, policy, policy, SMPO_PAIR_LOSS_DPO), SMPO_OK);
  EXPECT_NE(smpo_pair_batch_invert(session, batch, policy, &steps, nullptr, &error), SMPO_OK);
  EXPECT_TRUE(std::ranges::all_of(gradients(policy), [](double x) { return x == 0; }));
}

TEST_F(BatchRefusalTest, PredictionsThatWereNotKept) {
  inputs_.keep_predictions = 0;
  const smpo_pair_batch batch = noised();
  smpo_tensor tensor = 0;
  expect_refused(SMPO_INVALID_ARGUMENT,
                 smpo_pair_batch_tensor(session, batch, SMPO_PAIR_BATCH_PREDICTION, &tensor, &error),
                 "which: expected a tensor that the batch has, got 3, though predictions were not to be kept");
  expect_refused(SMPO_INVALID_ARGUMENT,
                 smpo_pair_batch_tensor(session, open(), SMPO_PAIR_BATCH_TARGET, &tensor, &error),
                 "which: expected a tensor that the batch has, got 2, though it was not noised, inverted or set");
  EXPECT_EQ(tensor, 0u);
}

// ---- posterior

TEST_F(PairBatchTest, SamplesAPosterior) {
  const smpo_tensor mean = inputs_.latents;
  const smpo_tensor logvar = some_tensor(session, {kR, kChannels, kHeight, kWidth}, 77);
  smpo_tensor latents = 0;
  EXPECT_OK(smpo_posterior_sample(session, mean, logvar, 0.18215, kStep, items_, kR, &latents, &error));
  const Doubles values = widened(to_host<float>(latents)), spread = widened(to_host<float>(logvar));
  const Doubles n = normal(4, {std::begin(items_), std::end(items_)});
  int noticed = 0;
  for (int64_t i = 0; i < kR * kN; ++i) {
    const double deviation = std::exp(spread[i] / 2) * n[i];
    const double wanted = 0.18215 * (clean_[i] + deviation);
    // An exponential within 2 ulp, product, sum, scale, product.
    const double bound = 8 * 0x1p-24 * 0.18215 * (std::abs(clean_[i]) + std::abs(deviation));
    ASSERT_NEAR(values[i], wanted, bound);
    noticed += std::abs(values[i] * (1 + 3e-6) - wanted) > bound ? 1 : 0;
  }
  EXPECT_GT(noticed, kR * kN / 2) << "the comparison is too loose";
}

}  // namespace
}  // namespace smpo::test
