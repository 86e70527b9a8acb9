// Invalid arguments for every function of smpo.h: handles that are null, closed, of another kind, of another session or
// random bits; null pointers; wrong struct sizes; values out of range; the wrong thread; a poisoned session. Each must
// return the right status and a message that names function and argument, and must write nothing else.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "c_api/border.h"
#include "c_api/tiny_encoders.h"
#include "c_api/tiny_unet.h"

namespace smpo::test {
namespace {

// Outputs of the functions.
struct Outputs {
  uint32_t version;
  char text[65];
  smpo_library_info library;
  smpo_cpu_info cpu;
  smpo_cuda_info cuda;
  smpo_cuda_device_info device;
  smpo_session session;
  smpo_session_statistics statistics;
  smpo_log_record records[2];
  uint32_t count;
  smpo_tensor tensor;
  smpo_tensor_spec spec;
  float data[8];
  smpo_model model;
  smpo_model_info model_info;
  smpo_parameter_info parameter_info;
  smpo_tensor second_tensor;
  smpo_sampler sampler;
  smpo_optimizer optimizer;
  smpo_optimizer_info optimizer_info;
  smpo_state_info state_info;
  smpo_step_outcome outcome;
  char long_text[192];
  smpo_pair_batch batch;
  smpo_comm comm;
  smpo_inversion_report report;
  smpo_pair_results results;
  double numbers[6];
};

// Opens a group of this process alone, on a free port.
smpo_comm_config lone_comm() {
  auto config = sized<smpo_comm_config>();
  config.world_size = 1;
  config.timeout_millis = 20'000;
  config.host = "127.0.0.1";
  config.fingerprint = "";
  return config;
}

// Arguments of one call, valid until a case changes one of them. A function reads those it takes.
struct Arguments {
  smpo_session session = 0;
  smpo_tensor tensor = 0;
  smpo_session_config config = cpu_config();
  smpo_tensor_spec spec = spec_of(SMPO_F32, {2, 4});
  int64_t items[2] = {0, 1};

  const smpo_session_config* config_pointer = &config;
  const smpo_tensor_spec* spec_pointer = &spec;
  const int64_t* items_pointer = items;
  uint64_t items_count = 2;
  uint32_t* version = nullptr;
  char* text = nullptr;
  uint32_t text_capacity = 65;
  smpo_library_info* library = nullptr;
  smpo_cpu_info* cpu = nullptr;
  smpo_cuda_info* cuda = nullptr;
  smpo_cuda_device_info* device = nullptr;
  smpo_session* session_out = nullptr;
  smpo_session_statistics* statistics = nullptr;
  smpo_log_record* records = nullptr;
  uint32_t record_capacity = 2;
  uint32_t* count = nullptr;
  smpo_tensor* tensor_out = nullptr;
  smpo_tensor_spec* spec_out = nullptr;
  float* data = nullptr;
  uint64_t bytes = sizeof Outputs::data;
  int32_t device_index = 0;
  int32_t dtype = SMPO_BF16;
  uint32_t purpose = 3;
  int32_t kind = SMPO_RAISE_NOTHING;
  smpo_status status = SMPO_INTERNAL;

  smpo_model model = 0;       // has an adapter of rank 1 on conv_in, and every weight is written
  smpo_model bare_model = 0;  // has no adapters, and no weight is written
  smpo_sampler sampler = 0;
  smpo_optimizer optimizer = 0;  // for another model with such an adapter
  smpo_pair_batch batch = 0;     // one pair, noised
  smpo_comm comm = 0;            // consists of this process alone
  int32_t root = 0;
  smpo_comm_config comm_config = lone_comm();
  smpo_unet_spec unet_spec = tiny_unet_spec();
  smpo_model_options options = f32_options();
  smpo_lora_spec lora = sized<smpo_lora_spec>();
  const char* modules[2] = {"conv_in", "conv_out"};
  smpo_unet_inputs inputs = sized<smpo_unet_inputs>();
  smpo_tensor cotangent = 0;
  smpo_sampler_row rows[2] = {ddim_row(500, 0.9, -0.1), ddim_row(100, 0.8, -0.2)};
  smpo_sampler_plan plan = sized<smpo_sampler_plan>();
  smpo_sampler_inputs sampler_inputs = sized<smpo_sampler_inputs>();
  smpo_sampler_candidates candidates = sized<smpo_sampler_candidates>();
  smpo_sampler unforked = 0;  // the world's, in whose place smpo_sampler_pairs and smpo_sampler_select get the next
  smpo_sampler forked = 0;
  int32_t choices[2][2] = {{1, 0}, {0, 1}};
  const int32_t* winner = choices[0];
  const int32_t* loser = choices[1];
  smpo_tensor noised = 0, target = 0;
  smpo_tensor_spec parameter_spec = spec_of(SMPO_F32, {8, 1, 1, 1});
  double scale = 0.5;
  uint32_t index = 0;
  uint32_t steps = 1;
  smpo_optimizer_options optimizer_options = adamw_options();
  double learning_rate = 1e-3;
  double max_grad_norm = 1;
  int64_t steps_before = 7;
  const char* state_name = "exp_avg_sq.conv_in.lora_B.weight";
  uint32_t name_capacity = 192;

  // Memory for a second pair, which no tensor has.
  int32_t timesteps[4] = {10, 500, 0, 0};
  int64_t four_items[4] = {1, 2, 3, 4};
  smpo_pair_batch_inputs batch_inputs = sized<smpo_pair_batch_inputs>();
  double numbers[8][2] = {{0.9, 0.8}, {0.1, 0.2}, {0, 0}, {1, 1}, {0, 0}, {0, 0}, {0, 0}, {0, 0}};
  smpo_forward_noise noise = sized<smpo_forward_noise>();
  int32_t row_start[3] = {0, 1, 2};
  uint8_t averages[2] = {0, 1};
  smpo_inversion_plan inversion = sized<smpo_inversion_plan>();
  smpo_rollout rollout = sized<smpo_rollout>();
  smpo_pair_loss loss = sized<smpo_pair_loss>();
  smpo_micro_batch micro_batch = sized<smpo_micro_batch>();
  smpo_model policy = 0;
  smpo_model reference = 0;
  smpo_tensor mean = 0;
  smpo_tensor logvar = 0;
  int32_t which = SMPO_PAIR_BATCH_NOISED;

  EncoderWorld encoders;
  smpo_vae_spec vae_spec = tiny_vae_spec();
  smpo_clip_text_spec text_spec = tiny_text_spec();
  smpo_clip_vision_spec vision_spec = tiny_vision_spec();
  smpo_bert_spec bert_spec = tiny_bert_spec();
  smpo_pixel_spec pixel_spec = tiny_pixel_spec();
  int32_t recompute = 0;
  int32_t tile = 0;
  int32_t skip = 1;
  int32_t final_norm = 0;

  const smpo_vae_spec* vae_spec_pointer = &vae_spec;
  const smpo_clip_text_spec* text_spec_pointer = &text_spec;
  const smpo_clip_vision_spec* vision_spec_pointer = &vision_spec;
  const smpo_bert_spec* bert_spec_pointer = &bert_spec;
  const smpo_pixel_spec* pixel_spec_pointer = &pixel_spec;
  const smpo_unet_spec* unet_spec_pointer = &unet_spec;
  const smpo_model_options* options_pointer = &options;
  const smpo_lora_spec* lora_pointer = &lora;
  const smpo_unet_inputs* inputs_pointer = &inputs;
  const smpo_sampler_plan* plan_pointer = &plan;
  const smpo_sampler_inputs* sampler_inputs_pointer = &sampler_inputs;
  const smpo_sampler_candidates* candidates_pointer = &candidates;
  const smpo_tensor_spec* parameter_spec_pointer = &parameter_spec;
  const char* name = "conv_in.lora_B.weight";
  smpo_model* model_out = nullptr;
  smpo_model_info* model_info = nullptr;
  smpo_parameter_info* parameter_info = nullptr;
  smpo_tensor* second_tensor_out = nullptr;
  smpo_sampler* sampler_out = nullptr;
  const smpo_optimizer_options* optimizer_options_pointer = &optimizer_options;
  smpo_optimizer* optimizer_out = nullptr;
  smpo_optimizer_info* optimizer_info = nullptr;
  smpo_state_info* state_info = nullptr;
  smpo_step_outcome* outcome = nullptr;
  char* long_text = nullptr;
  const smpo_pair_batch_inputs* batch_inputs_pointer = &batch_inputs;
  const smpo_forward_noise* noise_pointer = &noise;
  const smpo_inversion_plan* inversion_pointer = &inversion;
  const smpo_rollout* rollout_pointer = &rollout;
  const smpo_pair_loss* loss_pointer = &loss;
  const smpo_micro_batch* micro_batch_pointer = &micro_batch;
  const smpo_comm_config* comm_config_pointer = &comm_config;
  smpo_comm* comm_out = nullptr;
  smpo_pair_batch* batch_out = nullptr;
  smpo_inversion_report* report = nullptr;
  smpo_pair_results* results = nullptr;

  Arguments() = default;
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;
};

// Makes one argument invalid, and states the expected error.
struct Case {
  std::string name;
  std::function<void(Arguments&)> spoil;
  smpo_status status;
  std::string message;  // a substring of it
};

struct Function {
  const char* name;
  std::function<smpo_status(Arguments&, smpo_error*)> call;
  std::vector<Case> cases;
  bool session = false;
  bool tensor = false;
  bool spec = false;
  bool model = false;
  bool sampler = false;
  bool optimizer = false;
  bool batch = false;
  bool comm = false;
  int optional_pointers = 0;  // number of pointers that may be null
};

// Objects that the calls of one session use.
struct World {
  smpo_tensor tensor = 0;
  smpo_model model = 0;
  smpo_model bare_model = 0;
  smpo_sampler sampler = 0;
  smpo_sampler forked = 0;  // has candidates
  smpo_optimizer optimizer = 0;
  smpo_unet_inputs inputs{};
  smpo_tensor cotangent = 0;
  smpo_tensor prompt = 0;
  smpo_pair_batch batch = 0;
  smpo_comm comm = 0;
  EncoderWorld encoders;

  explicit World(smpo_session session) : encoders(session) {
    const auto spec = spec_of(SMPO_F32, {2, 4});
    EXPECT_EQ(smpo_tensor_zeros(session, &spec, &tensor, nullptr), SMPO_OK);
    bare_model = open_unet(session, f32_options());
    const char* modules[] = {"conv_in"};
    auto lora = sized<smpo_lora_spec>();
    lora.rank = 1;
    lora.alpha = 2;
    lora.module_count = 1;
    lora.modules = modules;
    smpo_model trained_model = 0;
    for (smpo_model* adapted : {&model, &trained_model}) {
      *adapted = open_unet(session, f32_options());
      EXPECT_EQ(smpo_model_add_lora(session, *adapted, &lora, nullptr), SMPO_OK);
      write_missing(session, *adapted);
    }
    inputs = tiny_inputs(session);
    cotangent = some_tensor(session, {2, 4, 6, 5}, 7);
    prompt = some_tensor(session, {1, 7, 6}, 8);
    Arguments a;
    use_in(a);
    for (smpo_sampler* run : {&sampler, &forked}) {
      EXPECT_EQ(smpo_sampler_open(session, model, &a.plan, &a.sampler_inputs, run, nullptr), SMPO_OK);
    }
    smpo_tensor clean = 0;
    EXPECT_EQ(smpo_sampler_fork(session, forked, &a.candidates, &clean, nullptr), SMPO_OK);
    EXPECT_EQ(smpo_tensor_close(session, clean, nullptr), SMPO_OK);
    EXPECT_EQ(smpo_optimizer_open(session, trained_model, &a.optimizer_options, &optimizer, nullptr), SMPO_OK);
    EXPECT_EQ(smpo_pair_batch_open(session, &a.batch_inputs, &batch, nullptr), SMPO_OK);
    EXPECT_EQ(smpo_pair_batch_add_noise(session, batch, &a.noise, nullptr), SMPO_OK);
    EXPECT_EQ(smpo_comm_open(session, &a.comm_config, &comm, nullptr), SMPO_OK);
  }

  void use_in(Arguments& a) const {
    a.tensor = tensor;
    a.model = model;
    a.bare_model = bare_model;
    a.sampler = a.unforked = sampler;
    a.forked = forked;
    a.candidates.candidates = 2;
    a.candidates.items = a.four_items;
    for (smpo_sampler_row& row : a.rows) row.noise = 0.1;
    a.sampler_inputs.items = a.four_items;
    a.optimizer = optimizer;
    a.inputs = inputs;
    a.cotangent = cotangent;
    a.encoders = encoders;
    a.lora.rank = 2;
    a.lora.alpha = 2;
    a.lora.module_count = 2;
    a.lora.modules = a.modules;
    a.plan.steps = 2;
    a.plan.initial_noise_scale = 1;
    a.plan.rows = a.rows;
    a.sampler_inputs.guidance_scale = 1;
    a.sampler_inputs.noise = inputs.sample;
    a.sampler_inputs.encoder_hidden_states = inputs.encoder_hidden_states;
    a.batch = batch;
    a.comm = comm;
    a.batch_inputs.pairs = 1;
    a.batch_inputs.keep_predictions = 1;
    a.batch_inputs.latents = a.mean = a.noised = inputs.sample;
    a.target = cotangent;
    a.batch_inputs.encoder_hidden_states = prompt;
    a.batch_inputs.timesteps = a.timesteps;
    a.batch_inputs.items = a.four_items;
    a.logvar = cotangent;
    a.noise.sample = a.numbers[0];
    a.noise.noise = a.numbers[1];
    a.noise.target_sample = a.numbers[2];
    a.noise.target_noise = a.numbers[3];
    a.inversion.inversion_batch = 2;
    a.inversion.row_start = a.row_start;
    a.inversion.averages = a.averages;
    a.inversion.timestep = a.numbers[2];
    a.inversion.sample = a.numbers[0];
    a.inversion.output = a.numbers[1];
    a.inversion.noise = a.numbers[4];
    a.inversion.target_sample = a.numbers[5];
    a.inversion.target_clean = a.numbers[6];
    a.rollout.start_sample = a.numbers[0];
    a.rollout.start_noise = a.numbers[1];
    a.rollout.target_output = a.numbers[2];
    a.rollout.target_noise = a.numbers[3];
    a.rollout.encoder_hidden_states = prompt;
    a.policy = model;
    a.loss.kind = SMPO_PAIR_LOSS_SMPO;
    a.loss.parameter_count = 1;
    a.loss.strength = 1000;
    a.loss.parameters[0] = 10;
    a.micro_batch.pairs = 1;
    a.micro_batch.backward = 1;
    a.micro_batch.gradient_scale = 1;
    a.micro_batch.label = a.numbers[0];
    a.micro_batch.logit_scale = a.numbers[3];
    a.micro_batch.weight = a.numbers[7];
  }
};

Case null_pointer(const char* argument, std::function<void(Arguments&)> spoil) {
  return {std::string("null ") + argument, std::move(spoil), SMPO_INVALID_ARGUMENT,
          std::string(argument) + ": expected a pointer"};
}

void guide(Arguments& a) {
  a.sampler_inputs.guidance_scale = 7.5;
  a.sampler_inputs.negative_encoder_hidden_states = a.inputs.encoder_hidden_states;
}

smpo_sampler with_candidates(const Arguments& a) { return a.sampler == a.unforked ? a.forked : a.sampler; }

// Two cases: a size of 0, and a size that is too large by one.
std::vector<Case> wrong_size(const char* argument, const std::function<uint32_t*(Arguments&)>& size) {
  const std::string message = std::string(argument) + ".size: expected ";
  return {
      {std::string("size 0 of ") + argument, [size](Arguments& a) { *size(a) = 0; }, SMPO_INVALID_ARGUMENT, message},
      {std::string("size + 1 of ") + argument, [size](Arguments& a) { ++*size(a); }, SMPO_INVALID_ARGUMENT, message}};
}

Case out_of_range(const std::string& name, std::function<void(Arguments&)> spoil, const char* message) {
  return {name, std::move(spoil), SMPO_INVALID_ARGUMENT, message};
}

std::vector<Case> joined(std::initializer_list<std::vector<Case>> lists) {
  std::vector<Case> all;
  for (const auto& list : lists) all.insert(all.end(), list.begin(), list.end());
  return all;
}

std::vector<Case> config_cases() {
  return {
      out_of_range(
          "device_type -1", [](Arguments& a) { a.config.device_type = -1; }, "device_type: expected 0..1"),
      out_of_range(
          "device_type 2", [](Arguments& a) { a.config.device_type = 2; }, "device_type: expected 0..1, got 2"),
      out_of_range(
          "device_index 1", [](Arguments& a) { a.config.device_index = 1; }, "device_index: expected 0"),
      out_of_range(
          "threads -1", [](Arguments& a) { a.config.threads = -1; }, "config.threads: expected 0..1024"),
      out_of_range(
          "threads 1025", [](Arguments& a) { a.config.threads = 1025; }, "config.threads: expected 0..1024"),
      out_of_range(
          "deterministic 2", [](Arguments& a) { a.config.deterministic = 2; }, "config.deterministic: expected"),
      out_of_range(
          "log_level 4", [](Arguments& a) { a.config.log_level = 4; }, "config.log_level: expected 0..3"),
      out_of_range(
          "log_level -1", [](Arguments& a) { a.config.log_level = -1; }, "config.log_level: expected 0..3"),
      out_of_range(
          "log_capacity 0", [](Arguments& a) { a.config.log_capacity = 0; }, "config.log_capacity: expected 1.."),
      out_of_range(
          "log_capacity 65537", [](Arguments& a) { a.config.log_capacity = 65537; },
          "config.log_capacity: expected 1..65536, got 65537"),
      out_of_range(
          "reserved 1", [](Arguments& a) { a.config.reserved = 1; }, "config.reserved: expected 0..0, got 1"),
  };
}

std::vector<Case> spec_cases() {
  return joined(
      {{null_pointer("spec", [](Arguments& a) { a.spec_pointer = nullptr; })},
       wrong_size("spec", [](Arguments& a) { return &a.spec.size; }),
       {
           out_of_range(
               "dtype 0", [](Arguments& a) { a.spec.dtype = 0; }, "dtype: expected 1..5, got 0"),
           out_of_range(
               "dtype 6", [](Arguments& a) { a.spec.dtype = 6; }, "dtype: expected 1..5, got 6"),
           out_of_range(
               "rank -1", [](Arguments& a) { a.spec.rank = -1; }, "spec.rank: expected 0..8, got -1"),
           out_of_range(
               "rank 9", [](Arguments& a) { a.spec.rank = 9; }, "spec.rank: expected 0..8, got 9"),
           out_of_range(
               "reserved 1", [](Arguments& a) { a.spec.reserved = 1; }, "spec.reserved: expected 0..0, got 1"),
           out_of_range(
               "negative size", [](Arguments& a) { a.spec.shape[1] = -4; }, "got [2,-4]"),
           out_of_range(
               "entry after the rank", [](Arguments& a) { a.spec.shape[2] = 1; },
               "spec.shape: expected 0 in entries from the rank (2) on, got 1 at 2"),
           out_of_range(
               "size that overflows", [](Arguments& a) { a.spec.shape[0] = INT64_MAX; },
               "shape: expected at most 9223372036854775807 bytes"),
       }});
}

// Cases for a parameter's name and host memory.
std::vector<Case> parameter_cases() {
  return joined(
      {{null_pointer("name", [](Arguments& a) { a.name = nullptr; }),
        null_pointer("spec", [](Arguments& a) { a.parameter_spec_pointer = nullptr; }),
        null_pointer("data", [](Arguments& a) { a.data = nullptr; })},
       wrong_size("spec", [](Arguments& a) { return &a.parameter_spec.size; }),
       {out_of_range(
            "an unknown name", [](Arguments& a) { a.name = "conv"; }, "name: the model has no parameter conv"),
        {"one byte more", [](Arguments& a) { ++a.bytes; }, SMPO_SHAPE_MISMATCH, "bytes: expected 32"},
        {"another shape", [](Arguments& a) { a.parameter_spec = spec_of(SMPO_F32, {2, 4}); }, SMPO_SHAPE_MISMATCH,
         "conv_in.lora_B.weight: expected shape [8,1,1,1], got [2,4]"},
        {"an integer type", [](Arguments& a) { a.parameter_spec.dtype = SMPO_I32; }, SMPO_DTYPE_MISMATCH,
         "conv_in.lora_B.weight: expected a floating type, got i32"}}});
}

std::vector<Case> unet_input_cases() {
  return joined({{null_pointer("inputs", [](Arguments& a) { a.inputs_pointer = nullptr; })},
                 wrong_size("inputs", [](Arguments& a) { return &a.inputs.size; }),
                 {out_of_range(
                      "sample_only 2", [](Arguments& a) { a.inputs.sample_only = 2; },
                      "inputs.sample_only: expected 0..1, got 2"),
                  out_of_range(
                      "missing weights", [](Arguments& a) { a.model = a.bare_model; },
                      "parameters were never written: conv_in.weight"),
                  out_of_range(
                      "a tensor too many", [](Arguments& a) { a.inputs.time_ids = a.tensor; },
                      "time_ids: expected none, since the UNet has no text_time embedding"),
                  {"no sample", [](Arguments& a) { a.inputs.sample = 0; }, SMPO_INVALID_HANDLE,
                   "inputs.sample: expected a tensor handle, got the null handle"},
                  {"a sample of another shape", [](Arguments& a) { a.inputs.sample = a.inputs.encoder_hidden_states; },
                   SMPO_SHAPE_MISMATCH, "sample: expected [B,4,h,w] of Float, got [2, 7, 6]"},
                  {"timesteps of another shape", [](Arguments& a) { a.inputs.timesteps = a.tensor; },
                   SMPO_SHAPE_MISMATCH, "timesteps: expected [2] of Float, got [2, 4]"},
                  {"text of another width", [](Arguments& a) { a.inputs.encoder_hidden_states = a.inputs.sample; },
                   SMPO_SHAPE_MISMATCH, "encoder_hidden_states: expected [2,S,6] of Float, got [2, 4, 6, 5]"}}});
}

// Cases for a model's options.
std::vector<Case> option_cases() {
  return joined(
      {{null_pointer("options", [](Arguments& a) { a.options_pointer = nullptr; })},
       wrong_size("options", [](Arguments& a) { return &a.options.size; }),
       {out_of_range(
            "precision f16", [](Arguments& a) { a.options.precision = SMPO_F16; },
            "options.precision: expected 1..2, got 3"),
        out_of_range(
            "trainable 2", [](Arguments& a) { a.options.trainable = 2; }, "options.trainable: expected 0..1, got 2"),
        out_of_range(
            "checkpointing 2", [](Arguments& a) { a.options.checkpointing = 2; },
            "options.checkpointing: expected 0..1, got 2")}});
}

// Cases for the options of a model without a backward pass.
std::vector<Case> encoder_option_cases() {
  return joined({option_cases(),
                 {{"checkpointing", [](Arguments& a) { a.options.checkpointing = 1; }, SMPO_UNSUPPORTED,
                   "options.checkpointing: expected 0, since only UNets are trained, got 1"}}});
}

// Cases for an encoder's model and its input, of whichever kind the function takes.
std::vector<Case> encoder_cases(smpo_tensor EncoderWorld::* input, const char* name) {
  const std::string argument = name;
  return {
      {"no input", [input](Arguments& a) { a.encoders.*input = 0; }, SMPO_INVALID_HANDLE,
       argument + ": expected a tensor handle, got the null handle"},
      {"an input of another shape",
       [input](Arguments& a) {
         a.encoders.*input = input == &EncoderWorld::ids ? a.encoders.flat_ids : a.encoders.flat;
       },
       SMPO_SHAPE_MISMATCH, argument + ": expected [B,"},
      {"a UNet", [](Arguments& a) { a.encoders.vae = a.encoders.text = a.encoders.vision = a.encoders.bert = a.model; },
       SMPO_INVALID_HANDLE, "got a model of another kind"}};
}

// Cases for the spec and the model of a CLIP tower.
template <typename Spec>
std::vector<Case> tower_cases(const Spec* Arguments::* pointer, Spec Arguments::* spec) {
  return joined(
      {{null_pointer("spec", [=](Arguments& a) { a.*pointer = nullptr; }),
        null_pointer("model", [](Arguments& a) { a.model_out = nullptr; })},
       wrong_size("spec", [=](Arguments& a) { return &(a.*spec).size; }),
       {out_of_range(
            "activation 3", [=](Arguments& a) { (a.*spec).activation = 3; }, "spec.activation: expected 1..2, got 3"),
        out_of_range(
            "heads 3", [=](Arguments& a) { (a.*spec).attention_heads = 3; },
            "num_attention_heads: expected a number that divides hidden_size (4), got 3")},
       encoder_option_cases()});
}

// Cases for pixels and their preprocessing.
std::vector<Case> pixel_cases() {
  return joined(
      {{null_pointer("spec", [](Arguments& a) { a.pixel_spec_pointer = nullptr; }),
        {"no pixels", [](Arguments& a) { a.encoders.pixels = 0; }, SMPO_INVALID_HANDLE,
         "pixels: expected a tensor handle, got the null handle"},
        {"flat pixels", [](Arguments& a) { a.encoders.pixels = a.encoders.flat; }, SMPO_SHAPE_MISMATCH,
         "pixels: expected [B,3,H,W] of Float, got [5] of Float"},
        {"integers", [](Arguments& a) { a.encoders.pixels = a.encoders.ids; }, SMPO_DTYPE_MISMATCH,
         "pixels: expected a floating type, got i32"}},
       wrong_size("spec", [](Arguments& a) { return &a.pixel_spec.size; }),
       {out_of_range(
            "filter 3", [](Arguments& a) { a.pixel_spec.filter = 3; }, "spec.filter: expected 1..2, got 3"),
        out_of_range(
            "no rows", [](Arguments& a) { a.pixel_spec.resized_height = 0; },
            "spec.resized_height: expected 1..16384, got 0"),
        out_of_range(
            "no columns", [](Arguments& a) { a.pixel_spec.width = 0; }, "spec.width: expected 1..16384, got 0"),
        out_of_range(
            "nothing shown", [](Arguments& a) { a.pixel_spec.top = -5; },
            "spec.top: expected a place that shows some of the image, -4..3, got -5"),
        out_of_range(
            "beside", [](Arguments& a) { a.pixel_spec.left = 4; },
            "spec.left: expected a place that shows some of the image, -3..3, got 4"),
        out_of_range(
            "std 0", [](Arguments& a) { a.pixel_spec.std[1] = 0; }, "spec.std[1]: expected more than 0, got 0"),
        out_of_range(
            "mean nan", [](Arguments& a) { a.pixel_spec.mean[2] = std::nan(""); },
            "spec.mean[2]: expected a finite number, got nan")}});
}

// Cases for a state's name and host memory.
std::vector<Case> state_cases() {
  return joined({{null_pointer("name", [](Arguments& a) { a.state_name = nullptr; }),
                  null_pointer("spec", [](Arguments& a) { a.parameter_spec_pointer = nullptr; }),
                  null_pointer("data", [](Arguments& a) { a.data = nullptr; })},
                 wrong_size("spec", [](Arguments& a) { return &a.parameter_spec.size; }),
                 {out_of_range(
                      "an unknown name", [](Arguments& a) { a.state_name = "exp_avg.conv"; },
                      "name: the optimizer has no state exp_avg.conv"),
                  {"one byte more", [](Arguments& a) { ++a.bytes; }, SMPO_SHAPE_MISMATCH, "bytes: expected 32"},
                  {"another shape", [](Arguments& a) { a.parameter_spec = spec_of(SMPO_F32, {2, 4}); },
                   SMPO_SHAPE_MISMATCH, "exp_avg_sq.conv_in.lora_B.weight: expected shape [8,1,1,1], got [2,4]"},
                  {"another type",
                   [](Arguments& a) {
                     a.parameter_spec.dtype = SMPO_BF16;
                     a.bytes = 16;
                   },
                   SMPO_DTYPE_MISMATCH, "exp_avg_sq.conv_in.lora_B.weight: expected f32, got bf16"}}});
}

std::vector<Case> optimizer_option_cases() {
  const auto number = [](double smpo_optimizer_options::* field, double value, const char* message) {
    return out_of_range(message, [=](Arguments& a) { a.optimizer_options.*field = value; }, message);
  };
  const auto flag = [](int32_t smpo_optimizer_options::* field, int32_t value, const char* message) {
    return out_of_range(message, [=](Arguments& a) { a.optimizer_options.*field = value; }, message);
  };
  using Options = smpo_optimizer_options;
  return {flag(&Options::kind, 0, "options.kind: expected 1..2, got 0"),
          flag(&Options::kind, 3, "options.kind: expected 1..2, got 3"),
          flag(&Options::scale_parameter, 2, "options.scale_parameter: expected 0..1, got 2"),
          flag(&Options::relative_step, -1, "options.relative_step: expected 0..1, got -1"),
          flag(&Options::warmup_init, 2, "options.warmup_init: expected 0..1, got 2"),
          flag(&Options::reserved, 1, "options.reserved: expected 0..0, got 1"),
          number(&Options::beta1, 1, "options.beta1: expected a number in [0,1), got 1"),
          number(&Options::beta2, -0.5, "options.beta2: expected a number in [0,1), got -0.5"),
          number(&Options::beta2, NAN, "options.beta2: expected a number in [0,1), got nan"),
          number(&Options::eps, 0, "options.eps: expected an f32 above 0, got 0"),
          number(&Options::eps, 1e-50, "options.eps: expected an f32 above 0, got 1e-50"),
          number(&Options::weight_decay, -1, "options.weight_decay: expected a finite number of at least 0, got -1"),
          number(&Options::ema_decay, 1, "options.ema_decay: expected a number in [0,1), got 1"),
          number(&Options::parameter_eps, 1, "options.parameter_eps: expected 0, as AdamW has none, got 1"),
          number(&Options::clip_threshold, 1, "options.clip_threshold: expected 0, as AdamW has none, got 1"),
          number(&Options::decay_rate, -1, "options.decay_rate: expected 0, as AdamW has none, got -1"),
          flag(&Options::scale_parameter, 1, "options.scale_parameter: expected 0, as AdamW has none, got 1"),
          flag(&Options::relative_step, 1, "options.relative_step: expected 0, as AdamW has none, got 1"),
          flag(&Options::warmup_init, 1, "options.warmup_init: expected 0, as AdamW has none, got 1")};
}

std::vector<Case> batch_input_cases() {
  using Inputs = smpo_pair_batch_inputs;
  const auto input = [](const char* name, smpo_tensor Inputs::* field, std::function<smpo_tensor(Arguments&)> tensor,
                        smpo_status status, const char* message) {
    return Case{name, [=](Arguments& a) { a.batch_inputs.*field = tensor(a); }, status, message};
  };
  return {
      out_of_range(
          "pairs 0", [](Arguments& a) { a.batch_inputs.pairs = 0; }, "inputs.pairs: expected 1..65536, got 0"),
      out_of_range(
          "pairs 65537", [](Arguments& a) { a.batch_inputs.pairs = 65537; }, "inputs.pairs: expected 1..65536"),
      out_of_range(
          "keep 2", [](Arguments& a) { a.batch_inputs.keep_predictions = 2; },
          "inputs.keep_predictions: expected 0..1, got 2"),
      out_of_range(
          "no timesteps", [](Arguments& a) { a.batch_inputs.timesteps = nullptr; },
          "inputs.timesteps: expected a pointer"),
      out_of_range(
          "no items", [](Arguments& a) { a.batch_inputs.items = nullptr; }, "inputs.items: expected a pointer"),
      out_of_range(
          "timestep -1", [](Arguments& a) { a.timesteps[1] = -1; },
          "inputs.timesteps[1]: expected 0..16777215, got -1"),
      out_of_range(
          "timestep 2^24", [](Arguments& a) { a.timesteps[0] = 1 << 24; },
          "inputs.timesteps[0]: expected 0..16777215, got 16777216"),
      out_of_range(
          "item -1", [](Arguments& a) { a.four_items[0] = -1; }, "inputs.items[0]: expected 0..17592186044415, got -1"),
      out_of_range(
          "item 2^44", [](Arguments& a) { a.four_items[1] = int64_t{1} << 44; },
          "inputs.items[1]: expected 0..17592186044415, got 17592186044416"),
      {"more pairs than latents", [](Arguments& a) { a.batch_inputs.pairs = 2; }, SMPO_SHAPE_MISMATCH,
       "inputs.latents: expected [2W,C,h,w] with 4 in front, got [2,4,6,5]"},
      input(
          "latents of another kind", &Inputs::latents, [](Arguments& a) { return a.model; }, SMPO_INVALID_HANDLE,
          "inputs.latents: expected a tensor handle, got a model handle"),
      out_of_range(
          "guidance nan", [](Arguments& a) { a.batch_inputs.guidance_scale = NAN; },
          "inputs.guidance_scale: expected a finite number, got nan"),
      out_of_range(
          "shared_sample 2", [](Arguments& a) { a.batch_inputs.shared_sample = 2; },
          "inputs.shared_sample: expected 0..1, got 2"),
      out_of_range(
          "a shared sample and latents", [](Arguments& a) { a.batch_inputs.shared_sample = 1; },
          "inputs.latents: expected 0, since shared_sample is 1, got a tensor"),
      out_of_range(
          "a shared sample at two timesteps",
          [](Arguments& a) {
            a.batch_inputs.latents = 0;
            a.batch_inputs.shared_sample = 1;
          },
          "inputs.timesteps[1]: expected 10 as for the winner, since shared_sample is 1, got 500"),
      out_of_range(
          "negative without guidance",
          [](Arguments& a) { a.batch_inputs.negative_encoder_hidden_states = a.batch_inputs.encoder_hidden_states; },
          "inputs: expected no negative tensors, since guidance_scale is 0"),
      {"guidance without negative", [](Arguments& a) { a.batch_inputs.guidance_scale = 5; }, SMPO_INVALID_HANDLE,
       "inputs.negative_encoder_hidden_states: expected a tensor handle, got the null handle"},
      {"negative states of another shape",
       [](Arguments& a) {
         a.batch_inputs.guidance_scale = 5;
         a.batch_inputs.negative_encoder_hidden_states = a.inputs.encoder_hidden_states;
       },
       SMPO_SHAPE_MISMATCH, "inputs.negative_encoder_hidden_states: expected [1,7,6] as for the prompts, got [2,7,6]"},
      out_of_range(
          "negative text_embeds without text_embeds",
          [](Arguments& a) {
            a.batch_inputs.guidance_scale = 5;
            a.batch_inputs.negative_encoder_hidden_states = a.batch_inputs.encoder_hidden_states;
            a.batch_inputs.negative_text_embeds = a.tensor;
          },
          "inputs.negative_text_embeds: expected none as for inputs.text_embeds"),
      input(
          "flat latents", &Inputs::latents, [](Arguments& a) { return a.tensor; }, SMPO_SHAPE_MISMATCH,
          "inputs.latents: expected [2W,C,h,w] with 2 in front, got [2,4]"),
      input(
          "latents of integers", &Inputs::latents, [](Arguments& a) { return a.encoders.ids; }, SMPO_DTYPE_MISMATCH,
          "inputs.latents: expected f32, got i32"),
      input(
          "no prompt", &Inputs::encoder_hidden_states, [](Arguments&) { return 0; }, SMPO_INVALID_HANDLE,
          "inputs.encoder_hidden_states: expected a tensor handle, got the null handle"),
      input(
          "a prompt for each image", &Inputs::encoder_hidden_states,
          [](Arguments& a) { return a.inputs.encoder_hidden_states; }, SMPO_SHAPE_MISMATCH,
          "inputs.encoder_hidden_states: expected [W,S,D] with 1 in front, got [2,7,6]"),
      input(
          "text_embeds for each image", &Inputs::text_embeds, [](Arguments& a) { return a.tensor; },
          SMPO_SHAPE_MISMATCH, "inputs.text_embeds: expected [W,E] with 1 in front, got [2,4]"),
      input(
          "text_embeds of another kind", &Inputs::text_embeds, [](Arguments& a) { return a.model; },
          SMPO_INVALID_HANDLE, "inputs.text_embeds: expected a tensor handle, got a model handle"),
      input(
          "time_ids of another rank", &Inputs::time_ids, [](Arguments& a) { return a.inputs.sample; },
          SMPO_SHAPE_MISMATCH, "inputs.time_ids: expected [2W,K] with 2 in front, got [2,4,6,5]"),
      input(
          "time_ids of integers", &Inputs::time_ids, [](Arguments& a) { return a.encoders.ids; }, SMPO_DTYPE_MISMATCH,
          "inputs.time_ids: expected f32, got i32")};
}

std::vector<Case> noise_cases() {
  using Noise = smpo_forward_noise;
  std::vector<Case> cases = {out_of_range(
      "per_image 2", [](Arguments& a) { a.noise.per_image = 2; }, "noise.per_image: expected 0..1, got 2")};
  const std::pair<const char*, const double * Noise::*> fields[] = {{"noise.sample", &Noise::sample},
                                                                    {"noise.noise", &Noise::noise},
                                                                    {"noise.target_sample", &Noise::target_sample},
                                                                    {"noise.target_noise", &Noise::target_noise}};
  static const double spoiled[] = {0.5, NAN};
  for (const auto& [name, field] : fields) {
    const auto chosen = field;
    const std::string text = name;
    cases.push_back({"no " + text, [=](Arguments& a) { a.noise.*chosen = nullptr; }, SMPO_INVALID_ARGUMENT,
                     text + ": expected a pointer"});
    cases.push_back({text + " nan", [=](Arguments& a) { a.noise.*chosen = spoiled; }, SMPO_INVALID_ARGUMENT,
                     text + "[1]: expected a finite number, got nan"});
  }
  return cases;
}

std::vector<Case> inversion_cases() {
  using Plan = smpo_inversion_plan;
  std::vector<Case> cases = {
      out_of_range(
          "inversion_batch 0", [](Arguments& a) { a.inversion.inversion_batch = 0; },
          "plan.inversion_batch: expected 1..65535, got 0"),
      out_of_range(
          "inversion_batch 65536", [](Arguments& a) { a.inversion.inversion_batch = 65536; },
          "plan.inversion_batch: expected 1..65535"),
      out_of_range(
          "no row_start", [](Arguments& a) { a.inversion.row_start = nullptr; }, "plan.row_start: expected a pointer"),
      out_of_range(
          "no averages", [](Arguments& a) { a.inversion.averages = nullptr; }, "plan.averages: expected a pointer"),
      out_of_range(
          "a first step", [](Arguments& a) { a.row_start[0] = 1; }, "plan.row_start[0]: expected 0, got 1"),
      out_of_range(
          "steps that fall", [](Arguments& a) { a.row_start[2] = 0; }, "plan.row_start[2]: expected 1 to 4097, got 0"),
      out_of_range(
          "too many steps", [](Arguments& a) { a.row_start[1] = 4097; },
          "plan.row_start[1]: expected 0 to 4096, got 4097"),
      out_of_range(
          "averages 2", [](Arguments& a) { a.averages[1] = 2; }, "plan.averages[1]: expected 0..1, got 2"),
      out_of_range(
          "missing weights", [](Arguments& a) { a.model = a.bare_model; },
          "parameters were never written: conv_in.weight"),
      {"a VAE", [](Arguments& a) { a.model = a.encoders.vae; }, SMPO_INVALID_HANDLE,
       "model: expected a UNet, got a model of another kind"}};
  const std::pair<const char*, const double * Plan::*> fields[] = {{"plan.timestep", &Plan::timestep},
                                                                   {"plan.sample", &Plan::sample},
                                                                   {"plan.output", &Plan::output},
                                                                   {"plan.noise", &Plan::noise},
                                                                   {"plan.target_sample", &Plan::target_sample},
                                                                   {"plan.target_clean", &Plan::target_clean}};
  static const double spoiled[] = {0.5, INFINITY};
  for (const auto& [name, field] : fields) {
    const auto chosen = field;
    const std::string text = name;
    cases.push_back({"no " + text, [=](Arguments& a) { a.inversion.*chosen = nullptr; }, SMPO_INVALID_ARGUMENT,
                     text + ": expected a pointer"});
    cases.push_back({text + " infinite", [=](Arguments& a) { a.inversion.*chosen = spoiled; }, SMPO_INVALID_ARGUMENT,
                     text + "[1]: expected a finite number, got inf"});
  }
  return cases;
}

std::vector<Case> rollout_cases() {
  using Rollout = smpo_rollout;
  std::vector<Case> cases = {
      out_of_range(
          "an image without a step", [](Arguments& a) { a.row_start[1] = 0; },
          "plan.row_start[1]: expected more than 0, since every image of a rollout takes a step, got 0"),
      {"no prompt", [](Arguments& a) { a.rollout.encoder_hidden_states = 0; }, SMPO_INVALID_HANDLE,
       "rollout.encoder_hidden_states: expected a tensor"},
      {"two prompts", [](Arguments& a) { a.rollout.encoder_hidden_states = a.inputs.encoder_hidden_states; },
       SMPO_SHAPE_MISMATCH, "rollout.encoder_hidden_states: expected one row of [1,7,6], got [2,7,6]"},
      out_of_range(
          "text_embeds without text_embeds", [](Arguments& a) { a.rollout.text_embeds = a.tensor; },
          "rollout.text_embeds: expected none as for the batch")};
  const std::pair<const char*, const double * Rollout::*> fields[] = {
      {"rollout.start_sample", &Rollout::start_sample},
      {"rollout.start_noise", &Rollout::start_noise},
      {"rollout.target_output", &Rollout::target_output},
      {"rollout.target_noise", &Rollout::target_noise}};
  static const double spoiled[] = {0.5, INFINITY};
  for (const auto& [name, field] : fields) {
    const auto chosen = field;
    const std::string text = name;
    cases.push_back({"no " + text, [=](Arguments& a) { a.rollout.*chosen = nullptr; }, SMPO_INVALID_ARGUMENT,
                     text + ": expected a pointer"});
    cases.push_back({text + " infinite", [=](Arguments& a) { a.rollout.*chosen = spoiled; }, SMPO_INVALID_ARGUMENT,
                     text + "[1]: expected a finite number, got inf"});
  }
  return cases;
}

std::vector<Case> pair_loss_cases() {
  using Loss = smpo_pair_loss;
  std::vector<Case> cases = {
      out_of_range(
          "kind 0", [](Arguments& a) { a.loss.kind = 0; }, "loss.kind: expected 1..13, got 0"),
      out_of_range(
          "kind 99", [](Arguments& a) { a.loss.kind = 99; }, "loss.kind: expected 1..13, got 99"),
      out_of_range(
          "parameter_count 2", [](Arguments& a) { a.loss.parameter_count = 2; },
          "loss.parameter_count: expected 1, the number that kind 2 has, got 2"),
      out_of_range(
          "a parameter too many", [](Arguments& a) { a.loss.parameters[1] = 3; },
          "loss.parameters[1]: expected 0, since kind 2 has 1 parameters, got 3"),
      out_of_range(
          "parameter nan", [](Arguments& a) { a.loss.parameters[7] = NAN; },
          "loss.parameters[7]: expected a finite number, got nan"),
      out_of_range(
          "safeguard -1", [](Arguments& a) { a.loss.safeguard = -1; }, "loss.safeguard: expected 0..1, got -1")};
  const std::pair<const char*, double Loss::*> fields[] = {{"loss.strength", &Loss::strength},
                                                           {"loss.safeguard_mu", &Loss::safeguard_mu},
                                                           {"loss.budget_weight", &Loss::budget_weight},
                                                           {"loss.budget", &Loss::budget}};
  for (const auto& [name, field] : fields) {
    const auto chosen = field;
    cases.push_back({std::string(name) + " nan", [=](Arguments& a) { a.loss.*chosen = NAN; }, SMPO_INVALID_ARGUMENT,
                     std::string(name) + ": expected a finite number, got nan"});
  }
  return cases;
}

std::vector<Case> pair_batch_cases() {
  static const double spoiled[] = {NAN};
  return {
      out_of_range(
          "first_pair 1", [](Arguments& a) { a.micro_batch.first_pair = 1; },
          "micro_batch.first_pair: expected 0..0, got 1"),
      out_of_range(
          "pairs 0", [](Arguments& a) { a.micro_batch.pairs = 0; }, "micro_batch.pairs: expected 1..1, got 0"),
      out_of_range(
          "pairs 2", [](Arguments& a) { a.micro_batch.pairs = 2; }, "micro_batch.pairs: expected 1..1, got 2"),
      out_of_range(
          "backward 2", [](Arguments& a) { a.micro_batch.backward = 2; }, "micro_batch.backward: expected 0..1, got 2"),
      out_of_range(
          "gradient_scale infinite", [](Arguments& a) { a.micro_batch.gradient_scale = INFINITY; },
          "micro_batch.gradient_scale: expected a finite number, got inf"),
      out_of_range(
          "SmPO without labels", [](Arguments& a) { a.micro_batch.label = nullptr; },
          "micro_batch.label: expected a pointer"),
      out_of_range(
          "CaPO without labels",
          [](Arguments& a) {
            a.loss.kind = SMPO_PAIR_LOSS_CAPO;
            a.loss.parameter_count = 0;
            a.loss.parameters[0] = 0;
            a.micro_batch.label = nullptr;
          },
          "micro_batch.label: expected a pointer"),
      out_of_range(
          "label nan", [](Arguments& a) { a.micro_batch.label = spoiled; },
          "micro_batch.label[0]: expected a finite number, got nan"),
      out_of_range(
          "logit_scale nan", [](Arguments& a) { a.micro_batch.logit_scale = spoiled; },
          "micro_batch.logit_scale[0]: expected a finite number, got nan"),
      out_of_range(
          "weight nan", [](Arguments& a) { a.micro_batch.weight = spoiled; },
          "micro_batch.weight[0]: expected a finite number, got nan"),
      out_of_range(
          "mean_gain nan", [](Arguments& a) { a.micro_batch.mean_gain = spoiled; },
          "micro_batch.mean_gain[0]: expected a finite number, got nan"),
      {"no policy", [](Arguments& a) { a.policy = 0; }, SMPO_INVALID_HANDLE,
       "policy: expected a model handle, got the null handle"},
      {"a tensor as policy", [](Arguments& a) { a.policy = a.tensor; }, SMPO_INVALID_HANDLE,
       "policy: expected a model handle, got a tensor handle"},
      {"a VAE as policy", [](Arguments& a) { a.policy = a.encoders.vae; }, SMPO_INVALID_HANDLE,
       "policy: expected a UNet, got a model of another kind"},
      {"a batch as reference", [](Arguments& a) { a.reference = a.batch; }, SMPO_INVALID_HANDLE,
       "reference: expected a model handle, got a pair batch handle"},
      {"a VAE as reference", [](Arguments& a) { a.reference = a.encoders.vae; }, SMPO_INVALID_HANDLE,
       "reference: expected a UNet, got a model of another kind"},
      out_of_range(
          "a frozen policy", [](Arguments& a) { a.policy = a.bare_model; },
          "policy: expected a trainable UNet or one with adapters, got a frozen one"),
      out_of_range(
          "missing weights", [](Arguments& a) { a.reference = a.bare_model; },
          "parameters were never written: conv_in.weight")};
}

std::vector<Case> result_cases() {
  using Results = smpo_pair_results;
  std::vector<Case> cases = {
      out_of_range("pairs 2", [](Arguments& a) { a.results->pairs = 2; }, "results.pairs: expected 1..1, got 2")};
  const std::pair<const char*, double * Results::*> fields[] = {
      {"results.errors", &Results::errors}, {"results.logits", &Results::logits}, {"results.losses", &Results::losses}};
  for (const auto& [name, field] : fields) {
    const auto chosen = field;
    cases.push_back({std::string("no ") + name, [=](Arguments& a) { a.results->*chosen = nullptr; },
                     SMPO_INVALID_ARGUMENT, std::string(name) + ": expected a pointer"});
  }
  return cases;
}

const std::vector<Function>& functions() {
  static const std::vector<Function> all = {
      {.name = "smpo_abi_version",
       .call = [](Arguments& a, smpo_error* e) { return smpo_abi_version(a.version, e); },
       .cases = {null_pointer("version", [](Arguments& a) { a.version = nullptr; })}},
      {.name = "smpo_abi_header_sha256",
       .call = [](Arguments& a, smpo_error* e) { return smpo_abi_header_sha256(a.text, a.text_capacity, e); },
       .cases = {null_pointer("text", [](Arguments& a) { a.text = nullptr; }),
                 out_of_range("capacity 64", [](Arguments& a) { a.text_capacity = 64; },
                              "capacity: expected at least 65")}},
      {.name = "smpo_library_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_library_describe(a.library, e); },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.library = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.library->size; })})},
      {.name = "smpo_cpu_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_cpu_describe(a.cpu, e); },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.cpu = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.cpu->size; })})},
      {.name = "smpo_cuda_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_cuda_describe(a.cuda, e); },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.cuda = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.cuda->size; })})},
      {.name = "smpo_cuda_device_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_cuda_device_describe(a.device_index, a.device, e); },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.device = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.device->size; }),
                        {out_of_range("index -1", [](Arguments& a) { a.device_index = -1; }, "index: expected"),
                         out_of_range("index 1000", [](Arguments& a) { a.device_index = 1000; }, "index: expected")}})},
      {.name = "smpo_session_open",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_open(a.config_pointer, a.session_out, e); },
       .cases = joined({{null_pointer("config", [](Arguments& a) { a.config_pointer = nullptr; }),
                         null_pointer("session", [](Arguments& a) { a.session_out = nullptr; })},
                        wrong_size("config", [](Arguments& a) { return &a.config.size; }),
                        config_cases()})},
      {.name = "smpo_session_close",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_close(a.session, e); },
       .cases = {},
       .session = true},
      {.name = "smpo_session_cancel",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_cancel(a.session, e); },
       .cases = {},
       .session = true},
      {.name = "smpo_session_synchronize",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_synchronize(a.session, e); },
       .cases = {},
       .session = true},
      {.name = "smpo_session_trim",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_trim(a.session, e); },
       .cases = {},
       .session = true},
      {.name = "smpo_session_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_session_describe(a.session, a.statistics, e); },
       .cases = joined({{null_pointer("statistics", [](Arguments& a) { a.statistics = nullptr; })},
                        wrong_size("statistics", [](Arguments& a) { return &a.statistics->size; })}),
       .session = true},
      {.name = "smpo_session_drain_log",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_session_drain_log(a.session, a.records, a.record_capacity, a.count, e);
           },
       .cases = joined({{null_pointer("records", [](Arguments& a) { a.records = nullptr; }),
                         null_pointer("count", [](Arguments& a) { a.count = nullptr; })},
                        wrong_size("records[1]", [](Arguments& a) { return &a.records[1].size; })}),
       .session = true},
      {.name = "smpo_debug_raise",
       .call = [](Arguments& a, smpo_error* e) { return smpo_debug_raise(a.session, a.kind, a.status, e); },
       .cases = {out_of_range("kind -1", [](Arguments& a) { a.kind = -1; }, "kind: expected 0..8, got -1"),
                 out_of_range("kind 9", [](Arguments& a) { a.kind = 9; }, "kind: expected 0..8, got 9"),
                 out_of_range("status 0",
                              [](Arguments& a) {
                                a.kind = SMPO_RAISE_ENGINE_ERROR;
                                a.status = SMPO_OK;
                              },
                              "status: expected 1..13, got 0"),
                 out_of_range("status 14",
                              [](Arguments& a) {
                                a.kind = SMPO_RAISE_ENGINE_ERROR;
                                a.status = 14;
                              },
                              "status: expected 1..13, got 14")},
       .session = true},
      {.name = "smpo_tensor_zeros",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_zeros(a.session, a.spec_pointer, a.tensor_out, e);
           },
       .cases = {null_pointer("tensor", [](Arguments& a) { a.tensor_out = nullptr; })},
       .session = true,
       .spec = true},
      {.name = "smpo_tensor_from_host",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_from_host(a.session, a.spec_pointer, a.data, a.bytes, a.tensor_out, e);
           },
       .cases = {null_pointer("data", [](Arguments& a) { a.data = nullptr; }),
                 null_pointer("tensor", [](Arguments& a) { a.tensor_out = nullptr; }),
                 {"one byte less", [](Arguments& a) { --a.bytes; }, SMPO_SHAPE_MISMATCH,
                  "bytes: expected 32 for [2,4] of f32, got 31"},
                 {"one row less", [](Arguments& a) { a.spec.shape[0] = 1; }, SMPO_SHAPE_MISMATCH,
                  "bytes: expected 16 for [1,4] of f32, got 32"}},
       .session = true,
       .spec = true},
      {.name = "smpo_tensor_to_host",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_to_host(a.session, a.tensor, a.spec_pointer, a.data, a.bytes, e);
           },
       .cases = {null_pointer("data", [](Arguments& a) { a.data = nullptr; }),
                 {"one byte more", [](Arguments& a) { ++a.bytes; }, SMPO_SHAPE_MISMATCH, "bytes: expected 32"},
                 {"another shape",
                  [](Arguments& a) {
                    a.spec.shape[0] = 4;
                    a.spec.shape[1] = 2;
                  },
                  SMPO_SHAPE_MISMATCH, "shape: expected [2,4], got [4,2]"},
                 {"another rank", [](Arguments& a) { a.spec = spec_of(SMPO_F32, {8}); }, SMPO_SHAPE_MISMATCH,
                  "shape: expected [2,4], got [8]"},
                 {"another dtype", [](Arguments& a) { a.spec.dtype = SMPO_I32; }, SMPO_DTYPE_MISMATCH,
                  "dtype: expected f32, got i32"}},
       .session = true,
       .tensor = true,
       .spec = true},
      {.name = "smpo_tensor_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_tensor_describe(a.session, a.tensor, a.spec_out, e); },
       .cases = joined({{null_pointer("spec", [](Arguments& a) { a.spec_out = nullptr; })},
                        wrong_size("spec", [](Arguments& a) { return &a.spec_out->size; })}),
       .session = true,
       .tensor = true},
      {.name = "smpo_tensor_convert",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_convert(a.session, a.tensor, a.dtype, a.tensor_out, e);
           },
       .cases = {null_pointer("converted", [](Arguments& a) { a.tensor_out = nullptr; }),
                 out_of_range("dtype 0", [](Arguments& a) { a.dtype = 0; }, "dtype: expected 1..5, got 0"),
                 out_of_range("dtype 6", [](Arguments& a) { a.dtype = 6; }, "dtype: expected 1..5, got 6"),
                 {"to an integer", [](Arguments& a) { a.dtype = SMPO_I64; }, SMPO_UNSUPPORTED,
                  "dtype: expected a floating type for a tensor of f32, got i64"}},
       .session = true,
       .tensor = true},
      {.name = "smpo_tensor_fill_normal",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_tensor_fill_normal(a.session, a.tensor, a.purpose, 7, a.items_pointer, a.items_count, e);
           },
       .cases = {null_pointer("items", [](Arguments& a) { a.items_pointer = nullptr; }),
                 out_of_range("purpose 256", [](Arguments& a) { a.purpose = 256; }, "purpose: expected 0..255, got 256"),
                 out_of_range("item -1", [](Arguments& a) { a.items[1] = -1; },
                              "items: expected 0..72057594037927935, got -1 at 1"),
                 out_of_range("item 2^56", [](Arguments& a) { a.items[0] = int64_t{1} << 56; }, "items: expected"),
                 {"one item less", [](Arguments& a) { a.items_count = 1; }, SMPO_SHAPE_MISMATCH,
                  "count: expected the tensor's first dimension of [2,4], got 1"}},
       .session = true,
       .tensor = true},
      {.name = "smpo_tensor_close",
       .call = [](Arguments& a, smpo_error* e) { return smpo_tensor_close(a.session, a.tensor, e); },
       .cases = {},
       .session = true,
       .tensor = true},
      {.name = "smpo_unet_open",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_unet_open(a.session, a.unet_spec_pointer, a.options_pointer, a.model_out, e);
           },
       .cases = joined(
           {{null_pointer("spec", [](Arguments& a) { a.unet_spec_pointer = nullptr; }),
             null_pointer("model", [](Arguments& a) { a.model_out = nullptr; })},
            wrong_size("spec", [](Arguments& a) { return &a.unet_spec.size; }),
            {out_of_range("levels 0", [](Arguments& a) { a.unet_spec.levels = 0; }, "spec.levels: expected 1..8, got 0"),
             out_of_range("levels 9", [](Arguments& a) { a.unet_spec.levels = 9; }, "spec.levels: expected 1..8, got 9"),
             out_of_range("entry after the levels", [](Arguments& a) { a.unet_spec.attention_heads[7] = 1; },
                          "spec.attention_heads: expected 0 in entries from the levels (2) on, got 1 at 7"),
             out_of_range("flag 2", [](Arguments& a) { a.unet_spec.down_attention[1] = 2; },
                          "spec.down_attention[1]: expected 0..1, got 2"),
             out_of_range("use_linear_projection 2", [](Arguments& a) { a.unet_spec.use_linear_projection = 2; },
                          "spec.use_linear_projection: expected 0..1, got 2"),
             out_of_range("flip_sin_to_cos -1", [](Arguments& a) { a.unet_spec.flip_sin_to_cos = -1; },
                          "spec.flip_sin_to_cos: expected 0..1, got -1"),
             out_of_range("channels 6", [](Arguments& a) { a.unet_spec.block_out_channels[1] = 6; },
                          "block_out_channels[1]: expected a multiple of norm_num_groups (4), got 6")},
            option_cases()}),
       .session = true},
      {.name = "smpo_model_describe",
       .call = [](Arguments& a, smpo_error* e) { return smpo_model_describe(a.session, a.model, a.model_info, e); },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.model_info = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.model_info->size; })}),
       .session = true,
       .model = true},
      {.name = "smpo_model_parameter",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_model_parameter(a.session, a.model, a.index, a.parameter_info, e);
           },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.parameter_info = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.parameter_info->size; }),
                        {out_of_range("index too large", [](Arguments& a) { a.index = 100000; }, "index: expected 0..")}}),
       .session = true,
       .model = true},
      {.name = "smpo_model_write_parameter",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_model_write_parameter(a.session, a.model, a.name, a.parameter_spec_pointer, a.data, a.bytes, e);
           },
       .cases = joined({parameter_cases(),
                        {{"a value that is not finite", [](Arguments& a) { a.data[5] = NAN; }, SMPO_NON_FINITE,
                          "conv_in.lora_B.weight: expected finite values, got nan at element 5"}}}),
       .session = true,
       .model = true},
      {.name = "smpo_model_read_parameter",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_model_read_parameter(a.session, a.model, a.name, a.parameter_spec_pointer, a.data, a.bytes, e);
           },
       .cases = parameter_cases(),
       .session = true,
       .model = true},
      {.name = "smpo_model_read_gradient",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_model_read_gradient(a.session, a.model, a.name, a.parameter_spec_pointer, a.data, a.bytes, e);
           },
       .cases = joined({parameter_cases(),
                        {out_of_range("a frozen parameter",
[](Arguments& a) {
 a.name = "conv_norm_out.bias";
 a.parameter_spec = spec_of(SMPO_F32, {8});
 },
                                      "conv_norm_out.bias: the parameter is frozen and has no gradient")}}),
       .session = true,
       .model = true},
      {.name = "smpo_model_zero_gradients",
       .call = [](Arguments& a, smpo_error* e) { return smpo_model_zero_gradients(a.session, a.model, e); },
       .cases = {},
       .session = true,
       .model = true},
      {.name = "smpo_model_add_lora",
       .call =
           [](Arguments& a, smpo_error* e) { return smpo_model_add_lora(a.session, a.bare_model, a.lora_pointer, e); },
       .cases = joined(
           {{null_pointer("spec", [](Arguments& a) { a.lora_pointer = nullptr; })},
            wrong_size("spec", [](Arguments& a) { return &a.lora.size; }),
            {out_of_range("rank 0", [](Arguments& a) { a.lora.rank = 0; }, "spec.rank: expected 1.."),
             out_of_range("no modules", [](Arguments& a) { a.lora.module_count = 0; }, "spec.module_count: expected 1.."),
             out_of_range("reserved 1", [](Arguments& a) { a.lora.reserved = 1; }, "spec.reserved: expected 0..0, got 1"),
             out_of_range("modules null", [](Arguments& a) { a.lora.modules = nullptr; },
                          "spec.modules: expected a pointer"),
             out_of_range("a module null", [](Arguments& a) { a.modules[1] = nullptr; },
                          "spec.modules[1]: expected a name, got null"),
             out_of_range("alpha nan", [](Arguments& a) { a.lora.alpha = NAN; },
                          "spec.alpha: expected a finite number, got nan"),
             out_of_range("an unknown module", [](Arguments& a) { a.modules[1] = "conv_none"; },
                          "spec.modules: the model has no layer conv_none"),
             out_of_range("adapters twice", [](Arguments& a) { a.bare_model = a.model; },
                          "lora: the model has adapters already")}}),
       .session = true,
       .model = true},
      {.name = "smpo_model_set_lora_scale",
       .call =
           [](Arguments& a, smpo_error* e) { return smpo_model_set_lora_scale(a.session, a.model, a.scale, e); },
       .cases = {out_of_range("scale nan", [](Arguments& a) { a.scale = NAN; }, "scale: expected a finite number"),
                 out_of_range("no adapters", [](Arguments& a) { a.model = a.bare_model; },
                              "lora: the model has no adapters")},
       .session = true,
       .model = true},
      {.name = "smpo_model_merge_lora",
       .call = [](Arguments& a, smpo_error* e) { return smpo_model_merge_lora(a.session, a.model, a.scale, e); },
       .cases = {out_of_range("weight nan", [](Arguments& a) { a.scale = NAN; }, "weight: expected a finite number"),
                 out_of_range("no adapters", [](Arguments& a) { a.model = a.bare_model; },
                              "lora: the model has no adapters")},
       .session = true,
       .model = true},
      {.name = "smpo_model_close",
       .call = [](Arguments& a, smpo_error* e) { return smpo_model_close(a.session, a.model, e); },
       .cases = {},
       .session = true,
       .model = true},
      {.name = "smpo_unet_forward",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_unet_forward(a.session, a.model, a.inputs_pointer, a.tensor_out, e);
           },
       .cases = joined({unet_input_cases(), {null_pointer("output", [](Arguments& a) { a.tensor_out = nullptr; })}}),
       .session = true,
       .model = true},
      {.name = "smpo_unet_backward",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_unet_backward(a.session, a.model, a.inputs_pointer, a.cotangent, a.tensor_out,
                                       a.second_tensor_out, e);
           },
       .cases = joined({unet_input_cases(),
                        {null_pointer("output", [](Arguments& a) { a.tensor_out = nullptr; }),
                         {"no cotangent", [](Arguments& a) { a.cotangent = 0; }, SMPO_INVALID_HANDLE,
                          "cotangent: expected a tensor handle, got the null handle"},
                         {"a cotangent of another shape", [](Arguments& a) { a.cotangent = a.tensor; },
                          SMPO_SHAPE_MISMATCH, "cotangent: expected [2,4,6,5], got [2,4]"}}}),
       .session = true,
       .model = true,
       .optional_pointers = 1},
      {.name = "smpo_vae_open",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_vae_open(a.session, a.vae_spec_pointer, a.options_pointer, a.model_out, e);
           },
       .cases = joined(
           {{null_pointer("spec", [](Arguments& a) { a.vae_spec_pointer = nullptr; }),
             null_pointer("model", [](Arguments& a) { a.model_out = nullptr; })},
            wrong_size("spec", [](Arguments& a) { return &a.vae_spec.size; }),
            {out_of_range("levels 0", [](Arguments& a) { a.vae_spec.levels = 0; }, "spec.levels: expected 1..8, got 0"),
             out_of_range("levels 9", [](Arguments& a) { a.vae_spec.levels = 9; }, "spec.levels: expected 1..8, got 9"),
             out_of_range("entry after the levels", [](Arguments& a) { a.vae_spec.block_out_channels[7] = 1; },
                          "spec.block_out_channels: expected 0 in entries from the levels (2) on, got 1 at 7"),
             out_of_range("use_quant_conv 2", [](Arguments& a) { a.vae_spec.use_quant_conv = 2; },
                          "spec.use_quant_conv: expected 0..1, got 2"),
             out_of_range("use_post_quant_conv 2", [](Arguments& a) { a.vae_spec.use_post_quant_conv = 2; },
                          "spec.use_post_quant_conv: expected 0..1, got 2"),
             out_of_range("mid_block_attention -1", [](Arguments& a) { a.vae_spec.mid_block_attention = -1; },
                          "spec.mid_block_attention: expected 0..1, got -1"),
             out_of_range("channels 3", [](Arguments& a) { a.vae_spec.block_out_channels[1] = 3; },
                          "block_out_channels[1]: expected a multiple of norm_num_groups (2), got 3")},
            encoder_option_cases()}),
       .session = true},
      {.name = "smpo_clip_text_open",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_clip_text_open(a.session, a.text_spec_pointer, a.options_pointer, a.model_out, e);
           },
       .cases = joined({tower_cases(&Arguments::text_spec_pointer, &Arguments::text_spec),
                        {out_of_range("end token 20", [](Arguments& a) { a.text_spec.eos_token_id = 20; },
                                      "eos_token_id: expected 0..19, got 20")}}),
       .session = true},
      {.name = "smpo_clip_vision_open",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_clip_vision_open(a.session, a.vision_spec_pointer, a.options_pointer, a.model_out, e);
           },
       .cases = joined({tower_cases(&Arguments::vision_spec_pointer, &Arguments::vision_spec),
                        {out_of_range("patch 5", [](Arguments& a) { a.vision_spec.patch_size = 5; },
                                      "patch_size: expected at most image_size (4), got 5"),
                         out_of_range("patch_bias 2", [](Arguments& a) { a.vision_spec.patch_bias = 2; },
                                      "spec.patch_bias: expected 0..1, got 2"),
                         out_of_range("pre_norm -1", [](Arguments& a) { a.vision_spec.pre_norm = -1; },
                                      "spec.pre_norm: expected 0..1, got -1"),
                         out_of_range("all_tokens 2", [](Arguments& a) { a.vision_spec.all_tokens = 2; },
                                      "spec.all_tokens: expected 0..1, got 2"),
                         out_of_range("all tokens and a projection", [](Arguments& a) { a.vision_spec.all_tokens = 1; },
                                      "projection_dim: expected 0 with all_tokens, got 3"),
                         out_of_range("reserved 1", [](Arguments& a) { a.vision_spec.reserved = 1; },
                                      "spec.reserved: expected 0..0, got 1")}}),
       .session = true},
      {.name = "smpo_bert_open",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_bert_open(a.session, a.bert_spec_pointer, a.options_pointer, a.model_out, e);
           },
       .cases = joined({{null_pointer("spec", [](Arguments& a) { a.bert_spec_pointer = nullptr; }),
                         null_pointer("model", [](Arguments& a) { a.model_out = nullptr; })},
                        wrong_size("spec", [](Arguments& a) { return &a.bert_spec.size; }),
                        {out_of_range("heads 4", [](Arguments& a) { a.bert_spec.attention_heads = 4; },
                                      "num_attention_heads: expected a number that divides hidden_size (6), got 4"),
                         out_of_range("no states", [](Arguments& a) { a.bert_spec.encoder_width = 0; },
                                      "encoder_width: expected 1..1048576, got 0"),
                         out_of_range("no layers", [](Arguments& a) { a.bert_spec.layers = 0; },
                                      "num_hidden_layers: expected 1..1048576, got 0"),
                         out_of_range("eps 0", [](Arguments& a) { a.bert_spec.layer_norm_eps = 0; },
                                      "layer_norm_eps: expected more than 0, got 0")},
                        encoder_option_cases()}),
       .session = true},
      {.name = "smpo_vae_encode",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_vae_encode(a.session, a.encoders.vae, a.encoders.pixels, a.tile, a.tensor_out,
                                    a.second_tensor_out, e);
           },
       .cases = joined({encoder_cases(&EncoderWorld::pixels, "pixels"),
                        {null_pointer("mean", [](Arguments& a) { a.tensor_out = nullptr; }),
                         null_pointer("logvar", [](Arguments& a) { a.second_tensor_out = nullptr; }),
                         out_of_range("tile 12", [](Arguments& a) { a.tile = 12; },
                                      "tile: expected a multiple of 8 pixels, got 12"),
                         out_of_range("tile -8", [](Arguments& a) { a.tile = -8; },
                                      "tile: expected a multiple of 8 pixels, got -8"),
                         {"integers", [](Arguments& a) { a.encoders.pixels = a.encoders.ids; }, SMPO_DTYPE_MISMATCH,
                          "pixels: expected a floating type, got i32"}}}),
       .session = true,
       .model = true},
      {.name = "smpo_vae_decode",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_vae_decode(a.session, a.encoders.vae, a.encoders.latents, a.tile, a.tensor_out, e);
           },
       .cases = joined({encoder_cases(&EncoderWorld::latents, "latents"),
                        {null_pointer("pixels", [](Arguments& a) { a.tensor_out = nullptr; }),
                         out_of_range("tile 1", [](Arguments& a) { a.tile = 1; },
                                      "tile: expected a multiple of 8 pixels, got 1")}}),
       .session = true,
       .model = true},
      {.name = "smpo_clip_text_encode",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_clip_text_encode(a.session, a.encoders.text, a.encoders.ids, a.skip, a.final_norm,
                                          a.tensor_out, a.second_tensor_out, e);
           },
       .cases = joined({encoder_cases(&EncoderWorld::ids, "ids"),
                        {null_pointer("hidden", [](Arguments& a) { a.tensor_out = nullptr; }),
                         out_of_range("skip 3", [](Arguments& a) { a.skip = 3; }, "skip: expected 0..2"),
                         out_of_range("skip -1", [](Arguments& a) { a.skip = -1; }, "skip: expected 0..2"),
                         out_of_range("final_norm 2", [](Arguments& a) { a.final_norm = 2; },
                                      "final_norm: expected 0..1, got 2"),
                         {"floats", [](Arguments& a) { a.encoders.ids = a.encoders.pixels; }, SMPO_DTYPE_MISMATCH,
                          "ids: expected i32 or i64, got f32"}}}),
       .session = true,
       .model = true,
       .optional_pointers = 1},
      {.name = "smpo_clip_vision_encode",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_clip_vision_encode(a.session, a.encoders.vision, a.encoders.pixel_values, a.tensor_out, e);
           },
       .cases = joined({encoder_cases(&EncoderWorld::pixel_values, "pixel_values"),
                        {null_pointer("embeds", [](Arguments& a) { a.tensor_out = nullptr; })}}),
       .session = true,
       .model = true},
      {.name = "smpo_bert_encode",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_bert_encode(a.session, a.encoders.bert, a.encoders.ids, a.encoders.states, a.tensor_out, e);
           },
       .cases = joined({encoder_cases(&EncoderWorld::ids, "ids"),
                        {null_pointer("first", [](Arguments& a) { a.tensor_out = nullptr; }),
                         {"no states", [](Arguments& a) { a.encoders.states = 0; }, SMPO_INVALID_HANDLE,
                          "encoder_states: expected a tensor handle, got the null handle"},
                         {"flat states", [](Arguments& a) { a.encoders.states = a.encoders.flat; },
                          SMPO_SHAPE_MISMATCH, "encoder_states: expected [2,T,4] of Float, got [5] of Float"},
                         {"floats for ids", [](Arguments& a) { a.encoders.ids = a.encoders.pixels; },
                          SMPO_DTYPE_MISMATCH, "ids: expected i32 or i64, got f32"}}}),
       .session = true,
       .model = true},
      {.name = "smpo_pixel_values",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_pixel_values(a.session, a.encoders.pixels, a.pixel_spec_pointer, a.tensor_out, e);
           },
       .cases = joined({pixel_cases(),
                        {null_pointer("values", [](Arguments& a) { a.tensor_out = nullptr; })}}),
       .session = true},
      {.name = "smpo_pixel_values_backward",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_pixel_values_backward(a.session, a.encoders.pixels, a.pixel_spec_pointer, a.encoders.d_values,
                                               a.tensor_out, e);
           },
       .cases = joined({pixel_cases(),
                        {null_pointer("d_pixels", [](Arguments& a) { a.tensor_out = nullptr; }),
                         {"no gradient", [](Arguments& a) { a.encoders.d_values = 0; }, SMPO_INVALID_HANDLE,
                          "d_values: expected a tensor handle, got the null handle"},
                         {"a flat gradient", [](Arguments& a) { a.encoders.d_values = a.encoders.flat; },
                          SMPO_SHAPE_MISMATCH, "d_values: expected [1,3,4,4] of Float, got [5] of Float"}}}),
       .session = true},
      {.name = "smpo_clip_vision_backward",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_clip_vision_backward(a.session, a.encoders.vision, a.encoders.pixel_values,
                                              a.encoders.d_embeds, a.tensor_out, e);
           },
       .cases = joined({encoder_cases(&EncoderWorld::pixel_values, "pixel_values"),
                        {null_pointer("d_pixel_values", [](Arguments& a) { a.tensor_out = nullptr; }),
                         {"no cotangent", [](Arguments& a) { a.encoders.d_embeds = 0; }, SMPO_INVALID_HANDLE,
                          "cotangent: expected a tensor handle, got the null handle"},
                         {"a flat cotangent", [](Arguments& a) { a.encoders.d_embeds = a.encoders.flat; },
                          SMPO_SHAPE_MISMATCH, "cotangent: expected [2,3], got [5]"}}}),
       .session = true,
       .model = true},
      {.name = "smpo_vae_decode_backward",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_vae_decode_backward(a.session, a.encoders.vae, a.encoders.latents, a.recompute,
                                             a.encoders.d_decoded, a.tensor_out, e);
           },
       .cases = joined({encoder_cases(&EncoderWorld::latents, "latents"),
                        {null_pointer("d_latents", [](Arguments& a) { a.tensor_out = nullptr; }),
                         out_of_range("checkpointing 2", [](Arguments& a) { a.recompute = 2; },
                                      "checkpointing: expected 0..1, got 2"),
                         {"no cotangent", [](Arguments& a) { a.encoders.d_decoded = 0; }, SMPO_INVALID_HANDLE,
                          "cotangent: expected a tensor handle, got the null handle"},
                         {"a flat cotangent", [](Arguments& a) { a.encoders.d_decoded = a.encoders.flat; },
                          SMPO_SHAPE_MISMATCH, "cotangent: expected [1,3,12,10], got [5]"}}}),
       .session = true,
       .model = true},
      {.name = "smpo_sampler_open",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_sampler_open(a.session, a.model, a.plan_pointer, a.sampler_inputs_pointer, a.sampler_out, e);
           },
       .cases = joined(
           {{null_pointer("plan", [](Arguments& a) { a.plan_pointer = nullptr; }),
             null_pointer("inputs", [](Arguments& a) { a.sampler_inputs_pointer = nullptr; }),
             null_pointer("sampler", [](Arguments& a) { a.sampler_out = nullptr; })},
            wrong_size("plan", [](Arguments& a) { return &a.plan.size; }),
            wrong_size("inputs", [](Arguments& a) { return &a.sampler_inputs.size; }),
            {out_of_range("no rows", [](Arguments& a) { a.plan.steps = 0; }, "plan.steps: expected 1..100000, got 0"),
             out_of_range("rows null", [](Arguments& a) { a.plan.rows = nullptr; }, "plan.rows: expected a pointer"),
             out_of_range("row size", [](Arguments& a) { a.rows[1].size = 0; }, "plan.rows[1].size: expected 104, got 0"),
             out_of_range("a coefficient nan", [](Arguments& a) { a.rows[1].history[2] = NAN; },
                          "plan.rows[1].history[2]: expected a finite number, got nan"),
             out_of_range("history that does not exist", [](Arguments& a) { a.rows[0].history[1] = 1; },
                          "plan.rows[0].history[1]: expected 0, since only 1 entries exist then, got 1"),
             out_of_range("saved before it is", [](Arguments& a) { a.rows[1].saved = 1; },
                          "plan.rows[1].saved: expected 0, since no row before it saves, got 1"),
             out_of_range("drops 4", [](Arguments& a) { a.rows[1].drops = 4; }, "plan.rows.drops: expected 0..3, got 4"),
             out_of_range("drops what does not exist", [](Arguments& a) { a.rows[1].drops = 2; },
                          "plan.rows[1].drops: expected at most the 1 older entries that exist then, got 2"),
             out_of_range("noise of nobody", [](Arguments& a) { a.sampler_inputs.items = nullptr; },
                          "inputs.items: expected items"),
             out_of_range("negative_adapters 2", [](Arguments& a) { a.sampler_inputs.negative_adapters = 2; },
                          "inputs.negative_adapters: expected 0..1, got 2"),
             out_of_range("negative adapters without guidance",
                          [](Arguments& a) { a.sampler_inputs.negative_adapters = 1; },
                          "inputs.negative_adapters: expected 0 without guidance (guidance_scale 1), got 1"),
             out_of_range("negative model without guidance",
                          [](Arguments& a) { a.sampler_inputs.negative_model = a.model; },
                          "inputs.negative_model: expected 0 without guidance (guidance_scale 1), got a model"),
             out_of_range("negative model and adapters",
                          [](Arguments& a) {
                            guide(a);
                            a.sampler_inputs.negative_model = a.model;
                            a.sampler_inputs.negative_adapters = 1;
                          },
                          "inputs.negative_adapters: expected 0 with a negative model, got 1"),
             out_of_range("negative adapters of a model without",
                          [](Arguments& a) {
                            guide(a);
                            a.model = a.bare_model;
                            a.sampler_inputs.negative_adapters = 1;
                          },
                          "inputs.negative_adapters: expected 0, since the model has no adapters, got 1"),
             {"a tensor as the negative model",
              [](Arguments& a) {
                guide(a);
                a.sampler_inputs.negative_model = a.tensor;
              },
              SMPO_INVALID_HANDLE, "inputs.negative_model: expected a model handle, got a tensor handle"},
             {"a text encoder as the negative model",
              [](Arguments& a) {
                guide(a);
                a.sampler_inputs.negative_model = a.encoders.text;
              },
              SMPO_INVALID_HANDLE, "inputs.negative_model: expected a UNet, got a model of another kind"},
             {"negative states of another width",
              [](Arguments& a) {
                guide(a);
                a.sampler_inputs.negative_model = a.model;
                a.sampler_inputs.negative_encoder_hidden_states = a.cotangent;
              },
              SMPO_SHAPE_MISMATCH, "negative side: encoder_hidden_states: expected [2,S,6] of Float, got [2, 4, 6, 5]"},
             out_of_range("guidance nan", [](Arguments& a) { a.sampler_inputs.guidance_scale = NAN; },
                          "inputs.guidance_scale: expected a finite number"),
             out_of_range("rescale without guidance", [](Arguments& a) { a.sampler_inputs.guidance_rescale = 0.5; },
                          "inputs.guidance_rescale: expected 0 without guidance, got 0.5"),
             out_of_range("negative without guidance",
                          [](Arguments& a) {
                            a.sampler_inputs.negative_encoder_hidden_states = a.inputs.encoder_hidden_states;
                          },
                          "inputs: expected no negative tensors"),
             {"guidance without negative", [](Arguments& a) { a.sampler_inputs.guidance_scale = 7.5; },
              SMPO_INVALID_HANDLE, "inputs.negative_encoder_hidden_states: expected a tensor handle, got the null"},
             {"noise of another shape", [](Arguments& a) { a.sampler_inputs.noise = a.tensor; }, SMPO_SHAPE_MISMATCH,
              "sample: expected [B,4,h,w] of Float, got [2, 4]"}}}),
       .session = true,
       .model = true},
      {.name = "smpo_sampler_step",
       .call = [](Arguments& a, smpo_error* e) { return smpo_sampler_step(a.session, a.sampler, a.steps, e); },
       .cases = {out_of_range("more than are left", [](Arguments& a) { a.steps = 3; },
                              "steps: expected at most the 2 that are left, got 3")},
       .session = true,
       .sampler = true},
      {.name = "smpo_sampler_latents",
       .call = [](Arguments& a, smpo_error* e) { return smpo_sampler_latents(a.session, a.sampler, a.tensor_out, e); },
       .cases = {null_pointer("latents", [](Arguments& a) { a.tensor_out = nullptr; })},
       .session = true,
       .sampler = true},
      {.name = "smpo_sampler_fork",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_sampler_fork(a.session, a.sampler, a.candidates_pointer, a.tensor_out, e);
           },
       .cases = joined(
           {{null_pointer("candidates", [](Arguments& a) { a.candidates_pointer = nullptr; }),
             null_pointer("clean", [](Arguments& a) { a.tensor_out = nullptr; })},
            wrong_size("candidates", [](Arguments& a) { return &a.candidates.size; }),
            {out_of_range("no candidates", [](Arguments& a) { a.candidates.candidates = 0; },
                          "candidates.candidates: expected 1..64, got 0"),
             out_of_range("65 candidates", [](Arguments& a) { a.candidates.candidates = 65; },
                          "candidates.candidates: expected 1..64, got 65"),
             out_of_range("no items", [](Arguments& a) { a.candidates.items = nullptr; },
                          "candidates.items: expected a pointer"),
             out_of_range("item -1", [](Arguments& a) { a.four_items[3] = -1; },
                          "items: expected 0..72057594037927935, got -1"),
             out_of_range("clean_sample nan", [](Arguments& a) { a.candidates.clean_sample = NAN; },
                          "candidates.clean_sample: expected a finite number, got nan"),
             out_of_range("clean_output infinite", [](Arguments& a) { a.candidates.clean_output = INFINITY; },
                          "candidates.clean_output: expected a finite number, got inf"),
             out_of_range("candidates already", [](Arguments& a) { a.sampler = a.forked; },
                          "sampler: expected smpo_sampler_select first")}}),
       .session = true,
       .sampler = true},
      {.name = "smpo_sampler_candidate",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_sampler_candidate(a.session, with_candidates(a), a.winner, a.tensor_out, e);
           },
       .cases = {null_pointer("which", [](Arguments& a) { a.winner = nullptr; }),
                 null_pointer("latents", [](Arguments& a) { a.tensor_out = nullptr; }),
                 out_of_range("which -1", [](Arguments& a) { a.choices[0][0] = -1; }, "which[0]: expected 0..")},
       .session = true,
       .sampler = true},
      {.name = "smpo_sampler_move",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_sampler_move(a.session, with_candidates(a), a.winner, a.cotangent, a.tensor_out, e);
           },
       .cases = {null_pointer("which", [](Arguments& a) { a.winner = nullptr; }),
                 null_pointer("clean", [](Arguments& a) { a.tensor_out = nullptr; }),
                 {"no move", [](Arguments& a) { a.cotangent = 0; }, SMPO_INVALID_HANDLE, "move: expected a tensor"},
                 out_of_range("which -1", [](Arguments& a) { a.choices[0][0] = -1; }, "which[0]: expected 0..")},
       .session = true,
       .sampler = true},
      {.name = "smpo_sampler_pairs",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_sampler_pairs(a.session, with_candidates(a), a.winner, a.loser, a.tensor_out,
                                       a.second_tensor_out, e);
           },
       .cases = {null_pointer("winner", [](Arguments& a) { a.winner = nullptr; }),
                 null_pointer("loser", [](Arguments& a) { a.loser = nullptr; }),
                 null_pointer("noised", [](Arguments& a) { a.tensor_out = nullptr; }),
                 null_pointer("target", [](Arguments& a) { a.second_tensor_out = nullptr; }),
                 out_of_range("winner 2", [](Arguments& a) { a.choices[0][1] = 2; }, "winner[1]: expected -1..1, got 2"),
                 out_of_range("loser -2", [](Arguments& a) { a.choices[1][0] = -2; },
                              "loser[0]: expected -1..1, got -2")},
       .session = true,
       .sampler = true},
      {.name = "smpo_sampler_select",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_sampler_select(a.session, with_candidates(a), a.winner, e);
           },
       .cases = {null_pointer("chosen", [](Arguments& a) { a.winner = nullptr; }),
                 out_of_range("chosen 2", [](Arguments& a) { a.choices[0][1] = 2; }, "chosen[1]: expected 0..1, got 2")},
       .session = true,
       .sampler = true},
      {.name = "smpo_sampler_close",
       .call = [](Arguments& a, smpo_error* e) { return smpo_sampler_close(a.session, a.sampler, e); },
       .cases = {},
       .session = true,
       .sampler = true},
      {.name = "smpo_optimizer_open",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_optimizer_open(a.session, a.model, a.optimizer_options_pointer, a.optimizer_out, e);
           },
       .cases = joined({{null_pointer("options", [](Arguments& a) { a.optimizer_options_pointer = nullptr; }),
                         null_pointer("optimizer", [](Arguments& a) { a.optimizer_out = nullptr; })},
                        wrong_size("options", [](Arguments& a) { return &a.optimizer_options.size; }),
                        optimizer_option_cases(),
                        {out_of_range("missing weights", [](Arguments& a) { a.model = a.bare_model; },
                                      "model: expected one that trains or has adapters")}}),
       .session = true,
       .model = true},
      {.name = "smpo_optimizer_step",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_optimizer_step(a.session, a.optimizer, a.learning_rate, a.max_grad_norm, a.outcome, e);
           },
       .cases = joined({{null_pointer("outcome", [](Arguments& a) { a.outcome = nullptr; })},
                        wrong_size("outcome", [](Arguments& a) { return &a.outcome->size; }),
                        {out_of_range("learning_rate nan", [](Arguments& a) { a.learning_rate = NAN; },
                                      "learning_rate: expected a finite f32 of at least 0, got nan"),
                         out_of_range("learning_rate infinite", [](Arguments& a) { a.learning_rate = INFINITY; },
                                      "learning_rate: expected a finite f32 of at least 0, got inf"),
                         out_of_range("learning_rate -1", [](Arguments& a) { a.learning_rate = -1; },
                                      "learning_rate: expected a finite f32 of at least 0, got -1"),
                         out_of_range("max_grad_norm 0", [](Arguments& a) { a.max_grad_norm = 0; },
                                      "max_grad_norm: expected a number above 0, got 0"),
                         out_of_range("max_grad_norm nan", [](Arguments& a) { a.max_grad_norm = NAN; },
                                      "max_grad_norm: expected a number above 0, got nan")}}),
       .session = true,
       .optimizer = true},
      {.name = "smpo_optimizer_find_non_finite",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_optimizer_find_non_finite(a.session, a.optimizer, a.long_text, a.name_capacity, e);
           },
       .cases = {null_pointer("name", [](Arguments& a) { a.long_text = nullptr; }),
                 out_of_range("capacity 191", [](Arguments& a) { a.name_capacity = 191; },
                              "capacity: expected at least 192, got 191")},
       .session = true,
       .optimizer = true},
      {.name = "smpo_optimizer_describe",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_optimizer_describe(a.session, a.optimizer, a.optimizer_info, e);
           },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.optimizer_info = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.optimizer_info->size; })}),
       .session = true,
       .optimizer = true},
      {.name = "smpo_optimizer_state",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_optimizer_state(a.session, a.optimizer, a.index, a.state_info, e);
           },
       .cases = joined({{null_pointer("info", [](Arguments& a) { a.state_info = nullptr; })},
                        wrong_size("info", [](Arguments& a) { return &a.state_info->size; }),
                        {out_of_range("one too many", [](Arguments& a) { a.index = 6; }, "index: expected 0..5, got 6")}}),
       .session = true,
       .optimizer = true},
      {.name = "smpo_optimizer_read_state",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_optimizer_read_state(a.session, a.optimizer, a.state_name, a.parameter_spec_pointer, a.data,
                                              a.bytes, e);
           },
       .cases = state_cases(),
       .session = true,
       .optimizer = true},
      {.name = "smpo_optimizer_write_state",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_optimizer_write_state(a.session, a.optimizer, a.state_name, a.parameter_spec_pointer, a.data,
                                               a.bytes, e);
           },
       .cases = joined({state_cases(),
                        {{"a NaN", [](Arguments& a) { a.data[6] = NAN; }, SMPO_NON_FINITE,
                          "exp_avg_sq.conv_in.lora_B.weight: expected finite values, got nan at element 6"},
                         out_of_range("a negative second moment", [](Arguments& a) { a.data[5] = -1; },
                                      "expected values of at least 0, got -1 at element 5")}}),
       .session = true,
       .optimizer = true},
      {.name = "smpo_optimizer_set_steps",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_optimizer_set_steps(a.session, a.optimizer, a.steps_before, e);
           },
       .cases = {out_of_range("steps -1", [](Arguments& a) { a.steps_before = -1; }, "steps: expected 0..9007199254740991, got -1"),
                 out_of_range("steps 2^53", [](Arguments& a) { a.steps_before = int64_t{1} << 53; }, "steps: expected 0..")},
       .session = true,
       .optimizer = true},
      {.name = "smpo_optimizer_copy_ema",
       .call =
           [](Arguments& a, smpo_error* e) { return smpo_optimizer_copy_ema(a.session, a.optimizer, a.model, e); },
       .cases = {out_of_range("a model without the parameters", [](Arguments& a) { a.model = a.bare_model; },
                              "model: expected a parameter conv_in.lora_A.weight, it has none")},
       .session = true,
       .model = true,
       .optimizer = true},
      {.name = "smpo_optimizer_close",
       .call = [](Arguments& a, smpo_error* e) { return smpo_optimizer_close(a.session, a.optimizer, e); },
       .cases = {},
       .session = true,
       .optimizer = true},
      {.name = "smpo_posterior_sample",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_posterior_sample(a.session, a.mean, a.logvar, a.scale, 7, a.items_pointer, a.items_count,
                                          a.tensor_out, e);
           },
       .cases = {null_pointer("items", [](Arguments& a) { a.items_pointer = nullptr; }),
                 null_pointer("latents", [](Arguments& a) { a.tensor_out = nullptr; }),
                 {"no mean", [](Arguments& a) { a.mean = 0; }, SMPO_INVALID_HANDLE,
                  "mean: expected a tensor handle, got the null handle"},
                 {"no logvar", [](Arguments& a) { a.logvar = 0; }, SMPO_INVALID_HANDLE,
                  "logvar: expected a tensor handle, got the null handle"},
                 {"a mean of integers", [](Arguments& a) { a.mean = a.encoders.ids; }, SMPO_DTYPE_MISMATCH,
                  "mean: expected f32, got i32"},
                 {"a logvar of integers", [](Arguments& a) { a.logvar = a.encoders.ids; }, SMPO_DTYPE_MISMATCH,
                  "logvar: expected f32, got i32"},
                 {"a logvar of another shape", [](Arguments& a) { a.logvar = a.tensor; }, SMPO_SHAPE_MISMATCH,
                  "logvar: expected [B,L,h,w] as mean, which is [2,4,6,5], got [2,4]"},
                 {"both flat", [](Arguments& a) { a.mean = a.logvar = a.tensor; }, SMPO_SHAPE_MISMATCH,
                  "expected [B,L,h,w]"},
                 out_of_range("scale nan", [](Arguments& a) { a.scale = NAN; }, "scale: expected a finite number, got nan"),
                 out_of_range("item -1", [](Arguments& a) { a.items[1] = -1; }, "items: expected 0..72057594037927935"),
                 {"one item less", [](Arguments& a) { a.items_count = 1; }, SMPO_SHAPE_MISMATCH,
                  "count: expected the tensor's first dimension of [2,4,6,5], got 1"}},
       .session = true},
      {.name = "smpo_pair_batch_open",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_pair_batch_open(a.session, a.batch_inputs_pointer, a.batch_out, e);
           },
       .cases = joined({{null_pointer("inputs", [](Arguments& a) { a.batch_inputs_pointer = nullptr; }),
                         null_pointer("batch", [](Arguments& a) { a.batch_out = nullptr; })},
                        wrong_size("inputs", [](Arguments& a) { return &a.batch_inputs.size; }),
                        batch_input_cases()}),
       .session = true},
      {.name = "smpo_pair_batch_set",
       .call =
           [](Arguments& a, smpo_error* e) { return smpo_pair_batch_set(a.session, a.batch, a.noised, a.target, e); },
       .cases = {{"noised of another kind", [](Arguments& a) { a.noised = a.model; }, SMPO_INVALID_HANDLE,
                  "noised: expected a tensor handle, got a model handle"},
                 {"no target", [](Arguments& a) { a.target = 0; }, SMPO_INVALID_HANDLE,
                  "target: expected a tensor handle, got the null handle"},
                 {"noised of integers", [](Arguments& a) { a.noised = a.encoders.ids; }, SMPO_DTYPE_MISMATCH,
                  "noised: expected f32, got i32"},
                 {"flat target", [](Arguments& a) { a.target = a.tensor; }, SMPO_SHAPE_MISMATCH,
                  "target: expected [2W,C,h,w] with 2 in front, got [2,4]"}},
       .session = true,
       .batch = true},
      {.name = "smpo_pair_batch_add_noise",
       .call =
           [](Arguments& a, smpo_error* e) { return smpo_pair_batch_add_noise(a.session, a.batch, a.noise_pointer, e); },
       .cases = joined({{null_pointer("noise", [](Arguments& a) { a.noise_pointer = nullptr; })},
                        wrong_size("noise", [](Arguments& a) { return &a.noise.size; }),
                        noise_cases()}),
       .session = true,
       .batch = true},
      {.name = "smpo_pair_batch_invert",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_pair_batch_invert(a.session, a.batch, a.model, a.inversion_pointer, a.report, e);
           },
       .cases = joined({{null_pointer("plan", [](Arguments& a) { a.inversion_pointer = nullptr; })},
                        wrong_size("plan", [](Arguments& a) { return &a.inversion.size; }),
                        wrong_size("report", [](Arguments& a) { return &a.report->size; }),
                        inversion_cases()}),
       .session = true,
       .model = true,
       .batch = true,
       .optional_pointers = 1},
      {.name = "smpo_pair_batch_rollout",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_pair_batch_rollout(a.session, a.batch, a.model, a.inversion_pointer, a.rollout_pointer,
                                            a.report, e);
           },
       .cases = joined({{null_pointer("plan", [](Arguments& a) { a.inversion_pointer = nullptr; }),
                         null_pointer("rollout", [](Arguments& a) { a.rollout_pointer = nullptr; })},
                        wrong_size("plan", [](Arguments& a) { return &a.inversion.size; }),
                        wrong_size("rollout", [](Arguments& a) { return &a.rollout.size; }),
                        wrong_size("report", [](Arguments& a) { return &a.report->size; }),
                        inversion_cases(),
                        rollout_cases()}),
       .session = true,
       .model = true,
       .batch = true,
       .optional_pointers = 1},
      {.name = "smpo_pair_batch_accumulate",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_pair_batch_accumulate(a.session, a.batch, a.policy, a.reference, a.loss_pointer, a.micro_batch_pointer,
                                           e);
           },
       .cases = joined({{null_pointer("loss", [](Arguments& a) { a.loss_pointer = nullptr; }),
                         null_pointer("micro_batch", [](Arguments& a) { a.micro_batch_pointer = nullptr; })},
                        wrong_size("loss", [](Arguments& a) { return &a.loss.size; }),
                        wrong_size("micro_batch", [](Arguments& a) { return &a.micro_batch.size; }),
                        pair_loss_cases(),
                        pair_batch_cases()}),
       .session = true,
       .batch = true},
      {.name = "smpo_pair_batch_read",
       .call = [](Arguments& a, smpo_error* e) { return smpo_pair_batch_read(a.session, a.batch, a.results, e); },
       .cases = joined({{null_pointer("results", [](Arguments& a) { a.results = nullptr; })},
                        wrong_size("results", [](Arguments& a) { return &a.results->size; }),
                        result_cases()}),
       .session = true,
       .batch = true},
      {.name = "smpo_pair_batch_tensor",
       .call =
           [](Arguments& a, smpo_error* e) { return smpo_pair_batch_tensor(a.session, a.batch, a.which, a.tensor_out, e); },
       .cases = {null_pointer("tensor", [](Arguments& a) { a.tensor_out = nullptr; }),
                 out_of_range("which 0", [](Arguments& a) { a.which = 0; }, "which: expected 1..4, got 0"),
                 out_of_range("which 5", [](Arguments& a) { a.which = 5; }, "which: expected 1..4, got 5")},
       .session = true,
       .batch = true},
      {.name = "smpo_pair_batch_close",
       .call = [](Arguments& a, smpo_error* e) { return smpo_pair_batch_close(a.session, a.batch, e); },
       .cases = {},
       .session = true,
       .batch = true},
      {.name = "smpo_comm_open",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_comm_open(a.session, a.comm_config_pointer, a.comm_out, e);
           },
       .cases = joined(
           {{null_pointer("config", [](Arguments& a) { a.comm_config_pointer = nullptr; }),
             null_pointer("comm", [](Arguments& a) { a.comm_out = nullptr; }),
             out_of_range("no host", [](Arguments& a) { a.comm_config.host = nullptr; },
                          "config.host: expected a pointer"),
             out_of_range("no fingerprint", [](Arguments& a) { a.comm_config.fingerprint = nullptr; },
                          "config.fingerprint: expected a pointer")},
            wrong_size("config", [](Arguments& a) { return &a.comm_config.size; }),
            {out_of_range("no process", [](Arguments& a) { a.comm_config.world_size = 0; },
                          "config.world_size: expected 1..65536, got 0"),
             out_of_range("rank 1 of 1", [](Arguments& a) { a.comm_config.rank = 1; },
                          "config.rank: expected 0..0, got 1"),
             out_of_range("port 65536", [](Arguments& a) { a.comm_config.port = 65536; }, "config.port: expected 0.."),
             out_of_range("port 0 of two processes",
                          [](Arguments& a) { a.comm_config.world_size = 2; }, "config.port: expected 1..65535, got 0"),
             out_of_range("no time", [](Arguments& a) { a.comm_config.timeout_millis = 0; },
                          "config.timeout_millis: expected 1.."),
             out_of_range("joins never", [](Arguments& a) { a.comm_config.join_millis = -1; },
                          "config.join_millis: expected 0.."),
             out_of_range("half a store", [](Arguments& a) { a.comm_config.store_exists = 2; },
                          "config.store_exists: expected 0..1"),
             out_of_range("a store anywhere", [](Arguments& a) { a.comm_config.store_exists = 1; },
                          "config.port: expected 1..65535, got 0")}}),
       .session = true},
      {.name = "smpo_comm_all_reduce",
       .call = [](Arguments& a, smpo_error* e) { return smpo_comm_all_reduce(a.session, a.comm, a.tensor, e); },
       .cases = {},
       .session = true,
       .tensor = true,
       .comm = true},
      {.name = "smpo_comm_all_reduce_gradients",
       .call =
           [](Arguments& a, smpo_error* e) { return smpo_comm_all_reduce_gradients(a.session, a.comm, a.model, e); },
       .cases = {out_of_range("a frozen model", [](Arguments& a) { a.model = a.bare_model; },
                              "model: expected a trainable one or one with adapters, got a frozen one")},
       .session = true,
       .model = true,
       .comm = true},
      {.name = "smpo_comm_broadcast",
       .call =
           [](Arguments& a, smpo_error* e) { return smpo_comm_broadcast(a.session, a.comm, a.tensor, a.root, e); },
       .cases = {out_of_range("root -1", [](Arguments& a) { a.root = -1; }, "root: expected 0..0, got -1"),
                 out_of_range("root 1", [](Arguments& a) { a.root = 1; }, "root: expected 0..0, got 1")},
       .session = true,
       .tensor = true,
       .comm = true},
      {.name = "smpo_comm_gather",
       .call =
           [](Arguments& a, smpo_error* e) {
             return smpo_comm_gather(a.session, a.comm, a.tensor, a.root, a.tensor_out, e);
           },
       .cases = {null_pointer("gathered", [](Arguments& a) { a.tensor_out = nullptr; }),
                 out_of_range("root 1", [](Arguments& a) { a.root = 1; }, "root: expected 0..0, got 1")},
       .session = true,
       .tensor = true,
       .comm = true},
      {.name = "smpo_comm_barrier",
       .call = [](Arguments& a, smpo_error* e) { return smpo_comm_barrier(a.session, a.comm, e); },
       .cases = {},
       .session = true,
       .comm = true},
      {.name = "smpo_comm_close",
       .call = [](Arguments& a, smpo_error* e) { return smpo_comm_close(a.session, a.comm, e); },
       .cases = {},
       .session = true,
       .comm = true},
  };
  return all;
}

class ArgumentsTest : public BorderTest {
 protected:
  ArgumentsTest() {
    const auto spec = spec_of(SMPO_F32, {2, 4});
    closed_tensor_ = zeros(spec);
    EXPECT_OK(smpo_tensor_close(session, closed_tensor_, &error));
    EXPECT_OK(smpo_session_open(&config, &other_session_, &error));
    EXPECT_OK(smpo_tensor_zeros(other_session_, &spec, &foreign_tensor_, &error));
    EXPECT_OK(smpo_session_open(&config, &closed_session_, &error));
    EXPECT_OK(smpo_session_close(closed_session_, &error));
    auto cuda = sized<smpo_cuda_info>();
    EXPECT_OK(smpo_cuda_describe(&cuda, &error));
    has_device_ = cuda.device_count > 0;
  }
  ~ArgumentsTest() override { EXPECT_EQ(smpo_session_close(other_session_, nullptr), SMPO_OK); }

  // Valid arguments for any function, pointing to the outputs.
  void fill(Arguments& a) {
    std::memset(static_cast<void*>(&outputs_), 0x5a, sizeof outputs_);
    outputs_.library.size = sizeof outputs_.library;
    outputs_.cpu.size = sizeof outputs_.cpu;
    outputs_.cuda.size = sizeof outputs_.cuda;
    outputs_.device.size = sizeof outputs_.device;
    outputs_.statistics.size = sizeof outputs_.statistics;
    for (smpo_log_record& record : outputs_.records) record.size = sizeof record;
    outputs_.spec.size = sizeof outputs_.spec;
    outputs_.model_info.size = sizeof outputs_.model_info;
    outputs_.parameter_info.size = sizeof outputs_.parameter_info;
    outputs_.optimizer_info.size = sizeof outputs_.optimizer_info;
    outputs_.state_info.size = sizeof outputs_.state_info;
    outputs_.outcome.size = sizeof outputs_.outcome;
    outputs_.report.size = sizeof outputs_.report;
    outputs_.results.size = sizeof outputs_.results;
    outputs_.results.pairs = 1;
    outputs_.results.errors = outputs_.numbers;
    outputs_.results.logits = outputs_.numbers + 4;
    outputs_.results.losses = outputs_.numbers + 5;
    std::fill_n(outputs_.data, 8, 0.25f);
    a.session = session;
    world_.use_in(a);
    a.model_out = &outputs_.model;
    a.model_info = &outputs_.model_info;
    a.parameter_info = &outputs_.parameter_info;
    a.second_tensor_out = &outputs_.second_tensor;
    a.sampler_out = &outputs_.sampler;
    a.optimizer_out = &outputs_.optimizer;
    a.optimizer_info = &outputs_.optimizer_info;
    a.state_info = &outputs_.state_info;
    a.outcome = &outputs_.outcome;
    a.long_text = outputs_.long_text;
    a.batch_out = &outputs_.batch;
    a.comm_out = &outputs_.comm;
    a.report = &outputs_.report;
    a.results = &outputs_.results;
    a.version = &outputs_.version;
    a.text = outputs_.text;
    a.library = &outputs_.library;
    a.cpu = &outputs_.cpu;
    a.cuda = &outputs_.cuda;
    a.device = &outputs_.device;
    a.session_out = &outputs_.session;
    a.statistics = &outputs_.statistics;
    a.records = outputs_.records;
    a.count = &outputs_.count;
    a.tensor_out = &outputs_.tensor;
    a.spec_out = &outputs_.spec;
    a.data = outputs_.data;
  }

  // Calls with one invalid argument: status and message must be those of the case, and no output may change.
  void expect_refused(const Function& function, const Case& spoiled, bool from_another_thread = false) {
    SCOPED_TRACE(std::string(function.name) + ": " + spoiled.name);
    Arguments arguments;
    fill(arguments);
    spoiled.spoil(arguments);
    const Outputs before = outputs_;  // after the change, which may concern an output's content
    auto told = sized<smpo_error>();
    smpo_status status = SMPO_OK;
    const auto call = [&] { status = function.call(arguments, &told); };
    if (from_another_thread) {
      std::thread(call).join();
    } else {
      call();
    }
    EXPECT_EQ(status, spoiled.status);
    EXPECT_EQ(told.code, spoiled.status);
    EXPECT_TRUE(std::string(told.message).starts_with(std::string(function.name) + ": ")) << told.message;
    EXPECT_NE(std::string(told.message).find(spoiled.message), std::string::npos)
        << "expected \"" << spoiled.message << "\" in \"" << told.message << '"';
    EXPECT_EQ(std::memcmp(&before, &outputs_, sizeof before), 0) << "something was written";
  }

  void expect_refused_everywhere(bool Function::* takes, const Case& spoiled) {
    for (const Function& function : functions()) {
      if (function.*takes) expect_refused(function, spoiled);
    }
  }

  bool callable(const Function& function) const {
    return has_device_ || std::string(function.name) != "smpo_cuda_device_describe";
  }

  Outputs outputs_{};
  World world_{session};
  smpo_tensor tensor_ = world_.tensor;
  smpo_tensor closed_tensor_ = 0;
  smpo_tensor foreign_tensor_ = 0;
  smpo_session other_session_ = 0;
  smpo_session closed_session_ = 0;
  bool has_device_ = false;
};

// The parameters of a function, as declared in the header.
std::vector<std::string> header_parameters_of(const std::string& name) {
  std::ifstream in(SMPO_HEADER);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  std::smatch found;
  EXPECT_TRUE(std::regex_search(text, found, std::regex("smpo_status " + name + R"(\(([^)]*)\);)"))) << name;
  const std::string list = found[1];
  const std::regex comma(R"(,\s*)");
  return {std::sregex_token_iterator(list.begin(), list.end(), comma, -1), {}};
}

TEST(ArgumentsTable, CoversEveryFunctionOfTheHeader) {
  std::set<std::string> names;
  for (const Function& function : functions()) names.insert(function.name);
  EXPECT_EQ(names, declared_functions());
}

TEST(ArgumentsTable, CoversEveryParameterOfTheHeader) {
  for (const Function& function : functions()) {
    SCOPED_TRACE(function.name);
    std::vector<Case> cases = function.cases;
    if (function.spec) {
      const std::vector<Case> more = spec_cases();
      cases.insert(cases.end(), more.begin(), more.end());
    }
    const auto starting_with = [&cases](const std::string& text) {
      return std::count_if(cases.begin(), cases.end(), [&](const Case& c) { return c.name.starts_with(text); });
    };
    int pointers = 0;
    int structs = 0;
    bool session = false;
    bool tensor = false;
    bool model = false;
    bool sampler = false;
    bool optimizer = false;
    bool batch = false;
    bool comm = false;
    const std::vector<std::string> parameters = header_parameters_of(function.name);
    ASSERT_TRUE(parameters.back().ends_with("*error")) << parameters.back();
    for (size_t i = 0; i + 1 < parameters.size(); ++i) {
      const std::string& parameter = parameters[i];
      const bool pointer = parameter.find('*') != std::string::npos;
      if (pointer) ++pointers;
      const bool handle = parameter.starts_with("smpo_session ") || parameter.starts_with("smpo_tensor ") ||
                          parameter.starts_with("smpo_model ") || parameter.starts_with("smpo_sampler ") ||
                          parameter.starts_with("smpo_optimizer ") || parameter.starts_with("smpo_pair_batch ") ||
                          parameter.starts_with("smpo_comm ");
      if (pointer && !handle && parameter.find("smpo_") != std::string::npos) ++structs;
      session = session || (!pointer && parameter == "smpo_session session");
      tensor = tensor || (!pointer && parameter == "smpo_tensor tensor");
      model = model || (!pointer && parameter == "smpo_model model");
      sampler = sampler || (!pointer && parameter == "smpo_sampler sampler");
      optimizer = optimizer || (!pointer && parameter == "smpo_optimizer optimizer");
      batch = batch || (!pointer && parameter == "smpo_pair_batch batch");
      comm = comm || (!pointer && parameter == "smpo_comm comm");
    }
    EXPECT_EQ(starting_with("null ") + function.optional_pointers, pointers);
    EXPECT_EQ(starting_with("size 0 of "), structs);
    EXPECT_EQ(function.session, session);
    EXPECT_EQ(function.tensor, tensor);
    EXPECT_EQ(function.model, model);
    EXPECT_EQ(function.sampler, sampler);
    EXPECT_EQ(function.optimizer, optimizer);
    EXPECT_EQ(function.batch, batch);
    EXPECT_EQ(function.comm, comm);
  }
}

TEST_F(ArgumentsTest, GoodOnesAreTaken) {
  for (const Function& function : functions()) {
    if (!callable(function)) continue;
    SCOPED_TRACE(function.name);
    // The call has its own session and tensor, because some functions close their argument.
    smpo_session own_session = 0;
    ASSERT_OK(smpo_session_open(&config, &own_session, &error));
    const World own(own_session);
    Arguments arguments;
    fill(arguments);
    arguments.session = own_session;
    own.use_in(arguments);
    std::strcpy(error.message, "untouched");
    EXPECT_OK(function.call(arguments, &error));
    EXPECT_STREQ(error.message, "untouched");
    if (std::string(function.name) == "smpo_session_open") EXPECT_OK(smpo_session_close(outputs_.session, &error));
    smpo_session_close(own_session, nullptr);
  }
}

TEST_F(ArgumentsTest, EachFunctionsOwn) {
  for (const Function& function : functions()) {
    for (const Case& spoiled : function.cases) expect_refused(function, spoiled);
  }
}

TEST_F(ArgumentsTest, Specs) {
  for (const Case& spoiled : spec_cases()) expect_refused_everywhere(&Function::spec, spoiled);
}

TEST_F(ArgumentsTest, SessionHandles) {
  const auto refused = [this](const char* name, smpo_session handle, const char* message) {
    expect_refused_everywhere(&Function::session,
                              {name, [=](Arguments& a) { a.session = handle; }, SMPO_INVALID_HANDLE, message});
  };
  refused("null", 0, "session: expected a session handle, got the null handle");
  refused("closed", closed_session_, "session: the session handle is closed");
  refused("a tensor", tensor_, "session: expected a session handle, got a tensor handle");
  refused("noise", 0x1234'5678'9abc'def0u, "which is no handle of this library");
  refused("a slot that was never used", session + 1'000'000, "which was never handed out");
  refused("a generation that has not come", session + (uint64_t{1} << 40), "which was never handed out");
}

TEST_F(ArgumentsTest, TensorHandles) {
  const auto refused = [this](const char* name, smpo_tensor handle, const char* message) {
    expect_refused_everywhere(&Function::tensor,
                              {name, [=](Arguments& a) { a.tensor = handle; }, SMPO_INVALID_HANDLE, message});
  };
  refused("null", 0, "tensor: expected a tensor handle, got the null handle");
  refused("closed", closed_tensor_, "tensor: the tensor handle is closed");
  refused("a session", session, "tensor: expected a tensor handle, got a session handle");
  refused("of another session", foreign_tensor_, "tensor: the tensor handle belongs to another session");
  refused("noise", UINT64_MAX, "which is no handle of this library");
  refused("a slot that was never used", tensor_ + 1'000'000, "which was never handed out");
}

TEST_F(ArgumentsTest, ModelHandles) {
  smpo_model closed = open_unet(session, f32_options());
  EXPECT_OK(smpo_model_close(session, closed, &error));
  const smpo_model foreign = open_unet(other_session_, f32_options());
  const auto refused = [this](const char* name, smpo_model handle, const char* message) {
    expect_refused_everywhere(&Function::model, {name,
                                                 [=](Arguments& a) {
                                                   a.model = a.bare_model = handle;
                                                   a.encoders.vae = a.encoders.text = a.encoders.vision =
                                                       a.encoders.bert = handle;
                                                 },
                                                 SMPO_INVALID_HANDLE, message});
  };
  refused("null", 0, "model: expected a model handle, got the null handle");
  refused("closed", closed, "model: the model handle is closed");
  refused("a tensor", tensor_, "model: expected a model handle, got a tensor handle");
  refused("a sampler", world_.sampler, "model: expected a model handle, got a sampler handle");
  refused("of another session", foreign, "model: the model handle belongs to another session");
  refused("noise", UINT64_MAX, "which is no handle of this library");
}

TEST_F(ArgumentsTest, SamplerHandles) {
  const auto refused = [this](const char* name, smpo_sampler handle, const char* message) {
    expect_refused_everywhere(&Function::sampler,
                              {name, [=](Arguments& a) { a.sampler = handle; }, SMPO_INVALID_HANDLE, message});
  };
  refused("null", 0, "sampler: expected a sampler handle, got the null handle");
  refused("a model", world_.model, "sampler: expected a sampler handle, got a model handle");
  EXPECT_OK(smpo_sampler_close(session, world_.sampler, &error));
  EXPECT_OK(smpo_sampler_close(session, world_.forked, &error));
  refused("closed", world_.sampler, "sampler: the sampler handle is closed");
}

TEST_F(ArgumentsTest, OptimizerHandles) {
  const auto refused = [this](const char* name, smpo_optimizer handle, const char* message) {
    expect_refused_everywhere(&Function::optimizer,
                              {name, [=](Arguments& a) { a.optimizer = handle; }, SMPO_INVALID_HANDLE, message});
  };
  refused("null", 0, "optimizer: expected an optimizer handle, got the null handle");
  refused("a model", world_.model, "optimizer: expected an optimizer handle, got a model handle");
  EXPECT_OK(smpo_optimizer_close(session, world_.optimizer, &error));
  refused("closed", world_.optimizer, "optimizer: the optimizer handle is closed");
}

TEST_F(ArgumentsTest, BatchHandles) {
  const auto refused = [this](const char* name, smpo_pair_batch handle, const char* message) {
    expect_refused_everywhere(&Function::batch,
                              {name, [=](Arguments& a) { a.batch = handle; }, SMPO_INVALID_HANDLE, message});
  };
  const World other(other_session_);
  refused("null", 0, "batch: expected a pair batch handle, got the null handle");
  refused("a model", world_.model, "batch: expected a pair batch handle, got a model handle");
  refused("of another session", other.batch, "batch: the pair batch handle belongs to another session");
  EXPECT_OK(smpo_pair_batch_close(session, world_.batch, &error));
  refused("closed", world_.batch, "batch: the pair batch handle is closed");
}

TEST_F(ArgumentsTest, CommHandles) {
  const auto refused = [this](const char* name, smpo_comm handle, const char* message) {
    expect_refused_everywhere(&Function::comm,
                              {name, [=](Arguments& a) { a.comm = handle; }, SMPO_INVALID_HANDLE, message});
  };
  refused("null", 0, "comm: expected a comm handle, got the null handle");
  refused("a model", world_.model, "comm: expected a comm handle, got a model handle");
  EXPECT_OK(smpo_comm_close(session, world_.comm, &error));
  refused("closed", world_.comm, "comm: the comm handle is closed");
}

TEST_F(ArgumentsTest, HandlesClosedTwice) {
  EXPECT_OK(smpo_tensor_close(session, tensor_, &error));
  EXPECT_EQ(smpo_tensor_close(session, tensor_, &error), SMPO_INVALID_HANDLE);
  EXPECT_STREQ(error.message, "smpo_tensor_close: tensor: the tensor handle is closed");
  EXPECT_OK(smpo_session_close(session, &error));
  EXPECT_EQ(smpo_session_close(session, &error), SMPO_INVALID_HANDLE);
  EXPECT_STREQ(error.message, "smpo_session_close: session: the session handle is closed");
  EXPECT_EQ(smpo_tensor_close(other_session_, tensor_, &error), SMPO_INVALID_HANDLE);
  session = 0;
}

TEST_F(ArgumentsTest, ATensorClosesWithItsSession) {
  EXPECT_OK(smpo_session_close(session, &error));
  EXPECT_OK(smpo_session_open(&config, &session, &error));
  for (const Function& function : functions()) {
    if (function.tensor) {
      expect_refused(function, {"of a closed session", [](Arguments&) {}, SMPO_INVALID_HANDLE,
                                "tensor: the tensor handle is closed"});
    }
  }
}

TEST_F(ArgumentsTest, WrongThread) {
  for (const Function& function : functions()) {
    if (!function.session) continue;
    if (std::string(function.name) == "smpo_session_cancel") {
      smpo_status status = SMPO_INTERNAL;
      std::thread([&] { status = smpo_session_cancel(session, nullptr); }).join();
      EXPECT_EQ(status, SMPO_OK) << "the one exception";
      continue;
    }
    expect_refused(function,
                   {"another thread", [](Arguments&) {}, SMPO_WRONG_THREAD,
                    "session: expected a call from the thread that opened it"},
                   /*from_another_thread=*/true);
  }
  EXPECT_EQ(zeros(spec_of(SMPO_F32, {1})) == 0, false) << "the owner is not hindered";
}

TEST_F(ArgumentsTest, PoisonedSession) {
  EXPECT_EQ(smpo_debug_raise(session, SMPO_RAISE_DEVICE_FAULT, 0, &error), SMPO_DEVICE_FAULT);
  for (const Function& function : functions()) {
    if (!function.session || std::string(function.name) == "smpo_session_close") continue;
    if (std::string(function.name) == "smpo_session_cancel") continue;  // reads no state that a fault could damage
    expect_refused(function, {"poisoned", [](Arguments&) {}, SMPO_SESSION_POISONED,
                              "session: unusable since an earlier device fault: raised on request"});
  }
}

TEST_F(ArgumentsTest, AnErrorOfAWrongSizeIsNotWritten) {
  for (const Function& function : functions()) {
    SCOPED_TRACE(function.name);
    for (const uint32_t size : {uint32_t{0}, uint32_t{1023}, uint32_t{1025}, UINT32_MAX}) {
      Arguments arguments;
      fill(arguments);
      smpo_error wrong;
      std::memset(static_cast<void*>(&wrong), 0x5a, sizeof wrong);
      wrong.size = size;
      const smpo_error before = wrong;
      const Outputs outputs_before = outputs_;
      EXPECT_EQ(function.call(arguments, &wrong), SMPO_INVALID_ARGUMENT);
      EXPECT_EQ(std::memcmp(&before, &wrong, sizeof before), 0) << "the error was written";
      EXPECT_EQ(std::memcmp(&outputs_before, &outputs_, sizeof outputs_before), 0) << "an output was written";
    }
  }
}

TEST_F(ArgumentsTest, ANullErrorLeavesTheStatus) {
  for (const Function& function : functions()) {
    SCOPED_TRACE(function.name);
    for (const Case& spoiled : function.cases) {
      Arguments arguments;
      fill(arguments);
      spoiled.spoil(arguments);
      EXPECT_EQ(function.call(arguments, nullptr), spoiled.status) << spoiled.name;
    }
    if (function.session) {
      Arguments arguments;
      fill(arguments);
      arguments.session = 0;
      EXPECT_EQ(function.call(arguments, nullptr), SMPO_INVALID_HANDLE);
    }
  }
}

TEST_F(ArgumentsTest, NothingLeaksFromRefusedCalls) {
  const uint32_t open = statistics().open_tensors;
  for (const Function& function : functions()) {
    for (const Case& spoiled : function.cases) {
      Arguments arguments;
      fill(arguments);
      spoiled.spoil(arguments);
      function.call(arguments, nullptr);
    }
  }
  EXPECT_EQ(statistics().open_tensors, open);
}

}  // namespace
}  // namespace smpo::test
