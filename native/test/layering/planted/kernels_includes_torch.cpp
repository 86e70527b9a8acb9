// A kernel that includes LibTorch. Must not compile.
#include <ATen/ATen.h>
