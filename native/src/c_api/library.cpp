// Library and machine: the functions without a session.

#include "c_api/build_info.h"
#include "c_api/guard.h"
#include "engine/cpu_info.h"
#include "engine/cuda_info.h"
#include "engine/torch_info.h"

using smpo::c_api::guarded;
using smpo::c_api::require_pointer;
using smpo::c_api::require_struct;
using smpo::engine::copy_text;

namespace {

template <size_t capacity>
void copy(char (&target)[capacity], const char* text) {
  copy_text(target, capacity, text);
}

}  // namespace

SMPO_EXPORT smpo_status smpo_abi_version(uint32_t* version, smpo_error* error) {
  return guarded(__func__, error, [&] {
    require_pointer(version, "version");
    *version = SMPO_ABI_VERSION;
  });
}

SMPO_EXPORT smpo_status smpo_abi_header_sha256(char* text, uint32_t capacity, smpo_error* error) {
  return guarded(__func__, error, [&] {
    constexpr char kDigest[] = SMPO_HEADER_SHA256;
    static_assert(sizeof kDigest == 65);
    require_pointer(text, "text");
    if (capacity < sizeof kDigest) {
      smpo::engine::fail(SMPO_INVALID_ARGUMENT, "capacity: expected at least ", sizeof kDigest, ", got ", capacity);
    }
    copy_text(text, capacity, kDigest);
  });
}

SMPO_EXPORT smpo_status smpo_library_describe(smpo_library_info* info, smpo_error* error) {
  return guarded(__func__, error, [&] {
    require_struct(info, "info");
    const smpo::c_api::BuildInfo build = smpo::c_api::build_info();
    smpo_library_info result{};
    result.size = sizeof result;
    result.abi_version = SMPO_ABI_VERSION;
    copy(result.version, build.version);
    copy(result.commit, build.commit);
    copy(result.build_type, build.build_type);
    copy(result.compiler, build.compiler);
    copy(result.libtorch, smpo::engine::torch_version().c_str());
    copy(result.cuda_compiled, build.cuda);
    copy(result.cuda_targets, build.cuda_targets);
    *info = result;
  });
}

SMPO_EXPORT smpo_status smpo_cpu_describe(smpo_cpu_info* info, smpo_error* error) {
  return guarded(__func__, error, [&] {
    require_struct(info, "info");
    const smpo::engine::CpuInfo cpu = smpo::engine::CpuInfo::of_this_process();
    smpo_cpu_info result{};
    result.size = sizeof result;
    result.features = cpu.features;
    result.logical_cores = cpu.logical_cores;
    result.physical_cores = cpu.physical_cores;
    result.total_memory = cpu.total_memory;
    result.available_memory = cpu.available_memory;
    copy(result.model, cpu.model.c_str());
    *info = result;
  });
}

SMPO_EXPORT smpo_status smpo_cuda_describe(smpo_cuda_info* info, smpo_error* error) {
  return guarded(__func__, error, [&] {
    require_struct(info, "info");
    const smpo::engine::CudaInfo cuda = smpo::engine::CudaInfo::of_this_machine();
    smpo_cuda_info result{};
    result.size = sizeof result;
    result.compiled = cuda.compiled ? 1 : 0;
    result.device_count = cuda.device_count;
    result.driver_version = cuda.driver_version;
    result.runtime_version = cuda.runtime_version;
    copy(result.problem, cuda.problem.c_str());
    *info = result;
  });
}

SMPO_EXPORT smpo_status smpo_cuda_device_describe(int32_t index, smpo_cuda_device_info* info, smpo_error* error) {
  return guarded(__func__, error, [&] {
    require_struct(info, "info");
    const smpo::engine::CudaDeviceInfo device = smpo::engine::CudaDeviceInfo::of(index);
    smpo_cuda_device_info result{};
    result.size = sizeof result;
    result.index = index;
    result.compute_major = device.compute_major;
    result.compute_minor = device.compute_minor;
    result.multiprocessors = device.multiprocessors;
    result.total_memory = device.total_memory;
    result.free_memory = device.free_memory;
    copy(result.name, device.name.c_str());
    *info = result;
  });
}
