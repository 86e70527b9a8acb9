// Training on a device: compared with the CPU, repeated, and free of unrequested synchronization. Every test also runs
// with the CPU as the device, which validates the test; without a GPU the other runs are skipped.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_unet.h"

// Legend: W pairs, R = 2W images, winners first.
namespace smpo::test {
namespace {

constexpr uint32_t kW = 3, kR = 2 * kW;

struct TrainingOptions {
  int32_t device = SMPO_DEVICE_CPU;
  int32_t precision = SMPO_F32;
  int32_t optimizer = SMPO_OPTIMIZER_ADAMW;
  int32_t log_level = SMPO_LOG_INFO;
};

/// Results of a step: those of the batch, and the optimizer's outcome.
struct StepOutcome {
  double loss = 0;
  double grad_norm = 0;
  friend bool operator==(const StepOutcome&, const StepOutcome&) = default;
};

/// A trainable UNet, a frozen copy of it and an optimizer in their own session; takes steps with inversion and SmPO's
/// loss.
class Training {
 public:
  explicit Training(const TrainingOptions& wanted) : options_(wanted) {
    auto config = cpu_config();
    config.device_type = wanted.device;
    config.deterministic = 1;
    config.log_level = wanted.log_level;
    config.log_capacity = 4096;
    expect(smpo_session_open(&config, &session, &error));
    auto options = f32_options();
    options.precision = wanted.precision;
    reference_ = open_unet(session, options);
    options.trainable = 1;
    policy = open_unet(session, options);
    write_missing(session, reference_);
    write_missing(session, policy);
    const auto rule = wanted.optimizer == SMPO_OPTIMIZER_ADAMW ? adamw_options() : adafactor_options();
    expect(smpo_optimizer_open(session, policy, &rule, &optimizer, &error));
  }
  ~Training() { EXPECT_EQ(smpo_session_close(session, nullptr), SMPO_OK); }
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  StepOutcome step(uint32_t number) {
    const smpo_pair_batch batch = inverted(number);
    auto loss = sized<smpo_pair_loss>();
    loss.kind = SMPO_PAIR_LOSS_SMPO;
    loss.parameter_count = 1;
    loss.strength = 300;
    loss.parameters[0] = 0.5;
    const std::vector<double> label = {0.9, 0.6, 0.75};
    for (uint32_t first = 0; first < kW; ++first) {
      auto micro_batch = sized<smpo_micro_batch>();
      micro_batch.first_pair = first;
      micro_batch.pairs = 1;
      micro_batch.backward = 1;
      micro_batch.gradient_scale = 1.0 / kW;
      micro_batch.label = label.data() + first;
      expect(smpo_pair_batch_accumulate(session, batch, policy, reference_, &loss, &micro_batch, &error));
    }
    auto outcome = sized<smpo_step_outcome>();
    expect(smpo_optimizer_step(session, optimizer, 1e-4, 1.0, &outcome, &error));
    EXPECT_EQ(outcome.applied, 1);
    std::vector<double> errors(4 * kW), logits(kW), losses(kW);
    auto results = sized<smpo_pair_results>();
    results.pairs = kW;
    results.errors = errors.data();
    results.logits = logits.data();
    results.losses = losses.data();
    expect(smpo_pair_batch_read(session, batch, &results, &error));
    expect(smpo_pair_batch_close(session, batch, &error));
    return {.loss = results.loss_sum, .grad_norm = outcome.grad_norm};
  }

  /// Noised latents, target and prediction of the policy: the inputs of the step's loss.
  std::vector<float> trace(uint32_t number) {
    const smpo_pair_batch batch = inverted(number);
    auto loss = sized<smpo_pair_loss>();
    loss.kind = SMPO_PAIR_LOSS_DPO;
    loss.strength = 5;
    auto micro_batch = sized<smpo_micro_batch>();
    micro_batch.pairs = kW;
    micro_batch.gradient_scale = 1;
    expect(smpo_pair_batch_accumulate(session, batch, policy, reference_, &loss, &micro_batch, &error));
    std::vector<float> all;
    for (int32_t which = SMPO_PAIR_BATCH_NOISED; which <= SMPO_PAIR_BATCH_REFERENCE_PREDICTION; ++which) {
      smpo_tensor tensor = 0;
      expect(smpo_pair_batch_tensor(session, batch, which, &tensor, &error));
      auto spec = sized<smpo_tensor_spec>();
      expect(smpo_tensor_describe(session, tensor, &spec, &error));
      std::vector<float> values(elements_of(spec));
      expect(smpo_tensor_to_host(session, tensor, &spec, values.data(), values.size() * sizeof(float), &error));
      all.insert(all.end(), values.begin(), values.end());
    }
    expect(smpo_pair_batch_close(session, batch, &error));
    return all;
  }

  std::vector<StepOutcome> steps(int from, int to) {
    std::vector<StepOutcome> outcomes;
    for (int i = from; i < to; ++i) outcomes.push_back(step(static_cast<uint32_t>(i)));
    return outcomes;
  }

  /// Weights and optimizer state, as stored in a checkpoint.
  std::vector<std::vector<float>> state() {
    std::vector<std::vector<float>> all;
    each_state([&](const char* name, const smpo_tensor_spec& spec, bool of_optimizer) {
      std::vector<float>& values = all.emplace_back(elements_of(spec));
      const uint64_t bytes = values.size() * sizeof(float);
      expect(of_optimizer ? smpo_optimizer_read_state(session, optimizer, name, &spec, values.data(), bytes, &error)
                          : smpo_model_read_parameter(session, policy, name, &spec, values.data(), bytes, &error));
    });
    return all;
  }
  void restore(const std::vector<std::vector<float>>& all, int64_t steps) {
    size_t next = 0;
    each_state([&](const char* name, const smpo_tensor_spec& spec, bool of_optimizer) {
      const std::vector<float>& values = all.at(next++);
      const uint64_t bytes = values.size() * sizeof(float);
      expect(of_optimizer ? smpo_optimizer_write_state(session, optimizer, name, &spec, values.data(), bytes, &error)
                          : smpo_model_write_parameter(session, policy, name, &spec, values.data(), bytes, &error));
    });
    expect(smpo_optimizer_set_steps(session, optimizer, steps, &error));
  }

  std::vector<std::string> drained_log() {
    std::vector<smpo_log_record> records(4096, sized<smpo_log_record>());
    uint32_t count = 0;
    expect(smpo_session_drain_log(session, records.data(), 4096, &count, &error));
    std::vector<std::string> messages;
    for (uint32_t i = 0; i < count; ++i) messages.emplace_back(records[i].message);
    return messages;
  }
  smpo_session_statistics statistics() {
    auto result = sized<smpo_session_statistics>();
    expect(smpo_session_describe(session, &result, &error));
    return result;
  }

  smpo_session session = 0;
  smpo_model policy = 0;
  smpo_optimizer optimizer = 0;
  smpo_error error = sized<smpo_error>();

 private:
  void expect(smpo_status status) const { EXPECT_EQ(status, SMPO_OK) << error.message; }

  template <typename Each>
  void each_state(const Each& each) {
    for (const smpo_parameter_info& parameter : parameters_of(session, policy)) {
      each(parameter.name, host_spec_of(parameter), false);
    }
    auto info = sized<smpo_optimizer_info>();
    expect(smpo_optimizer_describe(session, optimizer, &info, &error));
    for (uint32_t i = 0; i < info.state_count; ++i) {
      auto state = sized<smpo_state_info>();
      expect(smpo_optimizer_state(session, optimizer, i, &state, &error));
      auto spec = sized<smpo_tensor_spec>();
      spec.dtype = SMPO_F32;
      spec.rank = state.rank;
      std::copy(std::begin(state.shape), std::end(state.shape), spec.shape);
      each(state.name, spec, true);
    }
  }

  smpo_pair_batch inverted(uint32_t number) {
    auto inputs = sized<smpo_pair_batch_inputs>();
    inputs.pairs = kW;
    inputs.step = number;
    inputs.keep_predictions = 1;
    const smpo_tensor latents = some_tensor(session, {kR, 4, 6, 5}, number);
    const smpo_tensor states = some_tensor(session, {kW, 7, 6}, number + 50);
    inputs.latents = latents;
    inputs.encoder_hidden_states = states;
    std::vector<int32_t> timesteps, row_start = {0};
    std::vector<int64_t> items;
    std::vector<double> timestep, sample, output, noise, target(kR, 1.0), clean(kR, -0.5);
    std::vector<uint8_t> averages;
    for (uint32_t row = 0; row < kR; ++row) {
      timesteps.push_back(static_cast<int32_t>((150 * row + 7 * number) % 1000));
      items.push_back(row);
      for (uint32_t k = 0; k <= row % kW; ++k) {
        timestep.push_back(200.0 * k);
        sample.push_back(0.9);
        output.push_back(0.1 + 0.01 * k);
        noise.push_back(0);
        averages.push_back(k == 0 ? 1 : 0);
      }
      row_start.push_back(static_cast<int32_t>(timestep.size()));
    }
    inputs.timesteps = timesteps.data();
    inputs.items = items.data();
    smpo_pair_batch batch = 0;
    expect(smpo_pair_batch_open(session, &inputs, &batch, &error));
    expect(smpo_tensor_close(session, latents, &error));
    expect(smpo_tensor_close(session, states, &error));
    auto plan = sized<smpo_inversion_plan>();
    plan.inversion_batch = 4;
    plan.row_start = row_start.data();
    plan.timestep = timestep.data();
    plan.sample = sample.data();
    plan.output = output.data();
    plan.noise = noise.data();
    plan.averages = averages.data();
    plan.target_sample = target.data();
    plan.target_clean = clean.data();
    expect(smpo_pair_batch_invert(session, batch, policy, &plan, nullptr, &error));
    return batch;
  }

  const TrainingOptions options_;
  smpo_model reference_ = 0;
};

double distance(const std::vector<float>& values, const std::vector<float>& wanted) {
  double error2 = 0, norm2 = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    error2 += std::pow(double(values[i]) - double(wanted[i]), 2);
    norm2 += std::pow(double(wanted[i]), 2);
  }
  return values.size() == wanted.size() ? std::sqrt(error2 / norm2) : INFINITY;
}

class DeviceTest : public testing::TestWithParam<int32_t> {
 protected:
  void SetUp() override {
    if (GetParam() == SMPO_DEVICE_CPU) return;
    auto cuda = sized<smpo_cuda_info>();
    ASSERT_EQ(smpo_cuda_describe(&cuda, nullptr), SMPO_OK);
    if (cuda.device_count > 0) return;
    ASSERT_EQ(std::getenv("SMPO_REQUIRE_CUDA"), nullptr) << cuda.problem;
    GTEST_SKIP() << "no CUDA device: " << cuda.problem;
  }
  /// Number of steps; smaller where only the test itself is validated.
  int steps() const { return GetParam() == SMPO_DEVICE_CPU ? 4 : 10; }
  TrainingOptions options() const { return {.device = GetParam()}; }
};

std::string name_of(const testing::TestParamInfo<int32_t>& info) {
  return info.param == SMPO_DEVICE_CPU ? "Cpu" : "Cuda";
}
INSTANTIATE_TEST_SUITE_P(On, DeviceTest, testing::Values(SMPO_DEVICE_CPU, SMPO_DEVICE_CUDA), name_of);

TEST_P(DeviceTest, ATraceAgreesWithTheCpusTo1em3) {
  for (const auto& [precision, limit] : {std::pair{SMPO_F32, 1e-3}, {SMPO_BF16, 5e-2}}) {
    TrainingOptions wanted{.precision = precision};
    Training on_cpu(wanted);
    wanted.device = GetParam();
    Training on_device(wanted);
    const std::vector<float> expected = on_cpu.trace(1);
    // Repeated, because later steps replay recorded graphs.
    for (int again = 0; again < 4; ++again) {
      std::vector<float> values = on_device.trace(1);
      EXPECT_LE(distance(values, expected), limit);
      for (float& value : values) value *= static_cast<float>(1 + 2 * limit);
      EXPECT_GT(distance(values, expected), limit) << "the comparison is too loose";
    }
  }
}

TEST_P(DeviceTest, TenLossesAgreeWithTheCpusTo1em4) {
  for (const int32_t optimizer : {SMPO_OPTIMIZER_ADAMW, SMPO_OPTIMIZER_ADAFACTOR}) {
    TrainingOptions wanted{.optimizer = optimizer};
    const std::vector<StepOutcome> expected = Training(wanted).steps(0, steps());
    wanted.device = GetParam();
    const std::vector<StepOutcome> values = Training(wanted).steps(0, steps());
    for (int i = 0; i < steps(); ++i) {
      EXPECT_NEAR(values[i].loss, expected[i].loss, 1e-4 * std::abs(expected[i].loss)) << "step " << i;
      EXPECT_NEAR(values[i].grad_norm, expected[i].grad_norm, 1e-3 * expected[i].grad_norm) << "step " << i;
    }
    EXPECT_GT(std::abs(expected[1].loss - expected[0].loss), 2e-4 * std::abs(expected[0].loss))
        << "losses too alike to tell the steps apart";
  }
}

TEST_P(DeviceTest, TheSameTenStepsHaveTheSameBits) {
  for (const int32_t precision : {SMPO_F32, SMPO_BF16}) {
    TrainingOptions wanted = options();
    wanted.precision = precision;
    Training one(wanted), other(wanted);
    EXPECT_EQ(one.steps(0, steps()), other.steps(0, steps()));
    EXPECT_EQ(one.state(), other.state());
  }
}

TEST_P(DeviceTest, ARunThatResumesHasTheBitsOfOneThatWasNotStopped) {
  for (const int32_t optimizer : {SMPO_OPTIMIZER_ADAMW, SMPO_OPTIMIZER_ADAFACTOR}) {
    TrainingOptions wanted = options();
    wanted.optimizer = optimizer;
    Training whole(wanted), resumed(wanted);
    whole.steps(0, steps() / 2);
    const auto checkpoint = whole.state();
    const std::vector<StepOutcome> rest = whole.steps(steps() / 2, steps());
    resumed.restore(checkpoint, steps() / 2);
    EXPECT_EQ(resumed.steps(steps() / 2, steps()), rest);
    EXPECT_EQ(resumed.state(), whole.state());
  }
}

/// The batch's results come with the optimizer's outcome.
TEST_P(DeviceTest, AStepWaitsForTheDeviceOnceAndCountsEveryWait) {
  TrainingOptions wanted = options();
  wanted.log_level = SMPO_LOG_DEBUG;
  Training training(wanted);
  training.steps(0, 6);  // Creates plans, workspaces and recordings, which may synchronize.
  training.drained_log();
  const uint64_t before = training.statistics().device_synchronizations;
  training.step(6);
  EXPECT_EQ(training.statistics().device_synchronizations - before, 1u);
  for (const std::string& message : training.drained_log()) {
    EXPECT_EQ(message.find("synchroniz"), std::string::npos) << message;
  }
}

/// The keys and values serve both images of a pair in all their evaluations.
TEST_P(DeviceTest, AnInversionComputesKeysAndValuesOfAPromptOnce) {
  TrainingOptions wanted = options();
  wanted.log_level = SMPO_LOG_DEBUG;
  Training training(wanted);
  training.step(0);
  const std::string expected = "inversion: 18 evaluations in 5 batches, keys and values of 3 prompts";
  const std::vector<std::string> messages = training.drained_log();
  EXPECT_EQ(std::count(messages.begin(), messages.end(), expected), 1) << testing::PrintToString(messages);
}

TEST_P(DeviceTest, EveryPieceOfWorkIsRecorded) {
  Training training(options());
  training.steps(0, 6);
  for (const std::string& message : training.drained_log()) {
    EXPECT_EQ(message.find("no CUDA graph"), std::string::npos) << message;
  }
}

TEST_P(DeviceTest, TooLittleMemoryLeavesTheSessionUsable) {
  Training training(options());
  const StepOutcome first = training.step(0);
  const auto spec = spec_of(SMPO_F32, {int64_t{1} << 42});
  smpo_tensor tensor = 0;
  EXPECT_EQ(smpo_tensor_zeros(training.session, &spec, &tensor, &training.error), SMPO_OUT_OF_MEMORY);
  const StepOutcome second = training.step(1);
  Training undisturbed(options());
  EXPECT_EQ(undisturbed.step(0), first);
  EXPECT_EQ(undisturbed.step(1), second);
}

}  // namespace
}  // namespace smpo::test
