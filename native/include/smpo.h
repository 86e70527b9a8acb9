/*
 * smpo.h: the interface of the smpo engine (C++, LibTorch, CUDA). The only public header; C11.
 *
 * Rules that hold for every function:
 *  - It returns an smpo_status and takes a caller-owned smpo_error as its last argument. The error may be NULL. On
 *    success the error is left untouched.
 *  - No C++ exception escapes, and no caller mistake ends the process.
 *  - Structs are passed by pointer; the caller sets their first field, `size`, to sizeof. A wrong size is
 *    SMPO_INVALID_ARGUMENT, and nothing is written.
 *  - The caller owns host memory and the library owns device memory. No host pointer is kept after return.
 *  - A handle is a checked 64-bit number (kind, generation, slot). A handle that is null, closed, of another kind or of
 *    another session is SMPO_INVALID_HANDLE, never a crash. Out-parameters are written only on success.
 *  - A session belongs to the thread that opened it; a call from another thread is SMPO_WRONG_THREAD. The one
 *    exception is smpo_session_cancel. Functions without a session may be called from any thread.
 *  - No callbacks.
 *  - The process may end while calls run, except during the first call of a function: when exit() begins, all sessions
 *    are cancelled, later calls are refused with SMPO_CANCELLED, and exit() continues once no call is running. After
 *    two seconds the process ends at once, with the same status and without destructors.
 *  - Strings are UTF-8 and end with a zero byte; a string that does not fit is truncated.
 */
#ifndef SMPO_H_
#define SMPO_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status and error ------------------------------------------------------------------------------------------- */

typedef int32_t smpo_status;
enum {
  SMPO_OK = 0,
  SMPO_INVALID_ARGUMENT = 1,  /* null pointer, wrong struct size, or a value outside its documented range */
  SMPO_SHAPE_MISMATCH = 2,    /* shape or byte count differs from what the operation needs */
  SMPO_DTYPE_MISMATCH = 3,    /* element type differs from what the operation needs */
  SMPO_INVALID_HANDLE = 4,    /* null, closed, of another kind, or of another session */
  SMPO_WRONG_THREAD = 5,      /* called from a thread that does not own the session */
  SMPO_UNSUPPORTED = 6,       /* well-formed, but this build or this machine cannot do it */
  SMPO_OUT_OF_MEMORY = 7,     /* host or device memory; the session stays usable */
  SMPO_DEVICE_FAULT = 8,      /* a device error that poisons the session; error.detail holds the backend's code */
  SMPO_SESSION_POISONED = 9,  /* an earlier SMPO_DEVICE_FAULT made the session unusable; carries the first message */
  SMPO_CANCELLED = 10,        /* smpo_session_cancel was called; do not use the outputs of the operation */
  SMPO_NON_FINITE = 11,       /* a value that must be finite is not */
  SMPO_INTERNAL = 12,         /* a bug in the engine; please report the message */
  SMPO_PEER_LOST = 13         /* another process of the group has ended or missed the timeout */
};

typedef struct smpo_error {
  uint32_t size;
  smpo_status code;
  int64_t detail;     /* backend code such as a cudaError_t, else 0 */
  char message[1008]; /* "function: argument: expected ..., got ..." */
} smpo_error;         /* 1024 bytes */

/* ---- library and machine ---------------------------------------------------------------------------------------- */

enum { SMPO_ABI_VERSION = 1 };

typedef struct smpo_library_info {
  uint32_t size;
  uint32_t abi_version;
  char version[32];        /* "0.1.0" */
  char commit[64];         /* git commit of the sources, with "-dirty" if they had changes; "unknown" without git */
  char build_type[32];     /* "RelWithDebInfo" */
  char compiler[64];       /* "GNU 12.2.0" */
  char libtorch[64];       /* version of the LibTorch that was loaded */
  char cuda_compiled[32];  /* "13.0", or empty when built without CUDA */
  char cuda_targets[64];   /* "sm_80 sm_90a compute_90", or empty */
} smpo_library_info;

/* Bits of smpo_cpu_info.features: what the CPU can do and the operating system allows. */
enum {
  SMPO_CPU_AVX2 = 1,
  SMPO_CPU_FMA = 2,
  SMPO_CPU_AVX512F = 4,
  SMPO_CPU_AVX512_BF16 = 8,
  SMPO_CPU_AMX_BF16 = 16
};

typedef struct smpo_cpu_info {
  uint32_t size;
  uint32_t features;
  int32_t logical_cores;  /* usable by this process */
  int32_t physical_cores; /* at least 1 */
  uint64_t total_memory;     /* bytes; a container's limit where there is one */
  uint64_t available_memory; /* bytes */
  char model[96];
} smpo_cpu_info;

typedef struct smpo_cuda_info {
  uint32_t size;
  int32_t compiled;        /* 1 when this library has CUDA code */
  int32_t device_count;    /* 0 if none can be used */
  int32_t driver_version;  /* 13000 for 13.0; 0 if there is no driver */
  int32_t runtime_version; /* 13000 for 13.0 */
  char problem[252];       /* why device_count is 0; empty otherwise */
} smpo_cuda_info;

typedef struct smpo_cuda_device_info {
  uint32_t size;
  int32_t index;
  int32_t compute_major;
  int32_t compute_minor;
  int32_t multiprocessors;
  int32_t reserved;
  uint64_t total_memory; /* bytes */
  uint64_t free_memory;  /* bytes */
  char name[96];
} smpo_cuda_device_info;

smpo_status smpo_abi_version(uint32_t *version, smpo_error *error);

/* Writes the SHA-256 of the header that the library was built with: 64 lower-case hex digits and a zero byte.
 * capacity >= 65. */
smpo_status smpo_abi_header_sha256(char *text, uint32_t capacity, smpo_error *error);

smpo_status smpo_library_describe(smpo_library_info *info, smpo_error *error);
smpo_status smpo_cpu_describe(smpo_cpu_info *info, smpo_error *error);
smpo_status smpo_cuda_describe(smpo_cuda_info *info, smpo_error *error);

/* SMPO_INVALID_ARGUMENT if index is not in [0, device_count). */
smpo_status smpo_cuda_device_describe(int32_t index, smpo_cuda_device_info *info, smpo_error *error);

/* ---- session ---------------------------------------------------------------------------------------------------- */

typedef uint64_t smpo_session; /* 0 is never a valid handle */

enum { SMPO_DEVICE_CPU = 0, SMPO_DEVICE_CUDA = 1 };

enum { SMPO_LOG_DEBUG = 0, SMPO_LOG_INFO = 1, SMPO_LOG_WARNING = 2, SMPO_LOG_ERROR = 3 };

typedef struct smpo_session_config {
  uint32_t size;
  int32_t device_type;   /* SMPO_DEVICE_* */
  int32_t device_index;  /* 0 for the CPU */
  int32_t threads;       /* CPU threads per operation, 1..1024; 0: one per physical core */
  uint64_t seed;         /* seed of all random numbers of the session */
  int32_t deterministic; /* 1: equal inputs give equal bits on one machine; 0: faster kernels may be used */
  int32_t log_level;     /* SMPO_LOG_*: lowest level that is kept */
  uint32_t log_capacity; /* number of records kept between two drains, 1..65536; the oldest are dropped and
                            counted */
  uint32_t reserved;     /* 0 */
} smpo_session_config;

typedef struct smpo_session_statistics {
  uint32_t size;
  uint32_t open_tensors;
  uint64_t calls;                  /* on this session, including this one */
  uint64_t failed_calls;
  uint64_t log_records_dropped;
  uint64_t host_bytes_in_use;      /* CPU tensors, whole process */
  uint64_t host_bytes_peak;        /* peak of host_bytes_in_use, whole process */
  uint64_t host_bytes_pooled;      /* held by the pool for reuse, whole process */
  uint64_t device_bytes_in_use;    /* this session's device; 0 on the CPU */
  uint64_t device_bytes_peak;
  uint64_t device_bytes_reserved;
  uint64_t device_synchronizations; /* how often the host has waited for the device */
} smpo_session_statistics;

typedef struct smpo_log_record {
  uint32_t size;
  int32_t level;          /* SMPO_LOG_* */
  int64_t unix_nanos;
  char message[240];
} smpo_log_record; /* 256 bytes */

/* Opens a session that the calling thread owns. SMPO_UNSUPPORTED, with the reason, if the device cannot be used. */
smpo_status smpo_session_open(const smpo_session_config *config, smpo_session *session, smpo_error *error);

/* Closes the session and every handle that belongs to it. Works on a poisoned session. */
smpo_status smpo_session_close(smpo_session session, smpo_error *error);

/* Requests cancellation. May be called from any thread and returns at once. The operation in flight, or else the next
 * one that can be cancelled, stops at its next safe point and returns SMPO_CANCELLED, which consumes the request.
 * Operations that can be cancelled are documented as such; an optimizer step cannot be. A cancelled operation writes no
 * out-parameter and can be called again. */
smpo_status smpo_session_cancel(smpo_session session, smpo_error *error);

/* Waits until all queued device work is done. A no-op on the CPU. */
smpo_status smpo_session_synchronize(smpo_session session, smpo_error *error);

/* Returns memory that the pools hold for reuse to the operating system or the device. */
smpo_status smpo_session_trim(smpo_session session, smpo_error *error);

smpo_status smpo_session_describe(smpo_session session, smpo_session_statistics *statistics, smpo_error *error);

/* Moves up to `capacity` log records, oldest first, into records[0..count). Set the size field of each record. */
smpo_status smpo_session_drain_log(smpo_session session, smpo_log_record *records, uint32_t capacity, uint32_t *count,
                                   smpo_error *error);

/* Exceptions that smpo_debug_raise throws inside the engine, so that tests of bindings can check what a caller gets. */
enum {
  SMPO_RAISE_NOTHING = 0,           /* SMPO_OK */
  SMPO_RAISE_ENGINE_ERROR = 1,      /* the engine's own exception with the status given in `status` */
  SMPO_RAISE_INVALID_ARGUMENT = 2,  /* std::invalid_argument -> SMPO_INVALID_ARGUMENT */
  SMPO_RAISE_BAD_ALLOC = 3,         /* std::bad_alloc -> SMPO_OUT_OF_MEMORY */
  SMPO_RAISE_RUNTIME_ERROR = 4,     /* std::runtime_error -> SMPO_INTERNAL */
  SMPO_RAISE_TORCH_ERROR = 5,       /* c10::Error -> SMPO_INTERNAL */
  SMPO_RAISE_TORCH_OUT_OF_MEMORY = 6, /* c10::OutOfMemoryError -> SMPO_OUT_OF_MEMORY */
  SMPO_RAISE_FOREIGN = 7,           /* not a std::exception -> SMPO_INTERNAL */
  SMPO_RAISE_DEVICE_FAULT = 8       /* a sticky device error -> SMPO_DEVICE_FAULT, and the session is poisoned */
};

/* For tests of bindings: raises the given kind inside the engine. `status` is used by SMPO_RAISE_ENGINE_ERROR only. */
smpo_status smpo_debug_raise(smpo_session session, int32_t kind, smpo_status status, smpo_error *error);

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

typedef uint64_t smpo_tensor; /* 0 is never a valid handle */

enum { SMPO_F32 = 1, SMPO_BF16 = 2, SMPO_F16 = 3, SMPO_I32 = 4, SMPO_I64 = 5 };

enum { SMPO_MAX_RANK = 8 };

typedef struct smpo_tensor_spec {
  uint32_t size;
  int32_t dtype;    /* SMPO_F32.. */
  int32_t rank;     /* 0 (a scalar) .. SMPO_MAX_RANK */
  int32_t reserved; /* 0 */
  int64_t shape[8]; /* each >= 0; entries from rank on are 0 */
} smpo_tensor_spec;

/* Creates a tensor on the session's device, filled with zeros, row-major. */
smpo_status smpo_tensor_zeros(smpo_session session, const smpo_tensor_spec *spec, smpo_tensor *tensor,
                              smpo_error *error);

/* Creates a tensor with a copy of the `bytes` bytes at `data`, row-major and little-endian. `bytes` must be the spec's
 * size. */
smpo_status smpo_tensor_from_host(smpo_session session, const smpo_tensor_spec *spec, const void *data, uint64_t bytes,
                                  smpo_tensor *tensor, smpo_error *error);

/* Copies the tensor to `data`. The spec must have the tensor's dtype and shape, and `bytes` must be its size. */
smpo_status smpo_tensor_to_host(smpo_session session, smpo_tensor tensor, const smpo_tensor_spec *spec, void *data,
                                uint64_t bytes, smpo_error *error);

/* Writes dtype, rank and shape. */
smpo_status smpo_tensor_describe(smpo_session session, smpo_tensor tensor, smpo_tensor_spec *spec, smpo_error *error);

/* Creates a tensor with the values converted to dtype. Floating types are rounded to nearest even; integers are
 * converted exactly if they fit. Between floating and integer types: SMPO_UNSUPPORTED. */
smpo_status smpo_tensor_convert(smpo_session session, smpo_tensor tensor, int32_t dtype, smpo_tensor *converted,
                                smpo_error *error);

/* Fills a floating tensor with standard normal numbers. Row r (first dimension) is a pure function of (session seed,
 * purpose, step, items[r], position in the row): it does not depend on batch, device or threads.
 * `count` must be the first dimension; items lie in [0, 2^56), purpose in [0, 256). Can be cancelled between rows. */
smpo_status smpo_tensor_fill_normal(smpo_session session, smpo_tensor tensor, uint32_t purpose, uint32_t step,
                                    const int64_t *items, uint64_t count, smpo_error *error);

smpo_status smpo_tensor_close(smpo_session session, smpo_tensor tensor, smpo_error *error);

/* ---- models ----------------------------------------------------------------------------------------------------- */

typedef uint64_t smpo_model; /* a network with its weights; 0 is never a valid handle */

enum { SMPO_MODEL_UNET = 1, SMPO_MODEL_VAE = 2, SMPO_MODEL_CLIP_TEXT = 3, SMPO_MODEL_CLIP_VISION = 4, SMPO_MODEL_BERT = 5 };

enum { SMPO_MAX_LEVELS = 8, SMPO_MAX_LORA_MODULES = 65536 };

typedef struct smpo_model_options {
  uint32_t size;
  int32_t precision;     /* dtype of activations and of weights in computations: SMPO_F32 or SMPO_BF16 */
  int32_t trainable;     /* 1: f32 gradients for every parameter, and f32 master copies of bf16 weights */
  int32_t checkpointing; /* 1: backward recomputes each layer instead of keeping its activations; same bits.
                            UNets only; SMPO_UNSUPPORTED for other models */
} smpo_model_options;

/* UNet2DConditionModel as in diffusers' config.json. Arrays are indexed by level, finest (first down block) first,
 * except up_attention, which is in the order of up_block_types; entries from `levels` on are 0. */
typedef struct smpo_unet_spec {
  uint32_t size;
  int32_t in_channels;
  int32_t out_channels;
  int32_t levels;                 /* 1..SMPO_MAX_LEVELS */
  int32_t block_out_channels[8];
  int32_t down_attention[8];      /* 1: CrossAttnDownBlock2D, 0: DownBlock2D */
  int32_t up_attention[8];        /* 1: CrossAttnUpBlock2D, 0: UpBlock2D */
  int32_t layers_per_block[8];
  int32_t transformer_layers[8];  /* transformer_layers_per_block */
  int32_t attention_heads[8];     /* number of heads, which configs call attention_head_dim */
  int32_t cross_attention_dim;
  int32_t use_linear_projection;
  int32_t norm_num_groups;
  int32_t flip_sin_to_cos;
  int32_t addition_time_embed_dim; /* 0: no addition embedding; else text_time */
  int32_t projection_class_embeddings_input_dim;
  double norm_eps;
  double freq_shift;
} smpo_unet_spec; /* 248 bytes */

typedef struct smpo_model_info {
  uint32_t size;
  int32_t kind;      /* SMPO_MODEL_* */
  int32_t precision; /* SMPO_F32 or SMPO_BF16 */
  int32_t trainable;
  uint32_t parameter_count; /* including those of adapters */
  uint32_t written_count;
  uint64_t elements; /* number of elements of all parameters */
  uint64_t bytes;    /* size of weights, masters and gradients */
} smpo_model_info;

typedef struct smpo_parameter_info {
  uint32_t size;
  int32_t dtype; /* dtype that smpo_model_read_parameter reads without rounding */
  int32_t rank;
  int32_t trainable;
  int64_t shape[8];
  int32_t written;
  int32_t reserved;
  char name[192]; /* as in a diffusers checkpoint; an adapter's: MODULE.lora_A.weight, MODULE.lora_B.weight */
} smpo_parameter_info; /* 280 bytes */

typedef struct smpo_lora_spec {
  uint32_t size;
  int32_t rank;          /* 1.. */
  double alpha;          /* y += scale * alpha / rank * B(A(x)) */
  uint32_t module_count; /* 1..SMPO_MAX_LORA_MODULES */
  uint32_t reserved;     /* 0 */
  const char *const *modules; /* names of linear and convolution layers */
} smpo_lora_spec;

typedef struct smpo_unet_inputs {
  uint32_t size;
  int32_t sample_only;               /* 1: a backward pass computes no gradient of a parameter; else 0 */
  smpo_tensor sample;                /* [B,in_channels,h,w], any h and w */
  smpo_tensor timesteps;             /* [B] f32: any numbers, including fractions and negative ones */
  smpo_tensor encoder_hidden_states; /* [B,S,cross_attention_dim] */
  smpo_tensor text_embeds;           /* [B,E] with text_time, else 0 */
  smpo_tensor time_ids;              /* [B,K] f32 with text_time, else 0 */
} smpo_unet_inputs;

/* Opens a UNet without weights: the caller writes every parameter. SMPO_INVALID_ARGUMENT names the wrong field. */
smpo_status smpo_unet_open(smpo_session session, const smpo_unet_spec *spec, const smpo_model_options *options,
                           smpo_model *model, smpo_error *error);

smpo_status smpo_model_describe(smpo_session session, smpo_model model, smpo_model_info *info, smpo_error *error);

/* Describes parameter `index` in 0..parameter_count-1: the model's own come first, then those of its adapters. */
smpo_status smpo_model_parameter(smpo_session session, smpo_model model, uint32_t index, smpo_parameter_info *info,
                                 smpo_error *error);

/* Writes a parameter from row-major host data of any floating dtype, rounded to nearest even. On SMPO_INVALID_ARGUMENT
 * (unknown name), SMPO_SHAPE_MISMATCH and SMPO_NON_FINITE (with the index of the first such value) nothing changes. */
smpo_status smpo_model_write_parameter(smpo_session session, smpo_model model, const char *name,
                                       const smpo_tensor_spec *spec, const void *data, uint64_t bytes,
                                       smpo_error *error);

/* Copies a parameter, row-major, to host memory of any floating dtype. The spec must have its shape. */
smpo_status smpo_model_read_parameter(smpo_session session, smpo_model model, const char *name,
                                      const smpo_tensor_spec *spec, void *data, uint64_t bytes, smpo_error *error);

/* Copies the sum of a parameter's gradients since they were last zeroed. SMPO_INVALID_ARGUMENT if the parameter is not
 * trained. */
smpo_status smpo_model_read_gradient(smpo_session session, smpo_model model, const char *name,
                                     const smpo_tensor_spec *spec, void *data, uint64_t bytes, smpo_error *error);

smpo_status smpo_model_zero_gradients(smpo_session session, smpo_model model, smpo_error *error);

/* Adds low-rank adapters to layers of a model that is not trainable: the adapters train, the model stays frozen. The
 * caller writes every A; every B is zero. A model has one set of adapters at a time. */
smpo_status smpo_model_add_lora(smpo_session session, smpo_model model, const smpo_lora_spec *spec, smpo_error *error);

/* Sets the scale of the adapters, initially 1. With 0 the same handle computes the model without adapters. */
smpo_status smpo_model_set_lora_scale(smpo_session session, smpo_model model, double scale, smpo_error *error);

/* Adds weight * alpha / rank * B A to the model's weights and removes the adapters. */
smpo_status smpo_model_merge_lora(smpo_session session, smpo_model model, double weight, smpo_error *error);

smpo_status smpo_model_close(smpo_session session, smpo_model model, smpo_error *error);

/* Predicts `output` [B,out_channels,h,w], f32. Inputs have any floating dtype; timesteps and time_ids are f32. Can be
 * cancelled before the evaluation. */
smpo_status smpo_unet_forward(smpo_session session, smpo_model model, const smpo_unet_inputs *inputs,
                              smpo_tensor *output, smpo_error *error);

/* Runs forward, then backward of sum(output * cotangent), and adds to the gradients of the trained parameters.
 * `cotangent` has the output's shape. `d_sample` is the gradient with respect to the sample, f32; NULL if not wanted.
 * With inputs.sample_only, gradients of parameters stay as they are and cost nothing.
 * Can be cancelled before the backward pass begins; gradients are then unchanged. */
smpo_status smpo_unet_backward(smpo_session session, smpo_model model, const smpo_unet_inputs *inputs,
                               smpo_tensor cotangent, smpo_tensor *output, smpo_tensor *d_sample, smpo_error *error);

/* ---- encoders: AutoencoderKL, CLIP, BERT ------------------------------------------------------------------------- */

enum { SMPO_ACTIVATION_GELU = 1, SMPO_ACTIVATION_QUICK_GELU = 2 };

/* AutoencoderKL as in diffusers' config.json; block_out_channels finest first, entries from `levels` on are 0. */
typedef struct smpo_vae_spec {
  uint32_t size;
  int32_t in_channels;
  int32_t out_channels;
  int32_t latent_channels;
  int32_t levels; /* 1..SMPO_MAX_LEVELS; a latent covers 2^(levels-1) pixels along each side */
  int32_t block_out_channels[8];
  int32_t layers_per_block;
  int32_t norm_num_groups;
  int32_t use_quant_conv;
  int32_t use_post_quant_conv;
  int32_t mid_block_attention; /* mid_block_add_attention */
} smpo_vae_spec;               /* 72 bytes */

/* CLIPTextModel or CLIPTextModelWithProjection as in transformers' config.json. */
typedef struct smpo_clip_text_spec {
  uint32_t size;
  int32_t vocab_size;
  int32_t max_position_embeddings;
  int32_t hidden_size;
  int32_t intermediate_size;
  int32_t attention_heads;
  int32_t layers;
  int32_t activation;     /* SMPO_ACTIVATION_* */
  int32_t projection_dim; /* 0: no projection */
  int32_t eos_token_id;   /* the pooled token is the first with this id; 2 (old configs): the one with the
                             largest id */
  double layer_norm_eps;
} smpo_clip_text_spec; /* 48 bytes */

/* CLIPVisionModelWithProjection as in transformers' config.json. The last three fields are 0, 1, 0 for CLIP and 1, 0, 1
 * for the vision transformer of BLIP. */
typedef struct smpo_clip_vision_spec {
  uint32_t size;
  int32_t image_size;
  int32_t patch_size;
  int32_t channels;
  int32_t hidden_size;
  int32_t intermediate_size;
  int32_t attention_heads;
  int32_t layers;
  int32_t activation;     /* SMPO_ACTIVATION_* */
  int32_t projection_dim; /* 0: no projection */
  double layer_norm_eps;
  int32_t patch_bias; /* 1: the convolution that embeds patches has a bias */
  int32_t pre_norm;   /* 1: a norm before the first layer */
  int32_t all_tokens; /* 1: the output has all tokens instead of the class token; projection_dim is 0 */
  int32_t reserved;   /* 0 */
} smpo_clip_vision_spec; /* 64 bytes */

/* The text half of BLIP's image-grounded encoder as in its med_config.json: BERT without token types and pooler, in
 * which every layer also attends to the states of an image. */
typedef struct smpo_bert_spec {
  uint32_t size;
  int32_t vocab_size;
  int32_t max_position_embeddings;
  int32_t hidden_size;
  int32_t intermediate_size;
  int32_t attention_heads;
  int32_t layers;
  int32_t encoder_width; /* width of the states that layers attend to */
  double layer_norm_eps;
} smpo_bert_spec; /* 40 bytes */

/* Open models without weights: the caller writes every parameter. SMPO_INVALID_ARGUMENT names the wrong field. */
smpo_status smpo_vae_open(smpo_session session, const smpo_vae_spec *spec, const smpo_model_options *options,
                          smpo_model *model, smpo_error *error);
smpo_status smpo_clip_text_open(smpo_session session, const smpo_clip_text_spec *spec,
                                const smpo_model_options *options, smpo_model *model, smpo_error *error);
smpo_status smpo_clip_vision_open(smpo_session session, const smpo_clip_vision_spec *spec,
                                  const smpo_model_options *options, smpo_model *model, smpo_error *error);
smpo_status smpo_bert_open(smpo_session session, const smpo_bert_spec *spec, const smpo_model_options *options,
                           smpo_model *model, smpo_error *error);

/* Encodes pixels [B,in_channels,H,W] of any floating dtype, in [-1,1], to their posterior: mean and log variance, the
 * latter within [-30,20], each [B,latent_channels,h,w] f32 with h = H / 2^(levels-1) rounded down. `tile`: 0
 * encodes the whole image at once; otherwise the side of a tile in pixels, a multiple of 4 * 2^(levels-1). Tiles
 * overlap by a quarter and are blended, as in diffusers with tile = sample_size of the config. Can be cancelled at the
 * start and between tiles. */
smpo_status smpo_vae_encode(smpo_session session, smpo_model model, smpo_tensor pixels, int32_t tile,
                            smpo_tensor *mean, smpo_tensor *logvar, smpo_error *error);

/* Decodes latents [B,latent_channels,h,w] of any floating dtype, not scaled, to pixels [B,out_channels,H,W] f32.
 * `tile`: as in smpo_vae_encode, in pixels. Can be cancelled at the start and between tiles. */
smpo_status smpo_vae_decode(smpo_session session, smpo_model model, smpo_tensor latents, int32_t tile,
                            smpo_tensor *pixels, smpo_error *error);

/* `hidden`: [B,S,hidden_size] f32, the output of layer `layers - skip`, with the final norm if `final_norm` is 1.
 * `pooled`: [B,projection_dim] (without projection [B,hidden_size]) f32, taken at the end token after the last layer
 * and the final norm, regardless of skip; NULL if not wanted. `ids`: [B,S] i32 or i64. Can be cancelled at the
 * start. */
smpo_status smpo_clip_text_encode(smpo_session session, smpo_model model, smpo_tensor ids, int32_t skip,
                                  int32_t final_norm, smpo_tensor *hidden, smpo_tensor *pooled, smpo_error *error);

/* `embeds`: [B,projection_dim] (without projection [B,hidden_size], with all_tokens [B,tokens,hidden_size]) f32, not
 * normalized; tokens = 1 + (image_size / patch_size)^2. `pixel_values`: [B,channels,image_size,image_size] of any
 * floating dtype. Can be cancelled at the start. */
smpo_status smpo_clip_vision_encode(smpo_session session, smpo_model model, smpo_tensor pixel_values,
                                    smpo_tensor *embeds, smpo_error *error);

/* `first`: [B,hidden_size] f32, the state of each row's first token after the last layer. `ids`: [B,S] i32 or i64
 * without padding: rows of one length. `encoder_states`: [B,T,encoder_width] of any floating dtype. Can be cancelled at
 * the start. */
smpo_status smpo_bert_encode(smpo_session session, smpo_model model, smpo_tensor ids, smpo_tensor encoder_states,
                             smpo_tensor *first, smpo_error *error);

/* ---- gradients of a score by pixels and latents ------------------------------------------------------------------ */

enum { SMPO_FILTER_BILINEAR = 1, SMPO_FILTER_BICUBIC = 2 }; /* bicubic with a = -1/2; both antialiased */

/* The preprocessing of images for a vision encoder, in float. Pixels in [-1,1] become p = clamp((pixel + 1) / 2, 0, 1),
 * which is resized, placed in the result, where the rest is 0, and normalized: (p - mean) / std. */
typedef struct smpo_pixel_spec {
  uint32_t size;
  int32_t filter; /* SMPO_FILTER_* */
  int32_t resized_height;
  int32_t resized_width;
  int32_t height; /* of the result */
  int32_t width;
  int32_t top; /* row and column of the result at which the resized image begins; negative: what is before is cut off */
  int32_t left;
  double mean[3];
  double std[3]; /* above 0 */
} smpo_pixel_spec; /* 80 bytes */

/* `values`: [B,3,height,width] f32 of pixels [B,3,H,W] of any floating dtype. Can be cancelled at the start. */
smpo_status smpo_pixel_values(smpo_session session, smpo_tensor pixels, const smpo_pixel_spec *spec,
                              smpo_tensor *values, smpo_error *error);

/* `d_pixels`: [B,3,H,W] f32, the gradient of sum(values * d_values); 0 where a pixel is beyond [-1,1]. Can be cancelled
 * at the start. */
smpo_status smpo_pixel_values_backward(smpo_session session, smpo_tensor pixels, const smpo_pixel_spec *spec,
                                       smpo_tensor d_values, smpo_tensor *d_pixels, smpo_error *error);

/* `d_pixel_values`: f32, the gradient of sum(embeds * cotangent) for the embeds of smpo_clip_vision_encode, whose shape
 * the cotangent has. Gradients of parameters stay as they are. Can be cancelled at the start. */
smpo_status smpo_clip_vision_backward(smpo_session session, smpo_model model, smpo_tensor pixel_values,
                                      smpo_tensor cotangent, smpo_tensor *d_pixel_values, smpo_error *error);

/* `d_latents`: f32, the gradient of sum(pixels * cotangent) for the pixels of smpo_vae_decode of the whole image, whose
 * shape the cotangent has. `checkpointing` 1: layers are computed again instead of keeping their activations; same
 * bits. Gradients of parameters stay as they are. Can be cancelled at the start. */
smpo_status smpo_vae_decode_backward(smpo_session session, smpo_model model, smpo_tensor latents, int32_t checkpointing,
                                     smpo_tensor cotangent, smpo_tensor *d_latents, smpo_error *error);

/* ---- sampler ---------------------------------------------------------------------------------------------------- */

typedef uint64_t smpo_sampler; /* a sampling run; 0 is never a valid handle */

enum { SMPO_SAMPLER_MAX_HISTORY = 4, SMPO_SAMPLER_MAX_STEPS = 100000 };

/* One UNet evaluation of a linear multistep rule over latents x, saved latents s and history h:
 *   out  = UNet(input_scale x, timestep), guided
 *   h[0] = history_sample x + history_output out          (earlier entries move to h[1], h[2], h[3])
 *   x'   = sample x + saved s + sum over j of history[j] h[j] + noise N(0,1)
 *   if saves: s = x;  if not keeps: h[0] is removed from the history again;  so are h[1] .. h[drops];  then x = x' */
typedef struct smpo_sampler_row {
  uint32_t size;
  int32_t saves;
  int32_t keeps;
  int32_t drops; /* 0..3, of entries that exist */
  double timestep;
  double input_scale;
  double history_sample;
  double history_output;
  double sample;
  double saved; /* 0 before a row that saves */
  double noise;
  double history[4]; /* 0 for entries that do not exist yet */
} smpo_sampler_row; /* 104 bytes */

typedef struct smpo_sampler_plan {
  uint32_t size;
  uint32_t steps; /* number of rows, 1..SMPO_SAMPLER_MAX_STEPS */
  double initial_noise_scale;
  const smpo_sampler_row *rows;
} smpo_sampler_plan;

typedef struct smpo_sampler_inputs {
  uint32_t size;
  int32_t negative_adapters;     /* 1: the adapters of the model act on the negative prediction only; else 0 */
  double guidance_scale;         /* 1: no guidance, and the negative inputs are 0 */
  double guidance_rescale;       /* 0..1: Lin et al., "Common Diffusion Noise Schedules", section 3.4; 0: off */
  smpo_tensor noise;             /* [B,in_channels,h,w]: standard normal, before initial_noise_scale */
  smpo_tensor encoder_hidden_states;          /* [B,S,D] */
  smpo_tensor text_embeds;                    /* [B,E] with text_time, else 0 */
  smpo_tensor time_ids;                       /* [B,K] f32 with text_time, else 0 */
  smpo_tensor negative_encoder_hidden_states; /* of the same shapes, unless two networks predict */
  smpo_tensor negative_text_embeds;
  smpo_tensor negative_time_ids;
  const int64_t *items; /* B, in [0, 2^56): the item whose noise each row gets; NULL if no row of the plan adds noise */
  smpo_model negative_model; /* predicts the negative side of guidance; 0: the model, both sides in one batch */
} smpo_sampler_inputs; /* 96 bytes */

/* Starts a run. The sampler keeps what it needs: the handles of its models and tensors may be closed. Noise has
 * purpose 8, the row's index as its step, and `items`; see smpo_tensor_fill_normal.
 *
 * Guidance: out = n + guidance_scale (p - n), with the model's prediction p for the prompt and the prediction n for the
 * negative prompt. Two networks predict when `negative_model` is given, which needs the model's in_channels, or when
 * `negative_adapters` is 1: then p is the prediction of the model without its adapters, n that with them, and
 * `negative_model` is 0. Each then evaluates B rows, and its conditions have the shapes that it needs. */
smpo_status smpo_sampler_open(smpo_session session, smpo_model model, const smpo_sampler_plan *plan,
                              const smpo_sampler_inputs *inputs, smpo_sampler *sampler, smpo_error *error);

/* Runs the next `steps` rows, at most as many as are left. Can be cancelled between rows; the sampler can then
 * continue after the last completed row. */
smpo_status smpo_sampler_step(smpo_session session, smpo_sampler sampler, uint32_t steps, smpo_error *error);

/* Creates a tensor with the current latents, [B,in_channels,h,w] f32. */
smpo_status smpo_sampler_latents(smpo_session session, smpo_sampler sampler, smpo_tensor *latents, smpo_error *error);

/* Candidates for the next row: instead of one x', each of the B images gets K of them, which differ in their noise.
 * Row k B + b of a tensor is candidate k of image b. */
typedef struct smpo_sampler_candidates {
  uint32_t size;
  uint32_t candidates;  /* K, 1..SMPO_SAMPLER_MAX_CANDIDATES */
  const int64_t *items; /* K B, in [0, 2^56): the item whose noise each candidate gets */
  double clean_sample;  /* clean latents of a candidate x' are clean_sample x' + clean_output out, with the guided  */
  double clean_output;  /* prediction out of x' that the row after needs; on the last row, they are x' itself */
} smpo_sampler_candidates; /* 32 bytes */

enum { SMPO_SAMPLER_MAX_CANDIDATES = 64 };

/* Makes the candidates of the next row and predicts the row after it for each of them. `clean`: their clean latents,
 * [K B,in_channels,h,w] f32. Until smpo_sampler_select, the sampler's latents are those before the row, and it can do
 * nothing but smpo_sampler_candidate, smpo_sampler_move and smpo_sampler_pairs. Every row of the plan must be of a rule
 * that has one step and scales no input (its saves, saved, drops and history[1..3] are 0, its input_scale is 1), else
 * SMPO_UNSUPPORTED; the next row adds noise and reads its output. Evaluates K batches of B rows, and one more after
 * smpo_sampler_open and smpo_sampler_step. Can be cancelled between evaluations; the sampler is then unchanged. */
smpo_status smpo_sampler_fork(smpo_session session, smpo_sampler sampler, const smpo_sampler_candidates *candidates,
                              smpo_tensor *clean, smpo_error *error);

/* Creates a tensor with one candidate of each image, [B,in_channels,h,w] f32: `which` has B entries. */
smpo_status smpo_sampler_candidate(smpo_session session, smpo_sampler sampler, const int32_t *which,
                                   smpo_tensor *latents, smpo_error *error);

/* Adds a candidate of each image, which is another one moved: which[b], with `which` as in smpo_sampler_candidate, plus
 * row b of `move` [B,in_channels,h,w], f32. K grows by one, to SMPO_SAMPLER_MAX_CANDIDATES at most, and the new candidate
 * has the largest number. `clean`: its clean latents, [B,in_channels,h,w] f32, with the coefficients of the fork.
 * Evaluates one batch of B rows, before which it can be cancelled; the sampler is then unchanged. */
smpo_status smpo_sampler_move(smpo_session session, smpo_sampler sampler, const int32_t *which, smpo_tensor move,
                              smpo_tensor *clean, smpo_error *error);

/* Creates the tensors with which smpo_pair_batch_set trains on choices between candidates. `winner` and `loser` have B
 * entries, candidates of each image; -1 in both leaves the image out. With P images left: `noised` [P,in_channels,h,w]
 * f32, the latents before the row, and `target` [2P,in_channels,h,w] f32, for winners and then losers the output from
 * which the row without noise would lead to the candidate: out + noise / (history[0] history_output) z, where a moved
 * candidate has the z that leads to it. */
smpo_status smpo_sampler_pairs(smpo_session session, smpo_sampler sampler, const int32_t *winner, const int32_t *loser,
                               smpo_tensor *noised, smpo_tensor *target, smpo_error *error);

/* Continues with one candidate of each image: `chosen` has B entries. Its prediction is not computed again. */
smpo_status smpo_sampler_select(smpo_session session, smpo_sampler sampler, const int32_t *chosen, smpo_error *error);

smpo_status smpo_sampler_close(smpo_session session, smpo_sampler sampler, smpo_error *error);

/* ---- preference training: a batch of pairs ----------------------------------------------------------------------- */

typedef uint64_t smpo_pair_batch; /* the pairs of one optimizer step; 0 is never a valid handle */

enum { SMPO_MAX_BATCH_PAIRS = 65536, SMPO_MAX_INVERSION_STEPS = 4096 };

/* W pairs are 2W images: row p is the winner of pair p, row W + p its loser. A batch of single images has W items of one
 * image each; wherever this header then says 2W, read W, and where it says pair, read image. */
typedef struct smpo_pair_batch_inputs {
  uint32_t size;
  uint32_t pairs;            /* W, 1..SMPO_MAX_BATCH_PAIRS */
  uint32_t step;             /* step number for the batch's random numbers */
  int32_t keep_predictions;  /* 1: smpo_pair_batch_tensor also returns predictions */
  smpo_tensor latents;       /* [2W,C,h,w] f32: clean, scaled as the UNet takes them; 0: smpo_pair_batch_set follows */
  smpo_tensor encoder_hidden_states; /* [W,S,D]: the prompt of both images of a pair */
  smpo_tensor text_embeds;   /* [W,E] with text_time, else 0 */
  smpo_tensor time_ids;      /* [2W,K] f32 with text_time, else 0: sizes and crop of each image */
  const int32_t *timesteps;  /* 2W: training timestep of each image, 0..2^24-1 */
  const int64_t *items;      /* 2W: the item whose random numbers each image gets, in [0, 2^44) */
  int32_t single_images;     /* 1: W single images; 0: W pairs */
  int32_t shared_sample;     /* 1: both images of a pair have the same noised latents, timestep, sizes and crop, so that
                                one prediction serves both; latents is 0 and time_ids has one row per pair [W,K] */
  /* Guidance in the loss: policy and reference predict n + guidance_scale (p - n), with the prediction p for the prompt
   * and n for the negative prompt, whose sizes and crop are the prompt's. */
  double guidance_scale;     /* 0: no guidance, and the next two are 0 */
  smpo_tensor negative_encoder_hidden_states; /* [W,S,D] */
  smpo_tensor negative_text_embeds;           /* [W,E] with text_time, else 0 */
} smpo_pair_batch_inputs; /* 96 bytes */

/* x = sample x0 + noise n, target = target_sample x0 + target_noise n, n ~ N(0,1), for each image: 2W numbers each. */
typedef struct smpo_forward_noise {
  uint32_t size;
  int32_t per_image; /* 1: each image has its own noise; 0: both images of a pair share the winner's */
  const double *sample;
  const double *noise;
  const double *target_sample;
  const double *target_noise;
} smpo_forward_noise;

/* DDIM inversion, in which every image has its own list of steps: image r takes steps row_start[r] .. row_start[r+1]-1.
 *   x' = sample x + output e + noise n       e = UNet(x, timestep), or if averages is 1 the mean of that and of
 *                                            UNet(x1, timestep), x1 = sample x + output e, the step's first guess
 *   target = target_sample x + target_clean x0                                           after the image's last step */
typedef struct smpo_inversion_plan {
  uint32_t size;
  uint32_t inversion_batch;  /* number of images in one UNet evaluation, 1..65535; the next image replaces one
                                that is done */
  const int32_t *row_start;  /* 2W + 1, from 0, ascending by at most SMPO_MAX_INVERSION_STEPS */
  const double *timestep;    /* this and the next four arrays have one entry per step */
  const double *sample;
  const double *output;
  const double *noise;
  const uint8_t *averages;
  const double *target_sample; /* 2W */
  const double *target_clean;  /* 2W */
} smpo_inversion_plan;

/* What a rollout has besides the steps of an inversion plan: images that start noised, and a target with the network's
 * last prediction in it. Image r, which takes one step or more, starts at
 *   x = start_sample x0 + start_noise n,    n ~ N(0,1)
 * and has the plan's target plus target_output e + target_noise n', where e and n' are those of its last step. */
typedef struct smpo_rollout {
  uint32_t size;
  uint32_t reserved;                 /* 0 */
  const double *start_sample;        /* this and the next three arrays have 2W entries */
  const double *start_noise;
  const double *target_output;
  const double *target_noise;
  smpo_tensor encoder_hidden_states; /* [1,S,D]: the prompt of all images during the rollout */
  smpo_tensor text_embeds;           /* [1,E] with text_time, else 0 */
} smpo_rollout; /* 56 bytes */

typedef struct smpo_inversion_report {
  uint32_t size;
  uint32_t batches;     /* number of batched UNet evaluations */
  uint64_t evaluations; /* number of evaluations, counted per image */
  double seconds;       /* on the host's clock */
  double unet_seconds;  /* part of `seconds` spent in the UNet; on a GPU, the time to queue its work */
} smpo_inversion_report;

/* The losses of a pair. Each comment lists the parameters of the kind, in the order of smpo_pair_loss.parameters, and
 * then the formula.
 *   l_w, l_l   mean squared errors of the policy on winner and loser; r_w, r_l those of the reference
 *   u          the logit: above 0 where the policy prefers the winner, more than the reference does.
 *              u = -k ((l_w - l_l) - (r_w - r_l)), k = strength * logit_scale, unless the line says otherwise
 *   s, sp      logistic function and softplus: s(u) = 1 / (1 + e^-u), sp(u) = log(1 + e^u) */
enum smpo_pair_loss_kind {
  SMPO_PAIR_LOSS_DPO = 1,  /* sp(-u). Also InPO's loss and TailorPO's */
  SMPO_PAIR_LOSS_SMPO = 2, /* gamma: sp(-u), u times gamma (2 label - 1) */
  SMPO_PAIR_LOSS_NPO = 3,  /* sp(u): winner and loser exchanged */
  SMPO_PAIR_LOSS_DMPO = 4, /* alpha: KL(Bernoulli(s(u)) || Bernoulli(1 - alpha)) */
  SMPO_PAIR_LOSS_IPO = 5,  /* margin: (margin - u)^2 */
  SMPO_PAIR_LOSS_CAPO = 6, /* (label - u)^2 */
  SMPO_PAIR_LOSS_KTO = 7,  /* desirable_weight, undesirable_weight: mean over both images of
                              weight (1 - s(y k (r - l - mean_gain))), y = 1 for the winner, -1 for the loser */
  SMPO_PAIR_LOSS_MAPO = 8, /* scale, temperature, weight: l_w + weight sp(-u), u = temperature (f(l_w) - f(l_l)),
                              f(x) = scale x / (e^(scale x) - 1). No reference */
  SMPO_PAIR_LOSS_SFT = 9,  /* l_w, u = 0. No reference */
  SMPO_PAIR_LOSS_HINGE = 10, /* max(0, 1 - u) */
  SMPO_PAIR_LOSS_ROBUST = 11, /* epsilon: ((1 - epsilon) sp(-u) - epsilon sp(u)) / (1 - 2 epsilon) */
  SMPO_PAIR_LOSS_PSEUDO_HUBER = 12, /* c: single images only; mean of sqrt(q^2 d^2 + c^2) - c, d = prediction - target,
                                      q = error_scale. No reference; the loss is also reported as the error, u = 0 */
  SMPO_PAIR_LOSS_SPO = 13 /* clip: sp(-u), u = strength (c(r_w - l_w) - c(r_l - l_l)), where c(d) is logit_scale d,
                             clamped to [log(1 - clip), log(1 + clip)] */
};

/* Single images: SFT costs q^2 l with q = error_scale, u = 0; KTO costs weight (1 - s(y k (r - l - mean_gain))), y = 1
 * for a desirable image, -1 for another one, and u = k (r - l); PSEUDO_HUBER is as above. Other kinds compare two images
 * and are SMPO_INVALID_ARGUMENT, as are safeguard and budget. */
enum { SMPO_PAIR_LOSS_KINDS = 13, SMPO_MAX_LOSS_PARAMETERS = 8 };

/* A pair loss, with two additions that any kind may carry. Both protect the favoured image: the winner, or NPO's loser.
 *   safeguard  the other image's gradient is multiplied by clamp((1 - safeguard_mu) |g|^2 / (g . g' + 1e-9), 0, 1)
 *              where g . g' > 0; g and g' are the gradients of the favoured and of the other image's error with
 *              respect to its prediction
 *   budget     adds budget_weight max(0, k (l - r) - budget) for the favoured image; kinds with a reference only */
typedef struct smpo_pair_loss {
  uint32_t size;
  int32_t kind;             /* SMPO_PAIR_LOSS_* */
  uint32_t parameter_count; /* number of parameters that the kind has */
  int32_t safeguard;        /* 1: on */
  double strength;          /* kappa * beta, in units of the mean error; 0 for kinds without a reference */
  double parameters[8];     /* parameters of the kind; entries from parameter_count on are 0 */
  double safeguard_mu;
  double budget_weight;     /* 0: no budget */
  double budget;
} smpo_pair_loss;           /* 112 bytes */

/* A micro-batch: pairs of a batch that are computed together. */
typedef struct smpo_micro_batch {
  uint32_t size;
  uint32_t first_pair;       /* the pairs first_pair .. first_pair+pairs-1 of the batch */
  uint32_t pairs;            /* 1.. */
  int32_t backward;          /* 1: gradients are added to those of the policy; 0: errors and losses only */
  double gradient_scale;     /* factor of loss sum and gradients: 1 / (pairs of the whole step) gives means */
  const double *label;       /* per pair: SmPO's p, CaPO's difference of rewards; else NULL */
  const double *logit_scale; /* per pair: factor of strength; NULL: 1 */
  const double *weight;      /* per pair: factor of loss and gradients; NULL: 1 */
  const double *mean_gain;   /* KTO: one number, max(0, mean of r - l over all images of the batch); NULL: the mean
                                over this call's images */
  const uint8_t *desirable;  /* KTO of single images: per image, 1 where it is desirable, else 0; otherwise NULL */
  const double *error_scale; /* PSEUDO_HUBER, SFT of single images: q per image, above 0; NULL: 1. NULL for other
                                kinds */
} smpo_micro_batch;

/* Results for the batch's pairs; NaN for a pair that no call has accumulated yet. */
typedef struct smpo_pair_results {
  uint32_t size;
  uint32_t pairs;   /* W */
  double *errors;   /* 4W: mean squared errors; policy winners, policy losers, reference winners, reference losers;
                       the latter two are 0 if the loss has no reference. Single images count as winners; the
                       losers' errors are NaN */
  double *logits;   /* W: above 0 if the policy prefers the winner, more than the reference does */
  double *losses;   /* W, without weight and gradient_scale */
  double loss_sum;  /* out: sum over the calls of gradient_scale * weight * loss */
} smpo_pair_results;

enum {
  SMPO_PAIR_BATCH_NOISED = 1,
  SMPO_PAIR_BATCH_TARGET = 2,
  SMPO_PAIR_BATCH_PREDICTION = 3,
  SMPO_PAIR_BATCH_REFERENCE_PREDICTION = 4
};

/* Samples latents [B,L,h,w] f32 from a posterior: scale * (mean + exp(logvar / 2) n), where n has purpose 4, the given
 * step and B items; see smpo_tensor_fill_normal. */
smpo_status smpo_posterior_sample(smpo_session session, smpo_tensor mean, smpo_tensor logvar, double scale,
                                  uint32_t step, const int64_t *items, uint64_t count, smpo_tensor *latents,
                                  smpo_error *error);

/* Opens a batch, to be noised, inverted or set next. It keeps what it needs, so the tensors may be closed. */
smpo_status smpo_pair_batch_open(smpo_session session, const smpo_pair_batch_inputs *inputs, smpo_pair_batch *batch,
                                 smpo_error *error);

/* Computes noised latents and targets by forward diffusion; n has purpose 5, the batch's step and its items. */
smpo_status smpo_pair_batch_add_noise(smpo_session session, smpo_pair_batch batch, const smpo_forward_noise *noise,
                                      smpo_error *error);

/* Takes noised latents and targets as they are, f32: `noised` [2W,C,h,w], or [W,C,h,w] with shared_sample, and `target`
 * [2W,C,h,w]. The tensors may be closed. */
smpo_status smpo_pair_batch_set(smpo_session session, smpo_pair_batch batch, smpo_tensor noised, smpo_tensor target,
                                smpo_error *error);

/* Computes noised latents and targets by inversion with this UNet (no guidance, no gradient). n has purpose 6, the
 * batch's step, and item 4096 * the image's item + the index of the inversion step in the image's list. Can be
 * cancelled between evaluations; the batch is then unchanged. `report` may be NULL. */
smpo_status smpo_pair_batch_invert(smpo_session session, smpo_pair_batch batch, smpo_model model,
                                   const smpo_inversion_plan *plan, smpo_inversion_report *report, smpo_error *error);

/* Does the same by a rollout: the plan's steps lead from noised latents wherever the plan says. The images' first n has
 * purpose 5, the batch's step and its items; noise of steps is that of smpo_pair_batch_invert. */
smpo_status smpo_pair_batch_rollout(smpo_session session, smpo_pair_batch batch, smpo_model model,
                                    const smpo_inversion_plan *plan, const smpo_rollout *rollout,
                                    smpo_inversion_report *report, smpo_error *error);

/* Computes errors, logits and losses of some pairs and, with backward, adds the gradient of the sum of
 * gradient_scale * weight * loss. `reference` is a model of the same shape; 0: the policy without its adapters, or none
 * if the loss has no reference. NaN and infinity are not errors: they appear in the results. Can be cancelled before
 * the backward pass begins; this micro-batch has then added nothing, and gradients of earlier micro-batches stay. A
 * caller that abandons the step zeroes them; a caller that repeats the micro-batch gets the same bits. */
smpo_status smpo_pair_batch_accumulate(smpo_session session, smpo_pair_batch batch, smpo_model policy,
                                       smpo_model reference, const smpo_pair_loss *loss,
                                       const smpo_micro_batch *micro_batch, smpo_error *error);


/* Reads the results. Waits for the device once. */
smpo_status smpo_pair_batch_read(smpo_session session, smpo_pair_batch batch, smpo_pair_results *results,
                                 smpo_error *error);

/* Creates a copy of one of the batch's tensors, [2W,C,h,w] f32; noised latents with shared_sample are [W,C,h,w], and
 * predictions with guidance are the guided ones. Predictions are zero for a pair that no call
 * has accumulated yet. */
smpo_status smpo_pair_batch_tensor(smpo_session session, smpo_pair_batch batch, int32_t which, smpo_tensor *tensor,
                                   smpo_error *error);

smpo_status smpo_pair_batch_close(smpo_session session, smpo_pair_batch batch, smpo_error *error);

/* ---- optimizer -------------------------------------------------------------------------------------------------- */

typedef uint64_t smpo_optimizer; /* an update rule and its state for one model; 0 is never a valid handle */

enum {
  SMPO_OPTIMIZER_ADAMW = 1,    /* torch.optim.AdamW */
  SMPO_OPTIMIZER_ADAFACTOR = 2 /* transformers.optimization.Adafactor */
};

typedef struct smpo_optimizer_options {
  uint32_t size;
  int32_t kind;          /* SMPO_OPTIMIZER_* */
  double beta1;          /* in [0,1). Adafactor: 0 keeps no first moment */
  double beta2;          /* AdamW: in [0,1); Adafactor: 0 */
  double eps;            /* above 0. AdamW: added to the root of the second moment; Adafactor: to gradient^2 */
  double weight_decay;   /* 0 or more, decoupled: multiplied by the learning rate */
  double ema_decay;      /* in [0,1): ema += (1 - ema_decay) (weight - ema) after every update; 0: no EMA */
  /* Adafactor only; 0 for AdamW. */
  double parameter_eps;  /* above 0: smallest root mean square of a parameter that scale_parameter uses */
  double clip_threshold; /* above 0: largest root mean square of a parameter's update, before the learning rate */
  double decay_rate;     /* below 0: the second moment keeps 1 - step^decay_rate */
  int32_t scale_parameter; /* 1: the learning rate is multiplied by the parameter's root mean square */
  int32_t relative_step;   /* 1: the learning rate is min(1e-2, step^-0.5), and the rate passed to each step is 0 */
  int32_t warmup_init;     /* 1, with relative_step only: min(1e-6 step, step^-0.5) */
  int32_t reserved;        /* 0 */
  uint64_t comm;           /* AdamW only: an smpo_comm whose ranks share the state; 0: this process keeps all of it */
} smpo_optimizer_options;  /* 96 bytes */

typedef struct smpo_optimizer_info {
  uint32_t size;
  int32_t kind;         /* SMPO_OPTIMIZER_* */
  uint32_t state_count; /* number of tensors that a checkpoint needs besides the number of steps */
  uint32_t reserved;
  int64_t steps;        /* number of updates made */
  uint64_t bytes;       /* size of the state that this process keeps */
} smpo_optimizer_info;

/* NAME.PARAMETER, where NAME is exp_avg or exp_avg_sq, Adafactor's exp_avg_sq_row and exp_avg_sq_col, or ema. */
typedef struct smpo_state_info {
  uint32_t size;
  int32_t rank;
  int64_t shape[8];
  char name[216];
} smpo_state_info; /* 288 bytes */

typedef struct smpo_step_outcome {
  uint32_t size;
  int32_t finite;   /* 1: every gradient is finite, and so is their norm as an f32 */
  int32_t applied;  /* 1: weights and state have changed, and gradients are zero; 0 where finite is 0 */
  int32_t reserved;
  int64_t steps;            /* number of updates made, including this one */
  double grad_norm;         /* norm of all gradients before clipping */
  double clip_coefficient;  /* min(1, max_grad_norm / (grad_norm + 1e-6)): factor of the gradients; 0 if not finite */
  double learning_rate;     /* the rate used */
} smpo_step_outcome; /* 48 bytes */

/* Opens an optimizer for the trained parameters: the adapters' if there are any, otherwise the model's own. All
 * parameters must have been written. Moments start at zero and EMA weights at the current weights. The optimizer keeps
 * its model, whose handle may be closed. A model has one optimizer at a time, and its adapters cannot be merged while
 * the optimizer is open. SMPO_INVALID_ARGUMENT if no parameter is trained.
 *
 * With options->comm (ZeRO stage 1), each rank keeps moments and EMA weights of its share of the parameters, updates that
 * share, and receives the weights of the others: the weights have the bits of an optimizer that is not shared. All ranks
 * then call smpo_optimizer_step, _read_state and _copy_ema in the same order, with gradients that have the same bits
 * (smpo_comm_all_reduce_gradients), and SMPO_PEER_LOST is possible; a step that a peer's loss interrupted leaves the
 * weights undefined. The optimizer keeps the group. */
smpo_status smpo_optimizer_open(smpo_session session, smpo_model model, const smpo_optimizer_options *options,
                                smpo_optimizer *optimizer, smpo_error *error);

/* Makes one update from the summed gradients: clips them to `max_grad_norm` (infinity: never), updates weights, state
 * and EMA weights, and zeroes the gradients. If the gradients are not finite, nothing changes, and SMPO_OK is returned
 * with outcome->finite 0. */
smpo_status smpo_optimizer_step(smpo_session session, smpo_optimizer optimizer, double learning_rate,
                                double max_grad_norm, smpo_step_outcome *outcome, smpo_error *error);

/* Writes the name of the first parameter whose gradient is not finite; empty if there is none. capacity >= 192. */
smpo_status smpo_optimizer_find_non_finite(smpo_session session, smpo_optimizer optimizer, char *name,
                                           uint32_t capacity, smpo_error *error);

smpo_status smpo_optimizer_describe(smpo_session session, smpo_optimizer optimizer, smpo_optimizer_info *info,
                                    smpo_error *error);

/* Describes state tensor `index` in 0..state_count-1. */
smpo_status smpo_optimizer_state(smpo_session session, smpo_optimizer optimizer, uint32_t index, smpo_state_info *info,
                                 smpo_error *error);

/* Copies a state tensor to host memory, f32 and row-major. SMPO_INVALID_ARGUMENT for an unknown name. */
smpo_status smpo_optimizer_read_state(smpo_session session, smpo_optimizer optimizer, const char *name,
                                      const smpo_tensor_spec *spec, void *data, uint64_t bytes, smpo_error *error);

/* Writes a state tensor. All state tensors and the number of steps together restore a run bit for bit. On
 * SMPO_NON_FINITE (with the index of the first such value) and SMPO_INVALID_ARGUMENT (a negative second moment) nothing
 * changes. */
smpo_status smpo_optimizer_write_state(smpo_session session, smpo_optimizer optimizer, const char *name,
                                       const smpo_tensor_spec *spec, const void *data, uint64_t bytes,
                                       smpo_error *error);

/* Sets the number of updates made, in [0, 2^53): the next update is number `steps` + 1. */
smpo_status smpo_optimizer_set_steps(smpo_session session, smpo_optimizer optimizer, int64_t steps, smpo_error *error);

/* Writes the EMA weights into another model's parameters of the same names and shapes; its other parameters stay as
 * they are. SMPO_INVALID_ARGUMENT without EMA weights. */
smpo_status smpo_optimizer_copy_ema(smpo_session session, smpo_optimizer optimizer, smpo_model model,
                                    smpo_error *error);

smpo_status smpo_optimizer_close(smpo_session session, smpo_optimizer optimizer, smpo_error *error);

/* ---- communication between processes ----------------------------------------------------------------------------- */

typedef uint64_t smpo_comm; /* a group of processes, seen from one of them; 0 is never a valid handle */

/* A group built on PyTorch's c10d: a TCPStore for the rendezvous, Gloo on CPUs, NCCL on GPUs. */
typedef struct smpo_comm_config {
  uint32_t size;
  int32_t rank;            /* 0..world_size-1, different for every process */
  int32_t world_size;      /* number of processes, 1.. */
  int32_t port;            /* port on which rank 0 listens: 1..65535; with one process, 0 chooses a free port */
  int64_t timeout_millis;  /* 1..: how long a call waits for the other processes */
  const char *host;        /* name or address at which all processes reach rank 0 */
  const char *fingerprint; /* must be the same on all ranks: a digest of build, recipe and data; may be empty */
  const char *prefix;      /* keeps groups that share one store apart; must be the same on all ranks; null: "smpo" */
  int64_t join_millis;     /* 0..: how long smpo_comm_open waits for the other processes; 0: timeout_millis */
  int32_t store_exists;    /* 1: a store listens at host and port already (torchrun's, or another group's) */
  int32_t reserved;        /* 0 */
} smpo_comm_config; /* 64 bytes */

/* Every process of the group makes the same calls in the same order. If a process ends or misses the timeout, the calls
 * of the others fail with SMPO_PEER_LOST, and the group can then only be closed. These calls cannot be cancelled; they
 * return when the timeout is over at the latest. */

/* Joins the group and waits for all processes. SMPO_PEER_LOST names the ranks that did not join; where a later call
 * fails with it, the message names the ranks that ended or hang. SMPO_INVALID_ARGUMENT
 * when two processes have the same rank, or when a process has a world_size or fingerprint other than rank 0's; the
 * other processes are told as well. SMPO_UNSUPPORTED when rank 0 cannot listen on the port. */
smpo_status smpo_comm_open(smpo_session session, const smpo_comm_config *config, smpo_comm *comm, smpo_error *error);

/* Replaces a floating tensor by its sum over all ranks. The sum has the same bits on all ranks and
 * when it is repeated. */
smpo_status smpo_comm_all_reduce(smpo_session session, smpo_comm comm, smpo_tensor tensor, smpo_error *error);

/* Does the same for the gradients of all trained parameters, in one piece. */
smpo_status smpo_comm_all_reduce_gradients(smpo_session session, smpo_comm comm, smpo_model model, smpo_error *error);

/* Replaces the tensor by rank `root`'s tensor, which must have the same dtype and shape. */
smpo_status smpo_comm_broadcast(smpo_session session, smpo_comm comm, smpo_tensor tensor, int32_t root,
                                smpo_error *error);

/* Gathers the tensors of all ranks, which must have the same dtype and shape. Rank `root` gets a new tensor
 * [world_size,...]; the other ranks get 0, which is not a handle. */
smpo_status smpo_comm_gather(smpo_session session, smpo_comm comm, smpo_tensor tensor, int32_t root,
                             smpo_tensor *gathered, smpo_error *error);

/* Returns when all ranks have called it. */
smpo_status smpo_comm_barrier(smpo_session session, smpo_comm comm, smpo_error *error);

/* Leaves the group. Call smpo_comm_barrier first, so that no rank leaves while another still needs it. */
smpo_status smpo_comm_close(smpo_session session, smpo_comm comm, smpo_error *error);

#ifdef __cplusplus
}
#endif

#endif /* SMPO_H_ */
