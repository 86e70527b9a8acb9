#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/embedding_dense_backward.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sin.h>

#include <cmath>

#include "tape/check.h"
#include "tape/ops.h"

namespace smpo::tape {

Var embedding(Tape& tape, const at::Tensor& ids, const Parameter& table) {
  check(ids.scalar_type() == at::kLong, "embedding", table.name, ": ids must be int64");
  at::Tensor y = at::embedding(table.value, ids);
  if (!tape.trains(table)) {
    return {std::move(y)};
  }
  return tape.record(std::move(y), [&table, ids](Tape& t, const at::Tensor& d_y) {
    const at::Tensor wide = d_y.to(table.grad.scalar_type()).contiguous();
    t.accumulate_parameter(table, at::embedding_dense_backward(wide, ids, table.value.size(0), /*padding_idx=*/-1,
                                                               /*scale_grad_by_freq=*/false));
  });
}

Var time_embedding(const at::Tensor& timesteps_B, const TimeEmbeddingOptions& options, at::ScalarType dtype) {
  check(timesteps_B.dim() == 1 && options.channels > 0 && options.channels % 2 == 0, "time_embedding", "", "timesteps ",
        timesteps_B.sizes(), ", channels ", options.channels);
  const int64_t half = options.channels / 2;
  const auto wide = timesteps_B.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor exponent =
      at::arange(half, timesteps_B.options().dtype(wide)).mul_(-std::log(10000.0)).div_(half - options.frequency_shift);
  const at::Tensor angle = at::mul(timesteps_B.to(wide).unsqueeze(1), exponent.exp_().unsqueeze(0));
  const at::Tensor sine = at::sin(angle), cosine = at::cos(angle);
  return {(options.flip_sin_to_cos ? at::cat({cosine, sine}, 1) : at::cat({sine, cosine}, 1)).to(dtype)};
}

}  // namespace smpo::tape
