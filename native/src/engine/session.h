#ifndef SMPO_ENGINE_SESSION_H_
#define SMPO_ENGINE_SESSION_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/device.h"
#include "engine/failure.h"
#include "engine/function_ref.h"
#include "engine/graphs.h"
#include "engine/handle_table.h"
#include "engine/session_log.h"
#include "smpo.h"

namespace smpo::engine {

struct Comm;
struct Model;
struct Optimizer;
struct Sampler;
struct Tensor;
struct PairBatch;

struct SessionConfig {
  int32_t device_type;
  int32_t device_index;
  int32_t threads;  // 0: one per physical core
  uint64_t seed;
  bool deterministic;
  int32_t log_level;      // SMPO_LOG_*
  uint32_t log_capacity;  // records
};

// One engine: a device, its modes, its log, and the objects that belong to it. It belongs to the thread that opened it;
// only functions that say so may be called from other threads.
class Session final {
 public:
  // Opens a session owned by the calling thread and returns its handle. Throws Error.
  static uint64_t open(const SessionConfig& config);
  // Returns the session of a handle, from any thread. Throws Error(SMPO_INVALID_HANDLE).
  static std::shared_ptr<Session> of(uint64_t handle);

  explicit Session(const SessionConfig& config);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Closes the handle and the handles of all objects of the session.
  void close();

  // Runs the body under the session's modes: device, stream, threads, determinism, no gradients, LibTorch's warnings
  // into the session's log. Restores the previous modes when the body returns or throws.
  void run(FunctionRef body);

  // From any thread. Throw Error: SMPO_WRONG_THREAD unless the caller owns the session; SMPO_SESSION_POISONED, with the
  // message of the first device fault, if there was one.
  void require_owner() const;
  void require_healthy() const;

  // From any thread. Count a call, and a call that failed. A device fault poisons the session.
  void count_call() noexcept { calls_.fetch_add(1, std::memory_order_relaxed); }
  void count_failure(const char* function, const Failure& failure) noexcept;

  // From any thread. Requests the cancellation of every open session.
  static void cancel_all() noexcept;

  // From any thread.
  void request_cancel() noexcept { cancel_requested_.store(true, std::memory_order_release); }
  // Marks a safe point of an operation that can be cancelled: throws Error(SMPO_CANCELLED) if a cancellation has been
  // requested, and clears the request.
  void stop_if_cancelled();

  void synchronize() { device_.synchronize(); }
  // Frees the memory in the pools: the device's, and that of CPU tensors, which is shared by all sessions.
  void trim();
  smpo_session_statistics statistics() const;

  // Logs a message; session_log.h says what is kept of it.
  void log(int32_t level, std::string_view message) noexcept { log_.add(level, message); }
  // Moves the oldest log records into `records`, as many as fit; returns their number.
  uint32_t drain_log(std::span<smpo_log_record> records) { return log_.drain(records); }

  uint64_t adopt(std::shared_ptr<Tensor> tensor);
  uint64_t adopt(std::shared_ptr<Model> model);
  uint64_t adopt(std::shared_ptr<Sampler> sampler);
  uint64_t adopt(std::shared_ptr<PairBatch> batch);
  uint64_t adopt(std::shared_ptr<Optimizer> optimizer);
  uint64_t adopt(std::shared_ptr<Comm> comm);
  // Throw Error(SMPO_INVALID_HANDLE) with a message that begins with the name of the argument.
  std::shared_ptr<Tensor> tensor(uint64_t handle, const char* argument = "tensor") const;
  std::shared_ptr<Model> model(uint64_t handle, const char* argument = "model") const;
  std::shared_ptr<Sampler> sampler(uint64_t handle) const;
  std::shared_ptr<PairBatch> pair_batch(uint64_t handle) const;
  std::shared_ptr<Optimizer> optimizer(uint64_t handle) const;
  std::shared_ptr<Comm> comm(uint64_t handle) const;
  void close_tensor(uint64_t handle);
  void close_model(uint64_t handle);
  void close_sampler(uint64_t handle);
  void close_pair_batch(uint64_t handle);
  void close_optimizer(uint64_t handle);
  void close_comm(uint64_t handle);

  // Null on the CPU, where nothing is recorded.
  Recorder* recorder() { return recorder_.get(); }

  Device& device() { return device_; }
  const Device& device() const { return device_; }
  int32_t threads() const { return threads_; }
  uint64_t seed() const { return config_.seed; }

 private:
  const SessionConfig config_;
  const uint64_t owner_;
  int32_t threads_;
  Device device_;
  std::unique_ptr<Recorder> recorder_;
  uint64_t handle_ = 0;

  std::atomic<uint64_t> calls_{0};
  std::atomic<uint64_t> failed_calls_{0};
  std::atomic<bool> cancel_requested_{false};
  uint32_t open_tensors_ = 0;

  bool poisoned_ = false;
  Failure first_fault_;

  SessionLog log_;
};

// Logs that some work will not be recorded as a CUDA graph, and why.
void log_refusal(Session& session, const char* work, const char* why);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_SESSION_H_
