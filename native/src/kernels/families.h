// A table of every family's functions on one kind of device. The caller of a kernel names the family; the table decides
// the device. tape/kernel_call.cpp is the one place that chooses a table.
#ifndef SMPO_KERNELS_FAMILIES_H_
#define SMPO_KERNELS_FAMILIES_H_

#include "kernels/cuda/stream.h"

namespace smpo::kernels {

struct AdafactorGroupArgs;
struct AdamWArgs;
struct EmaUpdateArgs;
struct EpilogueArgs;
struct EpilogueBackwardArgs;
struct GegluArgs;
struct GegluBackwardArgs;
struct GradNormArgs;
struct GroupNormSiluArgs;
struct GroupNormSiluBackwardArgs;
struct LayerNormArgs;
struct LayerNormBackwardArgs;
struct PhiloxNormalArgs;
struct PreferenceLossArgs;
struct RenoiseUpdateArgs;
struct RowMeanSquaredErrorArgs;

/// A family's function. Every pointer of its arguments is memory of the table's device; the CPU's take no stream.
template <class Args>
using Kernel = void (*)(const Args& args, cuda::Stream stream);

struct Families {
  Kernel<AdafactorGroupArgs> adafactor_group;
  Kernel<AdamWArgs> adamw;
  Kernel<EmaUpdateArgs> ema_update;
  Kernel<EpilogueArgs> epilogue;
  Kernel<EpilogueBackwardArgs> epilogue_backward;
  Kernel<GegluArgs> geglu;
  Kernel<GegluBackwardArgs> geglu_backward;
  Kernel<GradNormArgs> grad_norm;
  Kernel<GroupNormSiluArgs> group_norm_silu;
  Kernel<GroupNormSiluBackwardArgs> group_norm_silu_backward;
  Kernel<LayerNormArgs> layer_norm;
  Kernel<LayerNormBackwardArgs> layer_norm_backward;
  Kernel<PhiloxNormalArgs> philox_normal;
  Kernel<PreferenceLossArgs> preference_loss;
  Kernel<RenoiseUpdateArgs> renoise_update;
  Kernel<RowMeanSquaredErrorArgs> row_mean_squared_error;
};

namespace cpu {
const Families& families();
}  // namespace cpu

namespace cuda {
const Families& families();
}  // namespace cuda

}  // namespace smpo::kernels

#endif  // SMPO_KERNELS_FAMILIES_H_
