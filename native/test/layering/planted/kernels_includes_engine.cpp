// A kernel that includes the engine. Must not compile.
#include "engine/session.h"
