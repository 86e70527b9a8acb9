#include "engine/comm/backend.h"
#include "engine/error.h"

#ifdef SMPO_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace smpo::engine {

#ifdef SMPO_NCCL

BackendPointer nccl_backend(const CommConfig& config, const StorePointer& store) {
  const c10::intrusive_ptr<c10d::ProcessGroupNCCL::Options> options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = config.timeout;
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, config.rank, config.world_size, options);
}

#else

BackendPointer nccl_backend(const CommConfig&, const StorePointer&) {
  fail(SMPO_UNSUPPORTED, "session: this library was built without NCCL, so sessions on GPUs cannot form a group");
}

#endif

}  // namespace smpo::engine
