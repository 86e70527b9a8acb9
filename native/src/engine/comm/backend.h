// Creates the c10d backend of a device. One file per backend, because their headers need different libraries.
#ifndef SMPO_ENGINE_COMM_BACKEND_H_
#define SMPO_ENGINE_COMM_BACKEND_H_

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "engine/comm/comm.h"

namespace smpo::engine {

using BackendPointer = c10::intrusive_ptr<c10d::Backend>;
using StorePointer = c10::intrusive_ptr<c10d::Store>;

BackendPointer gloo_backend(const CommConfig& config, const StorePointer& store);
// Throws Error(SMPO_UNSUPPORTED) in a build without NCCL.
BackendPointer nccl_backend(const CommConfig& config, const StorePointer& store);

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_COMM_BACKEND_H_
