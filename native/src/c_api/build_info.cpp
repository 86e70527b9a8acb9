#include "c_api/build_info.h"

#include "smpo_commit.h"  // made by native/cmake/Commit.cmake on every build

namespace smpo::c_api {

BuildInfo build_info() {
  return {.version = SMPO_VERSION,
          .commit = SMPO_COMMIT,
          .build_type = SMPO_BUILD_TYPE,
          .compiler = SMPO_COMPILER,
          .cuda = SMPO_CUDA_VERSION,
          .cuda_targets = SMPO_CUDA_TARGETS};
}

}  // namespace smpo::c_api
