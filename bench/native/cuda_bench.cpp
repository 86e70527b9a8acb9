// smpo_cuda_bench: the memory-bound kernels on a GPU, alternating with a copy of as many bytes; one JSON line each.
//
// `share_of_copy` is the kernel's bytes per second relative to the copy's; a kernel's bytes are those it must read and
// write at least once. Times are measured by CUDA events around launches of a few milliseconds; the result is the
// median.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/ema_update.h"
#include "kernels/geglu.h"
#include "kernels/grad_norm.h"
#include "kernels/group_norm_silu.h"
#include "kernels/layer_norm.h"
#include "kernels/philox_normal.h"

namespace {

using namespace smpo::kernels;  // NOLINT: the program is about them

constexpr int kTurns = 21;
constexpr double kTurnMilliseconds = 4;

void check(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}

/// Device memory with numbers near 1 in every dtype that a kernel may read; zeros would cost less.
class Buffer {
 public:
  explicit Buffer(int64_t bytes) {
    check(cudaMalloc(&data_, static_cast<size_t>(bytes)));
    check(cudaMemset(data_, 0x3f, static_cast<size_t>(bytes)));
    check(cudaDeviceSynchronize());
  }
  ~Buffer() { static_cast<void>(cudaFree(data_)); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  template <typename Value = void>
  Value* as() const {
    return static_cast<Value*>(data_);
  }

 private:
  void* data_ = nullptr;
};

class Timer {
 public:
  explicit Timer(cudaStream_t stream) : stream_(stream) {
    check(cudaEventCreate(&start_));
    check(cudaEventCreate(&end_));
  }
  ~Timer() {
    static_cast<void>(cudaEventDestroy(start_));
    static_cast<void>(cudaEventDestroy(end_));
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  /// Milliseconds per run, averaged over `times` runs.
  double milliseconds(const std::function<void()>& run, int times) {
    check(cudaEventRecord(start_, stream_));
    for (int i = 0; i < times; ++i) run();
    check(cudaEventRecord(end_, stream_));
    check(cudaEventSynchronize(end_));
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start_, end_));
    return static_cast<double>(milliseconds) / times;
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t start_ = nullptr, end_ = nullptr;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Bench {
 public:
  explicit Bench(cudaStream_t stream) : stream_(stream), timer_(stream) {}

  void measure(const char* family, const std::string& size, const char* dtype, int64_t bytes,
               const std::function<void()>& run) {
    const Buffer from(bytes / 2), to(bytes / 2);
    const std::function<void()> copy = [&] {
      check(cudaMemcpyAsync(to.as<>(), from.as<>(), static_cast<size_t>(bytes / 2), cudaMemcpyDeviceToDevice, stream_));
    };
    const auto times_of = [this](const std::function<void()>& once) {
      timer_.milliseconds(once, 3);
      return std::clamp(static_cast<int>(kTurnMilliseconds / timer_.milliseconds(once, 3)), 1, 1000);
    };
    const int runs = times_of(run), copies = times_of(copy);
    std::vector<double> own, theirs;
    for (int turn = 0; turn < kTurns; ++turn) {
      own.push_back(timer_.milliseconds(run, runs));
      theirs.push_back(timer_.milliseconds(copy, copies));
    }
    const double ms = median(own), share = median(theirs) / ms;
    std::printf(R"({"bench":"cuda","family":"%s","size":"%s","dtype":"%s","bytes":%lld,"median_us":%.2f,)"
                R"("gb_per_s":%.1f,"copy_gb_per_s":%.1f,"share_of_copy":%.3f})"
                "\n",
                family, size.c_str(), dtype, static_cast<long long>(bytes), ms * 1e3,
                static_cast<double>(bytes) / ms * 1e-6, static_cast<double>(bytes) / median(theirs) * 1e-6, share);
    std::fflush(stdout);
  }

 private:
  cudaStream_t stream_;
  Timer timer_;
};

void run_all(cudaStream_t stream) {
  Bench bench(stream);

  // The sizes at which SD 1.5 and SDXL spend most time in norms, with 16 images.
  for (const auto& [pixels, channels] : {std::pair<int64_t, int64_t>{4096, 320}, {1024, 640}, {16384, 320}}) {
    const int64_t batch = 16, groups = 32, count = batch * pixels * channels, bytes = count * 2;
    const Buffer x(bytes), y(bytes), d_y(bytes), d_x(bytes), weight(channels * 2), bias(channels * 2);
    const Buffer mean(batch * groups * 4), rstd(batch * groups * 4), d_weight(channels * 4), d_bias(channels * 4);
    GroupNormSiluArgs args{.batch = batch,
                           .pixels = pixels,
                           .channels = channels,
                           .groups = groups,
                           .eps = 1e-5,
                           .silu = true,
                           .dtype = DType::kBF16,
                           .parameter_dtype = DType::kBF16,
                           .x_BPC = x.as<>(),
                           .weight_C = weight.as<>(),
                           .bias_C = bias.as<>(),
                           .y_BPC = y.as<>(),
                           .mean_BG = mean.as<float>(),
                           .rstd_BG = rstd.as<float>()};
    const Buffer workspace(group_norm_silu_workspace_bytes(args));
    args.workspace = workspace.as<>();
    const std::string size = std::to_string(batch) + "x" + std::to_string(pixels) + "x" + std::to_string(channels);
    bench.measure("group_norm_silu", size, "bf16", 2 * bytes, [&] { cuda::group_norm_silu(args, stream); });
    GroupNormSiluBackwardArgs backward{.batch = batch,
                                       .pixels = pixels,
                                       .channels = channels,
                                       .groups = groups,
                                       .silu = true,
                                       .dtype = DType::kBF16,
                                       .parameter_dtype = DType::kBF16,
                                       .d_y_BPC = d_y.as<>(),
                                       .x_BPC = x.as<>(),
                                       .weight_C = weight.as<>(),
                                       .bias_C = bias.as<>(),
                                       .mean_BG = mean.as<float>(),
                                       .rstd_BG = rstd.as<float>(),
                                       .d_x_BPC = d_x.as<>(),
                                       .d_weight_C = d_weight.as<float>(),
                                       .d_bias_C = d_bias.as<float>()};
    const Buffer backward_workspace(group_norm_silu_backward_workspace_bytes(backward));
    backward.workspace = backward_workspace.as<>();
    bench.measure("group_norm_silu_backward", size, "bf16", 3 * bytes,
                  [&] { cuda::group_norm_silu_backward(backward, stream); });
  }

  for (const auto& [rows, channels] : {std::pair<int64_t, int64_t>{65536, 320}, {16384, 1280}}) {
    const int64_t bytes = rows * channels * 2;
    const Buffer x(bytes), y(bytes), d(bytes), weight(channels * 2), bias(channels * 2), mean(rows * 4), rstd(rows * 4);
    const Buffer d_weight(channels * 4), d_bias(channels * 4);
    const std::string size = std::to_string(rows) + "x" + std::to_string(channels);
    const LayerNormArgs args{.rows = rows,
                             .channels = channels,
                             .eps = 1e-5,
                             .dtype = DType::kBF16,
                             .parameter_dtype = DType::kBF16,
                             .x_RC = x.as<>(),
                             .weight_C = weight.as<>(),
                             .bias_C = bias.as<>(),
                             .y_RC = y.as<>(),
                             .mean_R = mean.as<float>(),
                             .rstd_R = rstd.as<float>()};
    bench.measure("layer_norm", size, "bf16", 2 * bytes, [&] { cuda::layer_norm(args, stream); });
    LayerNormBackwardArgs backward{.rows = rows,
                                   .channels = channels,
                                   .dtype = DType::kBF16,
                                   .parameter_dtype = DType::kBF16,
                                   .d_y_RC = y.as<>(),
                                   .s_RC = x.as<>(),
                                   .mean_R = mean.as<float>(),
                                   .rstd_R = rstd.as<float>(),
                                   .weight_C = weight.as<>(),
                                   .d_s_RC = d.as<>(),
                                   .d_weight_C = d_weight.as<float>(),
                                   .d_bias_C = d_bias.as<float>()};
    const Buffer workspace(layer_norm_backward_workspace_bytes(backward));
    backward.workspace = workspace.as<>();
    bench.measure("layer_norm_backward", size, "bf16", 3 * bytes, [&] { cuda::layer_norm_backward(backward, stream); });
  }

  {
    const int64_t rows = 16384, channels = 5120, bytes = rows * channels * 2;
    const Buffer x(2 * bytes), y(bytes), d_y(bytes), d_x(2 * bytes);
    const GegluArgs args{
        .rows = rows, .channels = channels, .dtype = DType::kBF16, .x_R2C = x.as<>(), .y_RC = y.as<>()};
    bench.measure("geglu", "16384x5120", "bf16", 3 * bytes, [&] { cuda::geglu(args, stream); });
    const GegluBackwardArgs backward{.rows = rows,
                                     .channels = channels,
                                     .dtype = DType::kBF16,
                                     .d_y_RC = d_y.as<>(),
                                     .x_R2C = x.as<>(),
                                     .d_x_R2C = d_x.as<>()};
    bench.measure("geglu_backward", "16384x5120", "bf16", 5 * bytes, [&] { cuda::geglu_backward(backward, stream); });
  }

  {
    const int64_t n = 200'000'000;
    const Buffer p(4 * n), g(4 * n), m(4 * n), v(4 * n), copy(2 * n);
    const AdamWArgs adamw{.elements = n,
                          .parameter = p.as<float>(),
                          .gradient = g.as<float>(),
                          .m = m.as<float>(),
                          .v = v.as<float>(),
                          .compute = copy.as<>(),
                          .compute_dtype = DType::kBF16,
                          .lr = 1e-6,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .eps = 1e-8,
                          .weight_decay = 0.01,
                          .bias_correction1 = 0.1,
                          .bias_correction2 = 0.001};
    bench.measure("adamw", "200M", "f32+bf16", 30 * n, [&] { cuda::adamw(adamw, stream); });
    const EmaUpdateArgs ema{.elements = n, .average = m.as<float>(), .parameter = p.as<float>(), .decay = 0.9999};
    bench.measure("ema_update", "200M", "f32", 12 * n, [&] { cuda::ema_update(ema, stream); });
    const Buffer result(sizeof(GradNormResult)), workspace(grad_norm_workspace_bytes(n));
    const GradNormArgs norm{.gradient = g.as<float>(),
                            .elements = n,
                            .max_norm = 1.0,
                            .result = result.as<GradNormResult>(),
                            .workspace = workspace.as<>()};
    bench.measure("grad_norm", "200M", "f32", 4 * n, [&] { cuda::grad_norm(norm, stream); });
  }
}

}  // namespace

int main() {
  try {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
      std::fprintf(stderr, "smpo_cuda_bench: no CUDA device found\n");
      return 2;
    }
    cudaStream_t stream = nullptr;
    check(cudaStreamCreate(&stream));
    run_all(stream);
    check(cudaStreamDestroy(stream));
    return EXIT_SUCCESS;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "smpo_cuda_bench: %s\n", failure.what());
    return EXIT_FAILURE;
  }
}
