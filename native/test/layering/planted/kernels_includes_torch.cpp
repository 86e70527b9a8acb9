// A kernel that sees LibTorch. Must not compile.
#include <ATen/ATen.h>
