// Runs a device kernel on the buffers of a host test: copies them to the device and copies the outputs back.
#ifndef SMPO_TEST_KERNELS_CUDA_STAGING_H_
#define SMPO_TEST_KERNELS_CUDA_STAGING_H_

#include <cstring>
#include <memory>
#include <vector>

#include "cuda_on_cpu/device_buffer.h"

namespace smpo::test {

class Staging {
 public:
  /// Buffers start `misalign_elements` elements off the allocation's alignment, as views into flat buffers do.
  explicit Staging(size_t misalign_elements = 0) : misalign_(misalign_elements) {}

  /// Returns a copy on the device, or null for null.
  template <class T>
  const T* in(const T* host, int64_t count) {
    return static_cast<const T*>(in(host, count, static_cast<int64_t>(sizeof(T))));
  }
  const void* in(const void* host, int64_t count, int64_t element_bytes) {
    return host == nullptr ? nullptr : copy(host, count, static_cast<size_t>(element_bytes)).data();
  }

  /// Returns a copy on the device, which `download` copies back; elements that the kernel does not write keep their
  /// value.
  template <class T>
  T* out(T* host, int64_t count) {
    return static_cast<T*>(out(host, count, static_cast<int64_t>(sizeof(T))));
  }
  void* out(void* host, int64_t count, int64_t element_bytes) {
    if (host == nullptr) return nullptr;
    DeviceBuffer<unsigned char>& buffer = copy(host, count, static_cast<size_t>(element_bytes));
    outputs_.push_back({host, &buffer});
    return buffer.data();
  }

  void download() {
    for (const Output& output : outputs_) {
      const std::vector<unsigned char> bytes = output.buffer->download();
      std::memcpy(output.host, bytes.data(), bytes.size());
    }
  }

 private:
  struct Output {
    void* host;
    const DeviceBuffer<unsigned char>* buffer;
  };

  DeviceBuffer<unsigned char>& copy(const void* host, int64_t count, size_t element_bytes) {
    const auto* first = static_cast<const unsigned char*>(host);
    const std::vector<unsigned char> bytes(first, first + static_cast<size_t>(count) * element_bytes);
    buffers_.push_back(std::make_unique<DeviceBuffer<unsigned char>>(bytes, misalign_ * element_bytes));
    return *buffers_.back();
  }

  size_t misalign_;
  std::vector<std::unique_ptr<DeviceBuffer<unsigned char>>> buffers_;
  std::vector<Output> outputs_;
};

}  // namespace smpo::test

#endif  // SMPO_TEST_KERNELS_CUDA_STAGING_H_
