#include "engine/adafactor.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/optimizer_value.h"
#include "engine/transfer.h"
#include "tape/kernel_call.h"

namespace smpo::engine {

using kernels::Families;
using kernels::GradNormResult;
using models::ParameterGroup;

namespace {

// transformers factors over the last two dimensions. In memory, those of a convolution's filter come before its input
// channels.
kernels::AdafactorShape factored_shape(const std::vector<int64_t>& shape) {
  if (shape.size() == 4) return {.outer = shape[0], .rows = shape[2], .columns = shape[3], .inner = shape[1]};
  if (shape.size() < 2) return {.columns = shape.empty() ? 1 : shape[0], .factored = false};
  kernels::AdafactorShape factored{.rows = shape[shape.size() - 2], .columns = shape.back()};
  for (size_t i = 0; i + 2 < shape.size(); ++i) factored.outer *= shape[i];
  return factored;
}

// View of a row or column mean, [outer,length,inner] in memory, in the shape that transformers uses: the parameter's
// shape without its last dimension (`gone_is_last`) or without the one before.
at::Tensor mean_view(const at::Tensor& flat, int64_t offset, int64_t length, const std::vector<int64_t>& shape,
                     bool gone_is_last) {
  std::vector<int64_t> sizes(shape.begin(), shape.end() - 2);
  sizes.push_back(gone_is_last ? shape[shape.size() - 2] : shape.back());
  if (shape.size() != 4) return flat.narrow(0, offset, length).view(sizes);
  return flat.narrow(0, offset, length).view({sizes[0], sizes[2], sizes[1]}).permute({0, 2, 1});
}

}  // namespace

void add_adafactor_state(Optimizer& optimizer) {
  const ParameterGroup& group = optimizer.group();
  int64_t end = 0;
  int64_t workspace = 0;
  // A GPU updates all parameters at once; the CPU updates them one by one and shares one workspace.
  const bool one_by_one = tape::kernels_of(group.master()).of_the_cpu();
  const auto reserve = [&end](int64_t elements) {
    const int64_t offset = end;
    end += (elements + ParameterGroup::kAlignment - 1) / ParameterGroup::kAlignment * ParameterGroup::kAlignment;
    return offset;
  };
  for (const ParameterGroup::Entry& entry : group.entries()) {
    SecondMoment moment{.shape = factored_shape(entry.shape)};
    moment.row = reserve(moment.shape.row_elements());
    moment.column = reserve(moment.shape.column_elements());
    moment.v = reserve(moment.shape.factored ? 0 : entry.elements);
    const int64_t bytes = (kernels::adafactor_workspace_bytes(moment.shape) + 15) / 16 * 16;
    if (one_by_one) {
      workspace = std::max(workspace, bytes);
    } else {
      moment.workspace = std::exchange(workspace, workspace + bytes);
    }
    optimizer.second_moments.push_back(moment);
  }
  optimizer.factors = at::zeros({end}, group.master().options());
  optimizer.workspace = at::empty({workspace}, group.master().options().dtype(at::kByte));
  for (size_t i = 0; i < group.entries().size(); ++i) {
    const ParameterGroup::Entry& entry = group.entries()[i];
    const SecondMoment& moment = optimizer.second_moments[i];
    if (!moment.shape.factored) {
      optimizer.add_state("exp_avg_sq." + entry.name,
                          optimizer.factors.narrow(0, moment.v, entry.elements).view(entry.shape),
                          /*may_be_negative=*/false);
      continue;
    }
    optimizer.add_state("exp_avg_sq_row." + entry.name,
                        mean_view(optimizer.factors, moment.row, moment.shape.row_elements(), entry.shape, true),
                        /*may_be_negative=*/false);
    optimizer.add_state("exp_avg_sq_col." + entry.name,
                        mean_view(optimizer.factors, moment.column, moment.shape.column_elements(), entry.shape, false),
                        /*may_be_negative=*/false);
  }
}

void update_adafactor(const Optimizer& optimizer, double learning_rate, const GradNormResult& norm) {
  const smpo_optimizer_options& options = optimizer.options;
  const ParameterGroup& group = optimizer.group();
  auto* copy = static_cast<uint8_t*>(compute_copy(group));
  std::vector<kernels::AdafactorTensor> tensors;
  tensors.reserve(group.entries().size());
  for (size_t i = 0; i < group.entries().size(); ++i) {
    const int64_t offset = group.entries()[i].offset;
    const SecondMoment& moment = optimizer.second_moments[i];
    const bool factored = moment.shape.factored;
    tensors.push_back(
        {.shape = moment.shape,
         .parameter = floats(group.master()) + offset,
         .gradient = group.gradient().const_data_ptr<float>() + offset,
         .m = optimizer.exp_avg.defined() ? floats(optimizer.exp_avg) + offset : nullptr,
         .row = factored ? floats(optimizer.factors) + moment.row : nullptr,
         .column = factored ? floats(optimizer.factors) + moment.column : nullptr,
         .v = factored ? nullptr : floats(optimizer.factors) + moment.v,
         .compute = copy == nullptr ? nullptr : copy + offset * kernels::size_of(kernels::DType::kBF16),
         .workspace = static_cast<uint8_t*>(at::Tensor(optimizer.workspace).mutable_data_ptr()) + moment.workspace});
  }
  kernels::AdafactorGroupArgs args{
      .count = static_cast<int64_t>(tensors.size()),
      .rule = {.compute_dtype = kernels::DType::kBF16,
               .lr = learning_rate,
               .beta1 = options.beta1,
               .beta2 = 1 - std::pow(static_cast<double>(optimizer.steps + 1), options.decay_rate),
               .eps = options.eps,
               .parameter_eps = options.parameter_eps,
               .clip_threshold = options.clip_threshold,
               .weight_decay = options.weight_decay,
               .scale_parameter = options.scale_parameter == 1,
               .grad_scale = &norm.clip_coefficient,
               .finite = &norm.finite},
      .copies = copy != nullptr};
  kernels::adafactor_place(tensors.data(), args.count, args.units);
  const at::Tensor table = copy_to<uint8_t>(
      group.master().device(), {reinterpret_cast<const uint8_t*>(tensors.data()), tensors.size() * sizeof tensors[0]});
  args.tensors = static_cast<const kernels::AdafactorTensor*>(table.const_data_ptr());
  tape::kernels_of(group.master())(&Families::adafactor_group, args);
}

}  // namespace smpo::engine
