#include "kernels/row_mean_squared_error.h"

#include "kernels/reference/elements.h"

namespace smpo::kernels::reference {

void row_mean_squared_error(const RowMeanSquaredErrorArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    double sum = 0.0;
    for (int64_t i = r * args.elements; i < (r + 1) * args.elements; ++i) {
      const double difference =
          load(args.prediction_RN, args.prediction_dtype, i) - load(args.target_RN, args.target_dtype, i);
      sum += difference * difference;
    }
    args.error_R[r] = sum / static_cast<double>(args.elements);
  }
}

}  // namespace smpo::kernels::reference
