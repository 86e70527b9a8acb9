// A border function that sees LibTorch. Must not compile.
#include <c10/util/Exception.h>
