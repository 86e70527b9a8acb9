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

// The device of a session: the CPU, or one CUDA device with a stream of its own.
class Device final {
 public:
  // Throws Error: SMPO_INVALID_ARGUMENT for a type or an index out of range, SMPO_UNSUPPORTED, with the reason, when
  // the device cannot be used. `watches_waits`: see `with`.
  Device(int32_t type, int32_t index, bool watches_waits = false);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  int32_t type() const { return type_; }
  int32_t index() const { return index_; }

  // Runs the body with this device and its stream as the thread's current ones. If the device watches waits, LibTorch
  // warns about every operation, other than `synchronize`, that makes the host wait for the device.
  void with(FunctionRef body) const;
  // Waits until all work on the stream is done and counts the wait. On the CPU it only counts.
  void synchronize();
  uint64_t synchronizations() const { return synchronizations_; }
  // Returns the memory in LibTorch's pool to the device.
  void trim();
  // All zero on the CPU.
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
