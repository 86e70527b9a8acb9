#include "engine/session.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <omp.h>

#include <mutex>
#include <utility>

#include "engine/cpu_info.h"
#include "engine/error.h"
#include "engine/handle_table.h"
#include "engine/memory/cpu_tensors.h"

namespace smpo::engine {
namespace {

// Number of the calling thread. Unlike the operating system's numbers, it is never reused.
uint64_t this_thread() {
  static std::atomic<uint64_t> last{0};
  thread_local const uint64_t id = ++last;
  return id;
}

// Sets OpenMP's thread count, from which LibTorch takes its own; it is a variable of the calling thread.
// at::set_num_threads would change the whole process and discard oneDNN's compiled kernels each time.
class ThreadsScope final {
 public:
  explicit ThreadsScope(int threads) : previous_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ~ThreadsScope() { omp_set_num_threads(previous_); }
  ThreadsScope(const ThreadsScope&) = delete;
  ThreadsScope& operator=(const ThreadsScope&) = delete;

 private:
  int previous_;
};

// LibTorch's modes are variables of the process. A set of modes is on while any session that wants it is inside a call;
// the previous modes are restored after the last such call. The modes can make concurrent calls of other sessions
// slower, never wrong. `Modes` is a struct with a static `of(context)` and `apply(context)`.
template <typename Modes>
class ModesScope final {
 public:
  ModesScope(bool wanted, const Modes& modes) : wanted_(wanted) {
    if (!wanted_) return;
    const std::lock_guard lock(mutex());
    if (inside()++ > 0) return;
    previous() = Modes::of(at::globalContext());
    modes.apply(at::globalContext());
  }
  ~ModesScope() {
    if (!wanted_) return;
    const std::lock_guard lock(mutex());
    if (--inside() == 0) previous().apply(at::globalContext());
  }
  ModesScope(const ModesScope&) = delete;
  ModesScope& operator=(const ModesScope&) = delete;

 private:
  static std::mutex& mutex() {
    static std::mutex instance;
    return instance;
  }
  static int& inside() {
    static int count = 0;
    return count;
  }
  static Modes& previous() {
    static Modes modes{};
    return modes;
  }

  const bool wanted_;
};

// Modes of a deterministic session.
struct Determinism {
  bool algorithms = true;
  bool warn_only = false;
  bool cudnn = true;
  bool mkldnn = true;
  bool fill = false;  // filling uninitialized memory with NaN is a debugging aid that costs a pass over every tensor

  static Determinism of(const at::Context& context) {
    return {.algorithms = context.deterministicAlgorithms(),
            .warn_only = context.deterministicAlgorithmsWarnOnly(),
            .cudnn = context.deterministicCuDNN(),
            .mkldnn = context.deterministicMkldnn(),
            .fill = context.deterministicFillUninitializedMemory()};
  }
  void apply(at::Context& context) const {
    context.setDeterministicAlgorithms(algorithms, warn_only);
    context.setDeterministicCuDNN(cudnn);
    context.setDeterministicMkldnn(mkldnn);
    context.setDeterministicFillUninitializedMemory(fill);
  }
};

// Modes of a session on a GPU: f32 without TF32, and f32 accumulation of bf16 products that are split among blocks.
struct CudaPrecision {
  bool tf32_cublas = false;
  bool tf32_cudnn = false;
  bool bf16_sums = false;

  static CudaPrecision of(const at::Context& context) {
    return {
        .tf32_cublas = context.allowTF32CuBLAS(),
        .tf32_cudnn = context.allowTF32CuDNN(),
        .bf16_sums = context.allowBF16ReductionCuBLAS() == at::CuBLASReductionOption::AllowReducedPrecisionWithSplitK};
  }
  void apply(at::Context& context) const {
    context.setAllowTF32CuBLAS(tf32_cublas);
    context.setAllowTF32CuDNN(tf32_cudnn);
    context.setAllowBF16ReductionCuBLAS(bf16_sums);
  }
};

// Mode of a session on a GPU: whether cuDNN times its convolution algorithms once per shape and keeps the fastest. The
// timings vary from run to run, and so can the bits of the results.
struct CudnnSearch {
  bool search;

  static CudnnSearch of(const at::Context& context) { return {.search = context.benchmarkCuDNN()}; }
  void apply(at::Context& context) const { context.setBenchmarkCuDNN(search); }
};

class WarningsToLog final : public c10::WarningHandler {
 public:
  explicit WarningsToLog(Session* session) : session_(session) {}
  void process(const c10::Warning& warning) override { session_->log(SMPO_LOG_WARNING, warning.msg()); }

 private:
  Session* session_;
};

}  // namespace

uint64_t Session::open(const SessionConfig& config) {
  auto session = std::make_shared<Session>(config);
  session->handle_ = handles().open(HandleKind::kSession, 0, session);
  return session->handle_;
}

std::shared_ptr<Session> Session::of(uint64_t handle) {
  return std::static_pointer_cast<Session>(handles().resolve(handle, HandleKind::kSession, 0, "session"));
}

Session::Session(const SessionConfig& config)
    : config_(config),
      owner_(this_thread()),
      threads_(config.threads > 0 ? config.threads : CpuInfo::of_this_process().physical_cores),
      device_(config.device_type, config.device_index, config.log_level <= SMPO_LOG_DEBUG),
      log_(config.log_level, config.log_capacity) {
  cpu_tensors();
  recorder_ = recorder_for(device_);
  // LibTorch chooses this thread's count at the first query, which should not happen inside a call.
  at::get_num_threads();
  log(SMPO_LOG_INFO,
      std::string("session opened: ") +
          (config.device_type == SMPO_DEVICE_CPU ? "cpu" : "cuda:" + std::to_string(config.device_index)) +
          ", threads " + std::to_string(threads_) + ", seed " + std::to_string(config.seed) +
          (config.deterministic ? ", deterministic" : ""));
}

Session::~Session() = default;

void Session::close() {
  // The session's own handle first: once it is closed, no call can add objects.
  const std::shared_ptr<void> self = handles().close(handle_, HandleKind::kSession, 0, "session");
  handles().close_all_of(handle_);
  open_tensors_ = 0;
}

void Session::run(FunctionRef body) {
  const c10::NoGradGuard no_grad;
  const ThreadsScope threads(threads_);
  const bool cuda = config_.device_type == SMPO_DEVICE_CUDA;
  const ModesScope<Determinism> determinism(config_.deterministic, {});
  const ModesScope<CudaPrecision> precision(cuda, {});
  const ModesScope<CudnnSearch> search(cuda, {.search = !config_.deterministic});
  WarningsToLog warnings(this);
  const c10::WarningUtils::WarningHandlerGuard warnings_scope(&warnings);
  device_.with(body);
}

void Session::require_owner() const {
  if (this_thread() != owner_) {
    fail(SMPO_WRONG_THREAD, "session: expected a call from the thread that opened it, got one from another");
  }
}

void Session::require_healthy() const {
  if (poisoned_) {
    throw Error(SMPO_SESSION_POISONED,
                std::string("session: unusable since an earlier device fault: ") + first_fault_.message,
                first_fault_.detail);
  }
}

void Session::count_failure(const char* function, const Failure& failure) noexcept {
  failed_calls_.fetch_add(1, std::memory_order_relaxed);
  // The fields below belong to the owner; a refused caller on another thread must not touch them.
  if (this_thread() != owner_) return;
  if (failure.status == SMPO_DEVICE_FAULT && !poisoned_) {
    poisoned_ = true;
    first_fault_ = failure;
  }
  char message[sizeof(smpo_log_record::message)];
  const char* parts[] = {function, ": ", failure.message};
  size_t length = 0;
  for (const char* part : parts) {
    copy_text(message + length, sizeof message - length, part);
    length += std::string_view(message + length).size();
  }
  log(failure.status == SMPO_DEVICE_FAULT ? SMPO_LOG_ERROR : SMPO_LOG_DEBUG, message);
}

void Session::cancel_all() noexcept {
  handles().for_each(HandleKind::kSession, [](void* session) { static_cast<Session*>(session)->request_cancel(); });
}

void Session::stop_if_cancelled() {
  if (cancel_requested_.load(std::memory_order_relaxed) &&
      cancel_requested_.exchange(false, std::memory_order_acquire)) {
    throw Error(SMPO_CANCELLED, "stopped by smpo_session_cancel");
  }
}

void Session::trim() {
  device_.trim();
  const uint64_t bytes = cpu_tensors().trim();
  log(SMPO_LOG_DEBUG, "trim: " + std::to_string(bytes) + " bytes of pooled host memory given back");
}

smpo_session_statistics Session::statistics() const {
  const ArenaStatistics host = cpu_tensors().statistics();
  const DeviceMemory device = device_.memory();
  return {.size = sizeof(smpo_session_statistics),
          .open_tensors = open_tensors_,
          .calls = calls_.load(std::memory_order_relaxed),
          .failed_calls = failed_calls_.load(std::memory_order_relaxed),
          .log_records_dropped = log_.dropped(),
          .host_bytes_in_use = host.in_use,
          .host_bytes_peak = host.peak,
          .host_bytes_pooled = host.pooled,
          .device_bytes_in_use = device.in_use,
          .device_bytes_peak = device.peak,
          .device_bytes_reserved = device.reserved,
          .device_synchronizations = device_.synchronizations()};
}

void log_refusal(Session& session, const char* work, const char* why) {
  // Only the first line: the rest of LibTorch's messages is the place in its sources.
  const std::string_view reason = why;
  session.log(SMPO_LOG_WARNING, std::string("no CUDA graph of ") + work + ", whose kernels are started one by one: " +
                                    std::string(reason.substr(0, reason.find('\n'))));
}

uint64_t Session::adopt(std::shared_ptr<Tensor> tensor) {
  const uint64_t handle = handles().open(HandleKind::kTensor, handle_, std::move(tensor));
  ++open_tensors_;
  return handle;
}

uint64_t Session::adopt(std::shared_ptr<Model> model) {
  return handles().open(HandleKind::kModel, handle_, std::move(model));
}

uint64_t Session::adopt(std::shared_ptr<Sampler> sampler) {
  return handles().open(HandleKind::kSampler, handle_, std::move(sampler));
}

uint64_t Session::adopt(std::shared_ptr<PairBatch> batch) {
  return handles().open(HandleKind::kPairBatch, handle_, std::move(batch));
}

uint64_t Session::adopt(std::shared_ptr<Optimizer> optimizer) {
  return handles().open(HandleKind::kOptimizer, handle_, std::move(optimizer));
}

uint64_t Session::adopt(std::shared_ptr<Comm> comm) {
  return handles().open(HandleKind::kComm, handle_, std::move(comm));
}

std::shared_ptr<Tensor> Session::tensor(uint64_t handle, const char* argument) const {
  return std::static_pointer_cast<Tensor>(handles().resolve(handle, HandleKind::kTensor, handle_, argument));
}

std::shared_ptr<Model> Session::model(uint64_t handle, const char* argument) const {
  return std::static_pointer_cast<Model>(handles().resolve(handle, HandleKind::kModel, handle_, argument));
}

std::shared_ptr<Sampler> Session::sampler(uint64_t handle) const {
  return std::static_pointer_cast<Sampler>(handles().resolve(handle, HandleKind::kSampler, handle_, "sampler"));
}

std::shared_ptr<PairBatch> Session::pair_batch(uint64_t handle) const {
  return std::static_pointer_cast<PairBatch>(handles().resolve(handle, HandleKind::kPairBatch, handle_, "batch"));
}

std::shared_ptr<Optimizer> Session::optimizer(uint64_t handle) const {
  return std::static_pointer_cast<Optimizer>(handles().resolve(handle, HandleKind::kOptimizer, handle_, "optimizer"));
}

std::shared_ptr<Comm> Session::comm(uint64_t handle) const {
  return std::static_pointer_cast<Comm>(handles().resolve(handle, HandleKind::kComm, handle_, "comm"));
}

void Session::close_model(uint64_t handle) { handles().close(handle, HandleKind::kModel, handle_, "model"); }

void Session::close_sampler(uint64_t handle) { handles().close(handle, HandleKind::kSampler, handle_, "sampler"); }

void Session::close_pair_batch(uint64_t handle) { handles().close(handle, HandleKind::kPairBatch, handle_, "batch"); }

void Session::close_optimizer(uint64_t handle) {
  handles().close(handle, HandleKind::kOptimizer, handle_, "optimizer");
}

void Session::close_comm(uint64_t handle) { handles().close(handle, HandleKind::kComm, handle_, "comm"); }

void Session::close_tensor(uint64_t handle) {
  handles().close(handle, HandleKind::kTensor, handle_, "tensor");
  --open_tensors_;
}

}  // namespace smpo::engine
