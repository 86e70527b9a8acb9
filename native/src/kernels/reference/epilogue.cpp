#include "kernels/epilogue.h"

#include "kernels/reference/elements.h"

namespace smpo::kernels::reference {
namespace {

double load_or_zero(const void* tensor, DType dtype, int64_t index) {
  return tensor == nullptr ? 0.0 : load(tensor, dtype, index);
}

}  // namespace

void epilogue(const EpilogueArgs& args) {
  const int64_t P = args.pixels, C = args.channels;
  for (int64_t i = 0; i < args.batch * P * C; ++i) {
    const int64_t b = i / (P * C), c = i % C;
    store(args.y_BPC, args.dtype, i,
          load(args.x_BPC, args.x_dtype, i) + load_or_zero(args.bias_C, args.dtype, c) +
              load_or_zero(args.sample_bias_BC, args.dtype, b * C + c) +
              load_or_zero(args.residual_BPC, args.dtype, i));
  }
}

void epilogue_backward(const EpilogueBackwardArgs& args) {
  const int64_t P = args.pixels, C = args.channels;
  for (int64_t c = 0; c < C; ++c) {
    double all = 0.0;
    for (int64_t b = 0; b < args.batch; ++b) {
      double sum = 0.0;
      for (int64_t p = 0; p < P; ++p) {
        sum += load(args.d_y_BPC, args.dtype, (b * P + p) * C + c);
      }
      if (args.d_sample_bias_BC != nullptr) {
        store(args.d_sample_bias_BC, args.dtype, b * C + c, sum);
      }
      all += sum;
    }
    if (args.d_bias_C != nullptr) {
      args.d_bias_C[c] = static_cast<float>(static_cast<double>(args.d_bias_C[c]) + all);
    }
  }
}

}  // namespace smpo::kernels::reference
