// The stream parameter of a family's CUDA functions, declared without a CUDA header, so that a family's one header
// serves builds with and without CUDA.
#ifndef SMPO_KERNELS_CUDA_STREAM_H_
#define SMPO_KERNELS_CUDA_STREAM_H_

struct CUstream_st;

namespace smpo::kernels::cuda {

/// The same type as cudaStream_t. Work is queued on it; no kernel function waits for it.
using Stream = CUstream_st*;

}  // namespace smpo::kernels::cuda

#endif  // SMPO_KERNELS_CUDA_STREAM_H_
