// A C API function that calls a kernel without the engine. Must not compile.
#include "kernels/types.h"
