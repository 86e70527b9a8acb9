// recorder_for is in a file of its own so that a test program can replace it with a recorder for the CPU.
#include "engine/device.h"
#include "engine/graphs.h"
#include "smpo.h"

#ifdef SMPO_CUDA
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <cuda_runtime_api.h>
#endif

namespace smpo::engine {

#ifdef SMPO_CUDA

namespace {

class CudaRecording final : public Recording {
 public:
  void replay() override { graph.replay(); }

  at::cuda::CUDAGraph graph;
};

class CudaRecorder final : public Recorder {
 public:
  std::unique_ptr<Recording> record(const std::function<void()>& work) override {
    // Graphs have a memory pool of their own, which cannot use idle memory of the common pool.
    c10::cuda::CUDACachingAllocator::emptyCache();
    auto recording = std::make_unique<CudaRecording>();
    // Threads of other sessions may continue to allocate meanwhile.
    recording->graph.capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
    try {
      work();
    } catch (...) {
      abandon(recording->graph);
      throw;
    }
    try {
      recording->graph.capture_end();
    } catch (...) {
      release_pool();
      throw;
    }
    return recording;
  }

 private:
  // The failure may have ended the capture already; LibTorch then throws before it has released the pool.
  void abandon(at::cuda::CUDAGraph& graph) const noexcept {
    try {
      graph.capture_end();
    } catch (...) {
      release_pool();
    }
  }

  void release_pool() const noexcept {
    static_cast<void>(cudaGetLastError());
    try {
      const c10::DeviceIndex device = c10::cuda::current_device();
      c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool_);
      c10::cuda::CUDACachingAllocator::releasePool(device, pool_);
    } catch (...) {  // It was released already.
    }
  }

  // One pool for all graphs of a session: they run one after another, so a graph can reuse memory that another graph no
  // longer needs. Results in an entry's memory are held, and so are not shared.
  at::cuda::MempoolId_t pool_ = at::cuda::graph_pool_handle();
};

}  // namespace

std::unique_ptr<Recorder> recorder_for(const Device& device) {
  return device.type() == SMPO_DEVICE_CUDA ? std::make_unique<CudaRecorder>() : nullptr;
}

#else

std::unique_ptr<Recorder> recorder_for(const Device&) { return nullptr; }

#endif

}  // namespace smpo::engine
