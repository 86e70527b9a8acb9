#include "smpo.h"

extern "C" __attribute__((visibility("default"))) smpo_status smpo_abi_version(uint32_t* version, smpo_error*) {
  *version = SMPO_ABI_VERSION;
  return SMPO_OK;
}
