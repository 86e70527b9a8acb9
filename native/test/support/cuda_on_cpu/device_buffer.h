// Device memory for tests, on a GPU and in the emulator.
#ifndef SMPO_TEST_SUPPORT_CUDA_ON_CPU_DEVICE_BUFFER_H_
#define SMPO_TEST_SUPPORT_CUDA_ON_CPU_DEVICE_BUFFER_H_

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace smpo::test {

inline void check_cuda(cudaError_t code, const char* what) {
  if (code != cudaSuccess) {
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(code));
  }
}

/// Exactly `size` elements of T in device memory, so that the emulator's red zones begin at the very next byte.
/// `misalign` elements (0 to 15 bytes) put the start off a 16-byte boundary, as a view into a flat buffer may be.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t size, size_t misalign = 0) : size_(size), offset_(misalign) {
    if (size_ + offset_ != 0) {
      check_cuda(cudaMalloc(reinterpret_cast<void**>(&base_), (size_ + offset_) * sizeof(T)), "cudaMalloc");
      // Unwritten memory must not look like a result.
      check_cuda(cudaMemset(base_, 0xff, (size_ + offset_) * sizeof(T)), "cudaMemset");
    }
  }

  explicit DeviceBuffer(const std::vector<T>& values, size_t misalign = 0) : DeviceBuffer(values.size(), misalign) {
    upload(values);
  }

  ~DeviceBuffer() { static_cast<void>(cudaFree(base_)); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* data() { return base_ + offset_; }
  const T* data() const { return base_ + offset_; }
  size_t size() const { return size_; }

  void upload(const std::vector<T>& values) {
    if (values.size() != size_) {
      throw std::invalid_argument("DeviceBuffer::upload: another size");
    }
    if (size_ != 0) {
      check_cuda(cudaMemcpy(data(), values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    }
  }

  /// Waits for the device: an error of an earlier kernel throws here.
  std::vector<T> download() const {
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    std::vector<T> values(size_);
    if (size_ != 0) {
      check_cuda(cudaMemcpy(values.data(), data(), size_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    }
    return values;
  }

 private:
  size_t size_;
  size_t offset_;
  T* base_ = nullptr;
};

}  // namespace smpo::test

#endif  // SMPO_TEST_SUPPORT_CUDA_ON_CPU_DEVICE_BUFFER_H_
