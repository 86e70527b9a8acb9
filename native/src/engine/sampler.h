#ifndef SMPO_ENGINE_SAMPLER_H_
#define SMPO_ENGINE_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/model.h"
#include "smpo.h"

namespace smpo::engine {

// A sampling run: its plan, its conditions and its current latents.
struct Sampler;

struct SamplerOptions {
  double guidance_scale = 1.0;    // 1: no guidance
  double guidance_rescale = 0.0;  // 0..1
  double initial_noise_scale = 1.0;
  std::vector<smpo_sampler_row> rows;
  std::vector<int64_t> items;             // one per image; empty if no row adds noise
  std::shared_ptr<Model> negative_model;  // predicts the negative side; null: the model itself
  bool negative_adapters = false;         // the model's adapters act on the negative side only
};

// `prompt.sample` is standard normal noise; its timesteps are not read. `negative` has the conditions of the negative
// prompt, or null tensors without guidance. Throws Error as documented for smpo_sampler_open.
std::shared_ptr<Sampler> open_sampler(std::shared_ptr<Model> unet, SamplerOptions options, const UNetTensors& prompt,
                                      const UNetTensors& negative);

// Throw Error as documented in smpo.h.
void step(Session& session, Sampler& sampler, uint32_t steps);
int64_t images(const Sampler& sampler);

struct CandidateOptions {
  std::vector<int64_t> items;  // one per candidate
  double clean_sample = 1.0;
  double clean_output = 0.0;
};

// Returns the clean latents.
std::shared_ptr<Tensor> fork(Session& session, Sampler& sampler, const CandidateOptions& options);

// One entry per image. The latents of these candidates, and, for those candidates moved, new candidates' clean latents.
std::shared_ptr<Tensor> candidate(const Sampler& sampler, std::span<const int32_t> which);
std::shared_ptr<Tensor> add_moved(Session& session, Sampler& sampler, std::span<const int32_t> which,
                                  const Tensor& move);

struct CandidatePairs {
  std::shared_ptr<Tensor> noised;
  std::shared_ptr<Tensor> target;
};

// One entry per image.
CandidatePairs pairs_of(const Sampler& sampler, std::span<const int32_t> winner, std::span<const int32_t> loser);
void select(Sampler& sampler, std::span<const int32_t> chosen);
std::shared_ptr<Tensor> latents(const Sampler& sampler);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_SAMPLER_H_
