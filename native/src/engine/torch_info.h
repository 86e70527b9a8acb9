#ifndef SMPO_ENGINE_TORCH_INFO_H_
#define SMPO_ENGINE_TORCH_INFO_H_

#include <string>

namespace smpo::engine {

// The version of the LibTorch that was loaded, as it says itself: "2.11.0".
std::string torch_version();

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TORCH_INFO_H_
