// An engine that includes the C API. Must not compile.
#include "c_api/guard.h"
