#ifndef SMPO_ENGINE_MODEL_H_
#define SMPO_ENGINE_MODEL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor_spec.h"
#include "smpo.h"

namespace smpo::engine {

class Session;
struct Tensor;

// A network with its weights on a session's device. Defined in model_value.h, for files that include LibTorch.
struct Model;

// These functions implement the functions of smpo.h with the same names and throw Error as documented there. Sizes and
// reserved fields of the structs have been checked.

std::shared_ptr<Model> open_unet(Session& session, const smpo_unet_spec& spec, const smpo_model_options& options);

smpo_model_info describe(const Model& model);
smpo_parameter_info describe_parameter(const Model& model, uint32_t index);

// `data` points to spec.bytes() bytes.
void write_parameter(Model& model, std::string_view name, const TensorSpec& spec, const void* data);
void read_parameter(Session& session, const Model& model, std::string_view name, const TensorSpec& spec, void* data);
void read_gradient(Session& session, const Model& model, std::string_view name, const TensorSpec& spec, void* data);
void zero_gradients(Model& model);

void add_lora(Model& model, int64_t rank, double alpha, std::vector<std::string> modules);
void set_lora_scale(Model& model, double scale);
void merge_lora(Model& model, double weight);

// text_embeds and time_ids are null for a UNet without text_time, timesteps where the caller says so.
struct UNetTensors {
  std::shared_ptr<Tensor> sample;
  std::shared_ptr<Tensor> timesteps;
  std::shared_ptr<Tensor> encoder_hidden_states;
  std::shared_ptr<Tensor> text_embeds;
  std::shared_ptr<Tensor> time_ids;
};

std::shared_ptr<Tensor> unet_forward(Session& session, const Model& model, const UNetTensors& inputs);

struct UNetGradients {
  std::shared_ptr<Tensor> output;
  std::shared_ptr<Tensor> d_sample;  // null unless requested
};
struct WantedGradients {
  bool sample = false;
  // False: gradients of parameters stay as they are.
  bool parameters = true;
};
UNetGradients unet_backward(Session& session, Model& model, const UNetTensors& inputs, const Tensor& cotangent,
                            const WantedGradients& wanted);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_MODEL_H_
