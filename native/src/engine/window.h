#ifndef SMPO_ENGINE_WINDOW_H_
#define SMPO_ENGINE_WINDOW_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/model.h"
#include "smpo.h"

namespace smpo::engine {

// The pairs of one optimizer step on the device: clean latents, conditions, noised latents, targets, results. What it
// holds is in window_value.h, for those who may see LibTorch.
struct Window;

// Structs are those of smpo.h, with sizes, reserved fields, ranges and pointers already checked. All of these throw
// Error as smpo.h says of the functions of the same name.

std::shared_ptr<Tensor> posterior_sample(Session& session, const Tensor& mean, const Tensor& logvar, double scale,
                                         uint32_t step, std::span<const int64_t> items);

struct WindowOptions {
  int64_t pairs = 0;
  uint32_t step = 0;
  bool keep_predictions = false;
  std::vector<int32_t> timesteps;
  std::vector<int64_t> items;
};
// `tensors.sample` has the clean latents; its timesteps are not read.
std::shared_ptr<Window> open_window(WindowOptions options, const UNetTensors& tensors);

int64_t rows(const Window& window);

void add_noise(Session& session, Window& window, const smpo_forward_noise& noise);
smpo_inversion_report invert(Session& session, Window& window, const Model& model, const smpo_inversion_plan& plan);

// `reference` may be null.
void accumulate(Session& session, const std::shared_ptr<Window>& window, Model& policy, const Model* reference,
                const smpo_pair_loss& loss, const smpo_pair_batch& batch);

// Fills the arrays and loss_sum.
// A wait for the device, unless the optimizer's step has brought the results.
void read(Session& session, const Window& window, smpo_window_results& results);
std::shared_ptr<Tensor> window_tensor(const Window& window, int32_t which);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_WINDOW_H_
