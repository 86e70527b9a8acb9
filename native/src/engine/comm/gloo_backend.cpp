#include <cstdlib>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "engine/comm/backend.h"

namespace smpo::engine {

BackendPointer gloo_backend(const CommConfig& config, const StorePointer& store) {
  using Gloo = c10d::ProcessGroupGloo;
  const c10::intrusive_ptr<Gloo::Options> options = Gloo::Options::create(config.timeout);
  const bool one_machine = config.host == "localhost" || config.host == "::1" || config.host.starts_with("127.");
  // The variable that PyTorch uses to choose among several network interfaces.
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"); interface != nullptr && *interface != '\0') {
    options->devices.push_back(Gloo::createDeviceForInterface(interface));
  } else if (one_machine) {
    options->devices.push_back(Gloo::createDeviceForHostname(config.host));
  } else {
    options->devices.push_back(Gloo::createDefaultDevice());
  }
  return c10::make_intrusive<Gloo>(store, config.rank, config.world_size, options);
}

}  // namespace smpo::engine
