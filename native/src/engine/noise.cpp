#include "engine/noise.h"

#if __has_include("kernels/philox_normal.h")
#include "kernels/philox_normal.h"
#else
#include "engine/error.h"
#endif

namespace smpo::engine {

void draw_normal(const NormalDraw& draw) {
#if __has_include("kernels/philox_normal.h")
  kernels::cpu::philox_normal({.out = draw.out,
                               .rows = draw.rows,
                               .elements = draw.elements,
                               .seed = draw.seed,
                               .purpose = draw.purpose,
                               .step = draw.step,
                               .items = draw.items});
#else
  fail(SMPO_UNSUPPORTED, "tensor: this build lacks the kernel family philox_normal for ", draw.rows, " rows");
#endif
}

}  // namespace smpo::engine
