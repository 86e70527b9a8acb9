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

namespace smpo::kernels::cuda {

const Families& families() {
  static constexpr Families kFamilies{
      .adafactor_group = adafactor_group,
      .adamw = adamw,
      .ema_update = ema_update,
      .epilogue = epilogue,
      .epilogue_backward = epilogue_backward,
      .geglu = geglu,
      .geglu_backward = geglu_backward,
      .grad_norm = grad_norm,
      .group_norm_silu = group_norm_silu,
      .group_norm_silu_backward = group_norm_silu_backward,
      .layer_norm = layer_norm,
      .layer_norm_backward = layer_norm_backward,
      .philox_normal = philox_normal,
      .preference_loss = preference_loss,
      .renoise_update = renoise_update,
      .row_mean_squared_error = row_mean_squared_error,
  };
  return kFamilies;
}

}  // namespace smpo::kernels::cuda
