// smpo_unet_bench MODEL [--dtype f32|bf16] [--batch N] [--size N] [--tokens N] [--backward] [--checkpointing]
//                 [--step | --invert] [--device cpu|cuda] [--nondeterministic] [--threads N] [--repeats N | --serve]
//
// Measures a UNet's forward, or forward and backward of every parameter, through smpo.h with random weights. MODEL:
// tiny (the sd1 golden's sizes), sd15, sd15-half (half its channels), sd21, sdxl or sdxl-half. Prints one JSON line:
// median and least seconds of the repeats after one warm-up run, and the peak resident memory since that run.
//
// --step: an SmPO step of --batch pairs, v020's inversion with ReNoise (5 grid steps, 10 of sdxl), forward, reference,
// loss and backward, without the optimizer's update; timesteps are spread over 0..999, and the time is the pairs'.
// --invert: the inversion alone. On a GPU every iteration ends with a wait; the first five, in which graphs are
// recorded, are not counted.
//
// --nondeterministic: a session whose runs need not repeat bit for bit, to measure the cost of determinism. On a GPU
// LibTorch may then add by atomics, cuDNN selects the fastest convolutions by measurement, and attention is cuDNN's.
//
// --serve: the protocol of bench/peers/unet.py, so that a driver can alternate between the two: one JSON line when
// ready, then one timed iteration and one JSON line for each line "go" on stdin; ends with stdin.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "smpo.h"

namespace {

template <typename Struct>
Struct sized() {
  Struct value{};
  value.size = sizeof value;
  return value;
}

smpo_error error = sized<smpo_error>();

void check(smpo_status status) {
  if (status != SMPO_OK) throw std::runtime_error(error.message);
}

smpo_unet_spec spec_of(const std::string& model) {
  auto spec = sized<smpo_unet_spec>();
  spec.in_channels = spec.out_channels = 4;
  spec.flip_sin_to_cos = 1;
  spec.norm_eps = 1e-5;
  const auto levels = [&spec](const std::vector<int>& channels, const std::vector<int>& heads,
                              const std::vector<int>& depth, const std::vector<int>& attention) {
    spec.levels = static_cast<int32_t>(channels.size());
    for (int32_t i = 0; i < spec.levels; ++i) {
      spec.block_out_channels[i] = channels[i];
      spec.attention_heads[i] = heads[i];
      spec.transformer_layers[i] = depth[i];
      spec.down_attention[i] = attention[i];
      spec.up_attention[spec.levels - 1 - i] = attention[i];
      spec.layers_per_block[i] = 2;
    }
  };
  spec.norm_num_groups = 32;
  if (model == "tiny") {
    levels({16, 24, 32, 32}, {2, 2, 2, 2}, {1, 1, 1, 1}, {1, 1, 1, 0});
    spec.cross_attention_dim = 20;
    spec.norm_num_groups = 8;
  } else if (model == "sd15-half") {
    levels({160, 320, 640, 640}, {8, 8, 8, 8}, {1, 1, 1, 1}, {1, 1, 1, 0});
    spec.cross_attention_dim = 768;
  } else if (model == "sd15") {
    levels({320, 640, 1280, 1280}, {8, 8, 8, 8}, {1, 1, 1, 1}, {1, 1, 1, 0});
    spec.cross_attention_dim = 768;
  } else if (model == "sd21") {
    levels({320, 640, 1280, 1280}, {5, 10, 20, 20}, {1, 1, 1, 1}, {1, 1, 1, 0});
    spec.cross_attention_dim = 1024;
    spec.use_linear_projection = 1;
  } else if (model == "sdxl" || model == "sdxl-half") {
    const int width = model == "sdxl" ? 320 : 160;
    levels({width, 2 * width, 4 * width}, {5, 10, 20}, {1, 2, 10}, {0, 1, 1});
    spec.cross_attention_dim = 2048;
    spec.use_linear_projection = 1;
    spec.addition_time_embed_dim = 256;
    spec.projection_class_embeddings_input_dim = 1280 + 6 * 256;
  } else {
    throw std::runtime_error("MODEL: expected tiny, sd15, sd15-half, sd21, sdxl or sdxl-half, got " + model);
  }
  return spec;
}

struct Options {
  std::string model;
  int32_t dtype = SMPO_F32;
  int64_t batch = 1, size = 64, tokens = 77;
  bool backward = false, checkpointing = false, step = false, invert = false;
  int32_t device = SMPO_DEVICE_CPU;
  int32_t threads = 0;
  int repeats = 5;
  bool serve = false;
  bool deterministic = true;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&] {
      if (i + 1 >= argc) throw std::runtime_error(name + ": expected a value");
      return std::string(argv[++i]);
    };
    const auto number = [&] {
      const int parsed = std::stoi(value());
      if (parsed < 0) throw std::runtime_error(name + ": expected 0 or more");
      return parsed;
    };
    if (name == "--dtype") {
      const std::string dtype = value();
      if (dtype != "f32" && dtype != "bf16") throw std::runtime_error("--dtype: expected f32 or bf16, got " + dtype);
      options.dtype = dtype == "bf16" ? SMPO_BF16 : SMPO_F32;
    } else if (name == "--batch") {
      options.batch = number();
    } else if (name == "--size") {
      options.size = number();
    } else if (name == "--tokens") {
      options.tokens = number();
    } else if (name == "--backward") {
      options.backward = true;
    } else if (name == "--step") {
      options.step = true;
    } else if (name == "--invert") {
      options.invert = true;
    } else if (name == "--device") {
      const std::string device = value();
      if (device != "cpu" && device != "cuda")
        throw std::runtime_error("--device: expected cpu or cuda, got " + device);
      options.device = device == "cuda" ? SMPO_DEVICE_CUDA : SMPO_DEVICE_CPU;
    } else if (name == "--checkpointing") {
      options.checkpointing = true;
    } else if (name == "--threads") {
      options.threads = number();
    } else if (name == "--repeats") {
      options.repeats = std::max(number(), 1);
    } else if (name == "--nondeterministic") {
      options.deterministic = false;
    } else if (name == "--serve") {
      options.serve = true;
    } else if (options.model.empty() && !name.starts_with("-")) {
      options.model = name;
    } else {
      throw std::runtime_error("unknown argument " + name);
    }
  }
  return options;
}

/// Pseudorandom numbers with a variance of about scale^2 around `mean`, generated quickly.
std::vector<float> numbers(uint64_t count, float scale, float mean) {
  static std::minstd_rand generator(1);
  std::vector<float> values(count);
  for (float& value : values) {
    value = mean + scale * 1.7320508f * (static_cast<float>(generator()) * (2.0f / 2147483647.0f) - 1.0f);
  }
  return values;
}

smpo_tensor tensor_of(smpo_session session, const std::vector<int64_t>& shape, float scale, float mean) {
  auto spec = sized<smpo_tensor_spec>();
  spec.dtype = SMPO_F32;
  uint64_t elements = 1;
  for (const int64_t size : shape) {
    spec.shape[spec.rank++] = size;
    elements *= static_cast<uint64_t>(size);
  }
  const std::vector<float> values = numbers(elements, scale, mean);
  smpo_tensor tensor = 0;
  check(smpo_tensor_from_host(session, &spec, values.data(), values.size() * sizeof(float), &tensor, &error));
  return tensor;
}

void write_weights(smpo_session session, smpo_model model) {
  auto info = sized<smpo_model_info>();
  check(smpo_model_describe(session, model, &info, &error));
  for (uint32_t i = 0; i < info.parameter_count; ++i) {
    auto parameter = sized<smpo_parameter_info>();
    check(smpo_model_parameter(session, model, i, &parameter, &error));
    auto spec = sized<smpo_tensor_spec>();
    spec.dtype = SMPO_F32;
    spec.rank = parameter.rank;
    uint64_t elements = 1;
    for (int32_t d = 0; d < parameter.rank; ++d) elements *= static_cast<uint64_t>(spec.shape[d] = parameter.shape[d]);
    const bool gain = parameter.rank == 1 && std::string(parameter.name).ends_with(".weight");
    const auto fan_in = static_cast<float>(elements / static_cast<uint64_t>(parameter.shape[0]));
    const float scale = parameter.rank == 1 ? 0.05f : 1 / std::sqrt(fan_in);
    const std::vector<float> values = numbers(elements, scale, gain ? 1.0f : 0.0f);
    check(smpo_model_write_parameter(session, model, parameter.name, &spec, values.data(),
                                     values.size() * sizeof(float), &error));
  }
}

/// Bytes of a field of this process's status: VmRSS: (now) or VmHWM: (peak).
long long resident(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    long long kilobytes = 0;
    if (word == field && status >> kilobytes) return kilobytes * 1024;
  }
  throw std::runtime_error("/proc/self/status has no " + field);
}

/// Resets the peak of resident memory.
void reset_peak() { std::ofstream("/proc/self/clear_refs") << 5; }

struct Iteration {
  double seconds;
  /// CPU time of all threads.
  double cpu_seconds;
};

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Runs pairs through a batch repeatedly.
class PairBench {
 public:
  PairBench(smpo_session session, smpo_model policy, const smpo_unet_spec& spec, const Options& options)
      : session_(session), policy_(policy), options_(options) {
    if (options.step) {
      auto frozen = sized<smpo_model_options>();
      frozen.precision = options.dtype;
      check(smpo_unet_open(session, &spec, &frozen, &reference_, &error));
      write_weights(session, reference_);
    }
    const int64_t pairs = options.batch, rows = 2 * pairs;
    inputs_.pairs = static_cast<uint32_t>(pairs);
    inputs_.latents = tensor_of(session, {rows, 4, options.size, options.size}, 1, 0);
    inputs_.encoder_hidden_states = tensor_of(session, {pairs, options.tokens, spec.cross_attention_dim}, 1, 0);
    if (spec.addition_time_embed_dim > 0) {
      inputs_.text_embeds = tensor_of(session, {pairs, 1280}, 1, 0);
      inputs_.time_ids = tensor_of(session, {rows, 6}, 100, 512);
    }
    const int grid = options.model.starts_with("sdxl") ? 10 : 5;
    const int stride = 1000 / grid;
    for (int64_t row = 0; row < rows; ++row) {
      // Both images of a pair have its timestep.
      const auto t = static_cast<int32_t>(1000 * (2 * (row % pairs) + 1) / (2 * pairs));
      timesteps_.push_back(t);
      items_.push_back(row);
      // v020: the grid starts one stride below 0 and ends at the last point below t.
      for (int level = -stride + 1; level < t; level += stride) {
        timestep_.push_back(level);
        sample_.push_back(0.98);
        output_.push_back(0.05);
        noise_.push_back(0);
        averages_.push_back(1);
      }
      row_start_.push_back(static_cast<int32_t>(timestep_.size()));
    }
    inputs_.timesteps = timesteps_.data();
    inputs_.items = items_.data();
    target_.assign(static_cast<size_t>(rows), 1.0);
    label_.assign(static_cast<size_t>(pairs), 0.8);
  }

  void run() {
    smpo_pair_batch batch = 0;
    check(smpo_pair_batch_open(session_, &inputs_, &batch, &error));
    auto plan = sized<smpo_inversion_plan>();
    plan.inversion_batch = static_cast<uint32_t>(std::min<int64_t>(2 * options_.batch, 32));
    plan.row_start = row_start_.data();
    plan.timestep = timestep_.data();
    plan.sample = sample_.data();
    plan.output = output_.data();
    plan.noise = noise_.data();
    plan.averages = averages_.data();
    plan.target_sample = plan.target_clean = target_.data();
    check(smpo_pair_batch_invert(session_, batch, policy_, &plan, nullptr, &error));
    if (options_.step) {
      auto loss = sized<smpo_pair_loss>();
      loss.kind = SMPO_PAIR_LOSS_SMPO;
      loss.parameter_count = 1;
      loss.strength = 5000;
      loss.parameters[0] = 0.5;
      for (uint32_t first = 0; first < inputs_.pairs; first += kMicroBatch) {
        auto micro_batch = sized<smpo_micro_batch>();
        micro_batch.first_pair = first;
        micro_batch.pairs = std::min(kMicroBatch, inputs_.pairs - first);
        micro_batch.backward = 1;
        micro_batch.gradient_scale = 1.0 / inputs_.pairs;
        micro_batch.label = label_.data() + first;
        check(smpo_pair_batch_accumulate(session_, batch, policy_, reference_, &loss, &micro_batch, &error));
      }
    }
    check(smpo_pair_batch_close(session_, batch, &error));
  }

 private:
  static constexpr uint32_t kMicroBatch = 4;

  smpo_session session_;
  smpo_model policy_, reference_ = 0;
  const Options options_;
  smpo_pair_batch_inputs inputs_ = sized<smpo_pair_batch_inputs>();
  std::vector<int32_t> timesteps_, row_start_ = {0};
  std::vector<int64_t> items_;
  std::vector<double> timestep_, sample_, output_, noise_, target_, label_;
  std::vector<uint8_t> averages_;
};

void run(const Options& options) {
  auto config = sized<smpo_session_config>();
  config.device_type = options.device;
  config.deterministic = options.deterministic ? 1 : 0;
  config.threads = options.threads;
  config.log_capacity = 64;
  smpo_session session = 0;
  check(smpo_session_open(&config, &session, &error));
  const smpo_unet_spec spec = spec_of(options.model);
  auto model_options = sized<smpo_model_options>();
  model_options.precision = options.dtype;
  model_options.trainable = options.backward || options.step ? 1 : 0;
  model_options.checkpointing = options.checkpointing ? 1 : 0;
  smpo_model model = 0;
  check(smpo_unet_open(session, &spec, &model_options, &model, &error));
  write_weights(session, model);

  auto inputs = sized<smpo_unet_inputs>();
  inputs.sample = tensor_of(session, {options.batch, 4, options.size, options.size}, 1, 0);
  inputs.timesteps = tensor_of(session, {options.batch}, 100, 500);
  inputs.encoder_hidden_states = tensor_of(session, {options.batch, options.tokens, spec.cross_attention_dim}, 1, 0);
  if (spec.addition_time_embed_dim > 0) {
    inputs.text_embeds = tensor_of(session, {options.batch, 1280}, 1, 0);
    inputs.time_ids = tensor_of(session, {options.batch, 6}, 100, 512);
  }
  std::unique_ptr<PairBench> pairs;
  if (options.step || options.invert) pairs = std::make_unique<PairBench>(session, model, spec, options);
  const smpo_tensor cotangent = tensor_of(session, {options.batch, 4, options.size, options.size}, 1, 0);

  const auto iterate = [&] {
    const auto start = std::chrono::steady_clock::now();
    const double cpu_start = cpu_seconds();
    smpo_tensor output = 0;
    if (pairs != nullptr) {
      pairs->run();
    } else if (options.backward) {
      check(smpo_unet_backward(session, model, &inputs, cotangent, &output, nullptr, &error));
    } else {
      check(smpo_unet_forward(session, model, &inputs, &output, &error));
    }
    check(smpo_session_synchronize(session, &error));
    const Iteration took{.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
                         .cpu_seconds = cpu_seconds() - cpu_start};
    if (output != 0) check(smpo_tensor_close(session, output, &error));
    return took;
  };
  auto info = sized<smpo_model_info>();
  check(smpo_model_describe(session, model, &info, &error));
  const auto elements = static_cast<unsigned long long>(info.elements);
  for (int i = 0; i < (options.device == SMPO_DEVICE_CUDA ? 5 : 1); ++i) iterate();
  reset_peak();
  if (options.serve) {
    std::printf(R"({"ready":true,"contender":"%s","parameters":%llu,"resident_bytes":%lld})"
                "\n",
                options.deterministic ? "smpo" : "smpo any order", elements, resident("VmRSS:"));
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
      if (line != "go") throw std::runtime_error("expected the line go, got " + line);
      const Iteration took = iterate();
      std::printf(R"({"seconds":%.6f,"cpu_seconds":%.6f,"peak_resident_bytes":%lld})"
                  "\n",
                  took.seconds, took.cpu_seconds, resident("VmHWM:"));
      std::fflush(stdout);
    }
  } else {
    std::vector<double> seconds;
    for (int i = 0; i < options.repeats; ++i) seconds.push_back(iterate().seconds);
    std::sort(seconds.begin(), seconds.end());
    std::printf(
        R"({"bench":"unet","model":"%s","pass":"%s","dtype":"%s","micro_batch":%lld,"size":%lld,"checkpointing":%s,)"
        R"("deterministic":%s,)"
        R"("parameters":%llu,"median_s":%.6f,"least_s":%.6f,"repeats":%zu,"peak_resident_bytes":%lld})"
        "\n",
        options.model.c_str(),
        options.step       ? "step"
        : options.invert   ? "inversion"
        : options.backward ? "forward+backward"
                           : "forward",
        options.dtype == SMPO_F32 ? "f32" : "bf16", static_cast<long long>(options.batch),
        static_cast<long long>(options.size), options.checkpointing ? "true" : "false",
        options.deterministic ? "true" : "false", elements, seconds[seconds.size() / 2], seconds.front(),
        seconds.size(), resident("VmHWM:"));
  }
  check(smpo_session_close(session, &error));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    return EXIT_SUCCESS;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "smpo_unet_bench: %s\n", failure.what());
    return EXIT_FAILURE;
  }
}
