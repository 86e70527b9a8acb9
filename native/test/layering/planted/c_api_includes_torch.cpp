// A C API function that includes LibTorch. Must not compile.
#include <c10/util/Exception.h>
