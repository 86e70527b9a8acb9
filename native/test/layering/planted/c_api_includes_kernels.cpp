// A border function that calls a kernel past the engine. Must not compile.
#include "kernels/types.h"
