#include "kernels/families.h"

#include "kernels/adafactor.h"
#include "kernels/adamw.h"
#include "kernels/ema_update.h"
#include "kernels/epilogue.h"
#include "kernels/geglu.h"
#include "kernels/grad_norm.h"
#include "kernels/group_norm_silu.h"
#include "kernels/layer_norm.h"
#include "kernels/philox_normal.h"
#include "kernels/preference_loss.h"
#include "kernels/renoise_update.h"
#include "kernels/row_mean_squared_error.h"

namespace smpo::kernels::cpu {
namespace {

/// The function at the best instruction set, with the table's signature.
template <class Args, void (*kFunction)(const Args&, InstructionSet)>
void run(const Args& args, cuda::Stream) {
  kFunction(args, best_instruction_set());
}

}  // namespace

const Families& families() {
  static constexpr Families kFamilies{
      .adafactor_group = run<AdafactorGroupArgs, adafactor_group>,
      .adamw = run<AdamWArgs, adamw>,
      .ema_update = run<EmaUpdateArgs, ema_update>,
      .epilogue = run<EpilogueArgs, epilogue>,
      .epilogue_backward = run<EpilogueBackwardArgs, epilogue_backward>,
      .geglu = run<GegluArgs, geglu>,
      .geglu_backward = run<GegluBackwardArgs, geglu_backward>,
      .grad_norm = run<GradNormArgs, grad_norm>,
      .group_norm_silu = run<GroupNormSiluArgs, group_norm_silu>,
      .group_norm_silu_backward = run<GroupNormSiluBackwardArgs, group_norm_silu_backward>,
      .layer_norm = run<LayerNormArgs, layer_norm>,
      .layer_norm_backward = run<LayerNormBackwardArgs, layer_norm_backward>,
      .philox_normal = run<PhiloxNormalArgs, philox_normal>,
      .preference_loss = run<PreferenceLossArgs, preference_loss>,
      .renoise_update = run<RenoiseUpdateArgs, renoise_update>,
      .row_mean_squared_error = run<RowMeanSquaredErrorArgs, row_mean_squared_error>,
  };
  return kFamilies;
}

}  // namespace smpo::kernels::cpu
