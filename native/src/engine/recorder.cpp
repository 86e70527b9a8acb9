// The only function here: a test program that plays recordings back on the CPU brings its own.
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
    // Graphs have a pool of their own, which cannot take what the common one keeps idle.
    c10::cuda::CUDACachingAllocator::emptyCache();
    auto recording = std::make_unique<CudaRecording>();
    // Other sessions' threads may go on allocating meanwhile.
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
      give_pool_back();
      throw;
    }
    return recording;
  }

 private:
  // What failed may have ended the capture already, and then LibTorch stops before it has given the pool back.
  void abandon(at::cuda::CUDAGraph& graph) const noexcept {
    try {
      graph.capture_end();
    } catch (...) {
      give_pool_back();
    }
  }

  void give_pool_back() const noexcept {
    static_cast<void>(cudaGetLastError());
    try {
      const c10::DeviceIndex device = c10::cuda::current_device();
      c10::cuda::CUDACachingAllocator::endAllocateToPool(device, pool_);
      c10::cuda::CUDACachingAllocator::releasePool(device, pool_);
    } catch (...) {  // It was given back.
    }
  }

  // One for all graphs of a session: they run one after another, so that each may use the memory that another's kernels
  // are done with. What a graph leaves in its entry's memory is held, and so not shared.
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
