/* See CMakeLists.txt: smpo_abi_version and one function that no header declares. */
#include "smpo.h"

__attribute__((visibility("default"))) smpo_status smpo_abi_version(uint32_t* version, smpo_error* error) {
  (void)error;
  *version = SMPO_ABI_VERSION;
  return SMPO_OK;
}

__attribute__((visibility("default"))) int smpo_undeclared(void);
int smpo_undeclared(void) { return 0; }
