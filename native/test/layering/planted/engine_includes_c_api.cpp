// An engine that reaches up into the border. Must not compile.
#include "c_api/guard.h"
