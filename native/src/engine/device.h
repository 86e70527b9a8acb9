#ifndef SMPO_ENGINE_DEVICE_H_
#define SMPO_ENGINE_DEVICE_H_

#include <cstdint>
#include <memory>

#include "engine/function_ref.h"

namespace smpo::engine {

struct DeviceMemory {
  uint64_t in_use;
  uint64_t peak;
  uint64_t reserved;
};

// Where a session's tensors live and its work runs: the CPU, or one CUDA device with a stream of the session's own.
class Device final {
 public:
  // Throws Error: SMPO_INVALID_ARGUMENT for a type or an index out of range, SMPO_UNSUPPORTED when the device cannot
  // be used, with the reason. `watches_waits`: see `with`.
  Device(int32_t type, int32_t index, bool watches_waits = false);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  int32_t type() const { return type_; }
  int32_t index() const { return index_; }

  // Runs the body with this device and its stream as the thread's current ones. A device that watches waits has
  // LibTorch warn of each of its operations that makes the host wait for the device; `synchronize` is not among them.
  void with(FunctionRef body) const;
  // Waits until all work on the stream is done. On the CPU there is nothing to wait for, and it is counted all the
  // same.
  void synchronize();
  uint64_t synchronizations() const { return synchronizations_; }
  // Gives memory that LibTorch's pool keeps for reuse back to the device.
  void trim();
  // Zeros on the CPU.
  DeviceMemory memory() const;

 private:
  struct Stream;
  int32_t type_;
  int32_t index_;
  [[maybe_unused]] bool watches_waits_;
  uint64_t synchronizations_ = 0;
  std::unique_ptr<Stream> stream_;  // null on the CPU
};

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_DEVICE_H_
