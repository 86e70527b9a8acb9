#ifndef SMPO_ENGINE_SAMPLER_H_
#define SMPO_ENGINE_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/model.h"
#include "smpo.h"

namespace smpo::engine {

// A sampling run: a plan, what the UNet is told, and the latents as they stand.
struct Sampler;

struct SamplerOptions {
  double guidance_scale = 1.0;    // 1: no guidance
  double guidance_rescale = 0.0;  // 0..1
  double initial_noise_scale = 1.0;
  std::vector<smpo_sampler_row> rows;
  std::vector<int64_t> items;  // one per image, or none where no row has noise
};

// `prompt.sample` is the standard normal to start from; timesteps are not read. `negative` has the conditions of the
// unguided side, or nothing without guidance. Throws Error as smpo_sampler_open says.
std::shared_ptr<Sampler> open_sampler(std::shared_ptr<Model> unet, SamplerOptions options, const UNetTensors& prompt,
                                      const UNetTensors& negative);

// Throw Error as smpo.h says.
void step(Session& session, Sampler& sampler, uint32_t steps);
std::shared_ptr<Tensor> latents(const Sampler& sampler);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_SAMPLER_H_
