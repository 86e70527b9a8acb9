// A model that calls a kernel without the tape. Must not compile.
#include "kernels/types.h"
