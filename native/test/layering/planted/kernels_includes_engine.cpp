// A kernel that reaches up into the engine. Must not compile.
#include "engine/session.h"
