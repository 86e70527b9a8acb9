#ifndef SMPO_ENGINE_ENCODER_H_
#define SMPO_ENGINE_ENCODER_H_

#include <cstdint>
#include <memory>

#include "smpo.h"

namespace smpo::engine {

class Session;
struct Model;
struct Tensor;

// The VAE, the CLIP encoders and BERT. These functions implement the functions of smpo.h with the same names and throw
// Error as documented there. Sizes, flags and unused entries of the structs have been checked.

std::shared_ptr<Model> open_vae(Session& session, const smpo_vae_spec& spec, const smpo_model_options& options);
std::shared_ptr<Model> open_clip_text(Session& session, const smpo_clip_text_spec& spec,
                                      const smpo_model_options& options);
std::shared_ptr<Model> open_clip_vision(Session& session, const smpo_clip_vision_spec& spec,
                                        const smpo_model_options& options);
std::shared_ptr<Model> open_bert(Session& session, const smpo_bert_spec& spec, const smpo_model_options& options);

struct Posterior {
  std::shared_ptr<Tensor> mean;
  std::shared_ptr<Tensor> logvar;
};
// `tile`: side of a tile in pixels; 0 processes the image as a whole.
Posterior vae_encode(Session& session, const Model& model, const Tensor& pixels, int64_t tile);
std::shared_ptr<Tensor> vae_decode(Session& session, const Model& model, const Tensor& latents, int64_t tile);

struct TextEncoding {
  std::shared_ptr<Tensor> hidden;
  std::shared_ptr<Tensor> pooled;  // null unless requested
};
TextEncoding clip_text_encode(Session& session, const Model& model, const Tensor& ids, int64_t skip, bool final_norm,
                              bool wants_pooled);

std::shared_ptr<Tensor> clip_vision_encode(Session& session, const Model& model, const Tensor& pixel_values);

std::shared_ptr<Tensor> bert_encode(Session& session, const Model& model, const Tensor& ids,
                                    const Tensor& encoder_states);

std::shared_ptr<Tensor> pixel_values(Session& session, const Tensor& pixels, const smpo_pixel_spec& spec);
std::shared_ptr<Tensor> pixel_values_backward(Session& session, const Tensor& pixels, const smpo_pixel_spec& spec,
                                              const Tensor& d_values);
std::shared_ptr<Tensor> clip_vision_backward(Session& session, const Model& model, const Tensor& pixel_values,
                                             const Tensor& cotangent);
std::shared_ptr<Tensor> vae_decode_backward(Session& session, const Model& model, const Tensor& latents,
                                            bool checkpointing, const Tensor& cotangent);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_ENCODER_H_
