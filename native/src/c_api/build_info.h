#ifndef SMPO_C_API_BUILD_INFO_H_
#define SMPO_C_API_BUILD_INFO_H_

namespace smpo::c_api {

// Sources and tools of this build; texts as in smpo_library_info.
struct BuildInfo {
  const char* version;
  const char* commit;
  const char* build_type;
  const char* compiler;
  const char* cuda;
  const char* cuda_targets;
};

BuildInfo build_info();

}  // namespace smpo::c_api

#endif  // SMPO_C_API_BUILD_INFO_H_
