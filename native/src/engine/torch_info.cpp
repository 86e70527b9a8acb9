#include "engine/torch_info.h"

#include <ATen/Version.h>

namespace smpo::engine {

std::string torch_version() {
  // The loaded library's own version; the macro in the headers is the version of the build.
  const std::string config = at::show_config();
  const std::string key = "TORCH_VERSION=";
  const size_t start = config.find(key);
  if (start == std::string::npos) return "unknown";
  const size_t first = start + key.size();
  return config.substr(first, config.find_first_of(", \n", first) - first);
}

}  // namespace smpo::engine
