// A model that calls a kernel past the tape. Must not compile.
#include "kernels/types.h"
