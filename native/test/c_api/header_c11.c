/* smpo.h from C11: no other header before it, twice, and a round trip through the library. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "smpo.h"

_Static_assert(sizeof(smpo_error) == 1024, "smpo_error is 1024 bytes");
_Static_assert(sizeof(smpo_log_record) == 256, "smpo_log_record is 256 bytes");
_Static_assert(sizeof(smpo_tensor_spec) == 16 + 8 * SMPO_MAX_RANK, "smpo_tensor_spec has no padding");
_Static_assert(sizeof(smpo_session_config) == 40, "smpo_session_config has no padding");
_Static_assert(sizeof(smpo_unet_spec) == 248 && sizeof(smpo_parameter_info) == 280 && sizeof(smpo_sampler_row) == 104 &&
                   sizeof(smpo_model_info) == 40 && sizeof(smpo_lora_spec) == 32 && sizeof(smpo_unet_inputs) == 48 &&
                   sizeof(smpo_sampler_plan) == 24 && sizeof(smpo_sampler_inputs) == 96 &&
                   sizeof(smpo_vae_spec) == 72 && sizeof(smpo_clip_text_spec) == 48 &&
                   sizeof(smpo_clip_vision_spec) == 64 && sizeof(smpo_bert_spec) == 40 && sizeof(smpo_pixel_spec) == 80,
               "the structs of models, encoders and samplers have no padding");
_Static_assert(sizeof(smpo_status) == 4 && sizeof(smpo_session) == 8 && sizeof(smpo_tensor) == 8, "widths");
_Static_assert(offsetof(smpo_error, size) == 0 && offsetof(smpo_library_info, size) == 0 &&
                   offsetof(smpo_cpu_info, size) == 0 && offsetof(smpo_cuda_info, size) == 0 &&
                   offsetof(smpo_cuda_device_info, size) == 0 && offsetof(smpo_session_config, size) == 0 &&
                   offsetof(smpo_session_statistics, size) == 0 && offsetof(smpo_log_record, size) == 0 &&
                   offsetof(smpo_tensor_spec, size) == 0,
               "size comes first");

#define CHECK(call)                                                              \
  do {                                                                           \
    const smpo_status status = (call);                                           \
    if (status != SMPO_OK) {                                                     \
      fprintf(stderr, "%s: status %d: %s\n", #call, (int)status, error.message); \
      return 1;                                                                  \
    }                                                                            \
  } while (0)

int main(void) {
  smpo_error error = {.size = sizeof error};
  const smpo_session_config config = {.size = sizeof config, .device_type = SMPO_DEVICE_CPU, .log_capacity = 16};
  const smpo_tensor_spec spec = {.size = sizeof spec, .dtype = SMPO_I32, .rank = 2, .shape = {2, 3}};
  const int32_t values[6] = {1, -2, 3, -4, 5, -6};
  int32_t back[6] = {0};
  smpo_session session = 0;
  smpo_tensor tensor = 0;

  CHECK(smpo_session_open(&config, &session, &error));
  CHECK(smpo_tensor_from_host(session, &spec, values, sizeof values, &tensor, &error));
  CHECK(smpo_tensor_to_host(session, tensor, &spec, back, sizeof back, &error));
  CHECK(smpo_tensor_close(session, tensor, &error));
  CHECK(smpo_session_close(session, NULL));
  if (memcmp(values, back, sizeof values) != 0) {
    fputs("the values that came back differ\n", stderr);
    return 1;
  }
  return 0;
}
