#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/ema_update.h"

namespace smpo::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;  // 16 bytes of each buffer

/// `aligned`: both buffers may be read four elements at a time.
__global__ void update(EmaUpdateArgs args, float weight, bool aligned) {
  if (args.finite != nullptr && *args.finite == 0) {
    return;
  }
  for (int64_t i = kPerThread * grid_index(); i < args.elements; i += kPerThread * grid_stride()) {
    if (aligned && i + kPerThread <= args.elements) {
      float a[kPerThread], p[kPerThread];
      load16(args.average + i, a);
      load16(args.parameter + i, p);
#pragma unroll
      for (int j = 0; j < kPerThread; ++j) {
        a[j] = ema_element(weight, a[j], p[j]);
      }
      store16(args.average + i, a);
    } else {
      for (int64_t n = i; n < i + kPerThread && n < args.elements; ++n) {
        args.average[n] = ema_element(weight, args.average[n], args.parameter[n]);
      }
    }
  }
}

}  // namespace

void ema_update(const EmaUpdateArgs& args, Stream stream) {
  launch(update, dim3(blocks_for(args.elements, kThreads, kPerThread)), dim3(kThreads), 0, stream, args,
         ema_weight(args), is_aligned16(args.average) && is_aligned16(args.parameter));
}

}  // namespace smpo::kernels::cuda
