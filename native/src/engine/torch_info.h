#ifndef SMPO_ENGINE_TORCH_INFO_H_
#define SMPO_ENGINE_TORCH_INFO_H_

#include <string>

namespace smpo::engine {

// Version that the loaded LibTorch reports: "2.11.0".
std::string torch_version();

}  // namespace smpo::engine

#endif  // SMPO_ENGINE_TORCH_INFO_H_
