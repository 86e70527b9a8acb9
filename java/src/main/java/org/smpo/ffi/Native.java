package org.smpo.ffi;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SequenceLayout;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/// The one-to-one binding of `smpo.h`: its structs, and its functions in the header's order. Each
/// function is a `static final` method handle and a wrapper of one call. There is no logic;
/// `HeaderContractTest` compares every line with the header.
///
/// Each wrapper returns the status, which [Errors#check] turns into an exception. Without a compatible
/// library, each wrapper throws the [LinkageError] of [Abi] instead.
final class Native {
    /// `smpo_abi_version` that these bindings were written for.
    static final int ABI_VERSION = 1;

    /// Number of entries of `smpo_tensor_spec.shape`.
    static final int MAX_RANK = 8;

    /// Number of entries of the per-level arrays in `smpo_unet_spec`.
    static final int MAX_LEVELS = 8;

    /// Largest number of modules in one set of adapters.
    static final int MAX_LORA_MODULES = 65536;

    /// Number of entries of `smpo_sampler_row.history`.
    static final int SAMPLER_MAX_HISTORY = 4;

    /// Largest number of rows in a plan.
    static final int SAMPLER_MAX_STEPS = 100000;

    /// Largest number of candidates for a step.
    static final int SAMPLER_MAX_CANDIDATES = 64;

    /// Largest number of parameters of a loss beside its strength.
    static final int MAX_LOSS_PARAMETERS = 8;

    /// Largest number of pairs in a batch.
    static final int MAX_BATCH_PAIRS = 65536;

    /// Largest number of inversion steps of one image.
    static final int MAX_INVERSION_STEPS = 4096;

    /// `smpo_optimizer_options.kind` of [OptimizerOptions.AdamW].
    static final int OPTIMIZER_ADAMW = 1;

    /// `smpo_optimizer_options.kind` of [OptimizerOptions.Adafactor].
    static final int OPTIMIZER_ADAFACTOR = 2;

    private static final Map<String, FunctionDescriptor> FUNCTIONS = new LinkedHashMap<>();
    private static final Map<String, StructLayout> STRUCTS = new LinkedHashMap<>();
    private static final Linker LINKER = Linker.nativeLinker();

    static final StructLayout ERROR = struct(
            "smpo_error",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("code"),
            JAVA_LONG.withName("detail"),
            text("message", 1008));

    static final StructLayout LIBRARY_INFO = struct(
            "smpo_library_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("abi_version"),
            text("version", 32),
            text("commit", 64),
            text("build_type", 32),
            text("compiler", 64),
            text("libtorch", 64),
            text("cuda_compiled", 32),
            text("cuda_targets", 64));

    static final StructLayout CPU_INFO = struct(
            "smpo_cpu_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("features"),
            JAVA_INT.withName("logical_cores"),
            JAVA_INT.withName("physical_cores"),
            JAVA_LONG.withName("total_memory"),
            JAVA_LONG.withName("available_memory"),
            text("model", 96));

    static final StructLayout CUDA_INFO = struct(
            "smpo_cuda_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("compiled"),
            JAVA_INT.withName("device_count"),
            JAVA_INT.withName("driver_version"),
            JAVA_INT.withName("runtime_version"),
            text("problem", 252));

    static final StructLayout CUDA_DEVICE_INFO = struct(
            "smpo_cuda_device_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("index"),
            JAVA_INT.withName("compute_major"),
            JAVA_INT.withName("compute_minor"),
            JAVA_INT.withName("multiprocessors"),
            JAVA_INT.withName("reserved"),
            JAVA_LONG.withName("total_memory"),
            JAVA_LONG.withName("free_memory"),
            text("name", 96));

    static final StructLayout SESSION_CONFIG = struct(
            "smpo_session_config",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("device_type"),
            JAVA_INT.withName("device_index"),
            JAVA_INT.withName("threads"),
            JAVA_LONG.withName("seed"),
            JAVA_INT.withName("deterministic"),
            JAVA_INT.withName("log_level"),
            JAVA_INT.withName("log_capacity"),
            JAVA_INT.withName("reserved"));

    static final StructLayout SESSION_STATISTICS = struct(
            "smpo_session_statistics",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("open_tensors"),
            JAVA_LONG.withName("calls"),
            JAVA_LONG.withName("failed_calls"),
            JAVA_LONG.withName("log_records_dropped"),
            JAVA_LONG.withName("host_bytes_in_use"),
            JAVA_LONG.withName("host_bytes_peak"),
            JAVA_LONG.withName("host_bytes_pooled"),
            JAVA_LONG.withName("device_bytes_in_use"),
            JAVA_LONG.withName("device_bytes_peak"),
            JAVA_LONG.withName("device_bytes_reserved"),
            JAVA_LONG.withName("device_synchronizations"));

    static final StructLayout LOG_RECORD = struct(
            "smpo_log_record",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("level"),
            JAVA_LONG.withName("unix_nanos"),
            text("message", 240));

    static final StructLayout TENSOR_SPEC = struct(
            "smpo_tensor_spec",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("dtype"),
            JAVA_INT.withName("rank"),
            JAVA_INT.withName("reserved"),
            MemoryLayout.sequenceLayout(MAX_RANK, JAVA_LONG).withName("shape"));

    static final StructLayout MODEL_OPTIONS = struct(
            "smpo_model_options",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("precision"),
            JAVA_INT.withName("trainable"),
            JAVA_INT.withName("checkpointing"));

    static final StructLayout UNET_SPEC = struct(
            "smpo_unet_spec",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("in_channels"),
            JAVA_INT.withName("out_channels"),
            JAVA_INT.withName("levels"),
            array("block_out_channels", 8, JAVA_INT),
            array("down_attention", 8, JAVA_INT),
            array("up_attention", 8, JAVA_INT),
            array("layers_per_block", 8, JAVA_INT),
            array("transformer_layers", 8, JAVA_INT),
            array("attention_heads", 8, JAVA_INT),
            JAVA_INT.withName("cross_attention_dim"),
            JAVA_INT.withName("use_linear_projection"),
            JAVA_INT.withName("norm_num_groups"),
            JAVA_INT.withName("flip_sin_to_cos"),
            JAVA_INT.withName("addition_time_embed_dim"),
            JAVA_INT.withName("projection_class_embeddings_input_dim"),
            JAVA_DOUBLE.withName("norm_eps"),
            JAVA_DOUBLE.withName("freq_shift"));

    static final StructLayout MODEL_INFO = struct(
            "smpo_model_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("kind"),
            JAVA_INT.withName("precision"),
            JAVA_INT.withName("trainable"),
            JAVA_INT.withName("parameter_count"),
            JAVA_INT.withName("written_count"),
            JAVA_LONG.withName("elements"),
            JAVA_LONG.withName("bytes"));

    static final StructLayout PARAMETER_INFO = struct(
            "smpo_parameter_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("dtype"),
            JAVA_INT.withName("rank"),
            JAVA_INT.withName("trainable"),
            array("shape", 8, JAVA_LONG),
            JAVA_INT.withName("written"),
            JAVA_INT.withName("reserved"),
            text("name", 192));

    static final StructLayout LORA_SPEC = struct(
            "smpo_lora_spec",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("rank"),
            JAVA_DOUBLE.withName("alpha"),
            JAVA_INT.withName("module_count"),
            JAVA_INT.withName("reserved"),
            ADDRESS.withName("modules"));

    static final StructLayout UNET_INPUTS = struct(
            "smpo_unet_inputs",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("sample_only"),
            JAVA_LONG.withName("sample"),
            JAVA_LONG.withName("timesteps"),
            JAVA_LONG.withName("encoder_hidden_states"),
            JAVA_LONG.withName("text_embeds"),
            JAVA_LONG.withName("time_ids"));

    static final StructLayout SAMPLER_ROW = struct(
            "smpo_sampler_row",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("saves"),
            JAVA_INT.withName("keeps"),
            JAVA_INT.withName("drops"),
            JAVA_DOUBLE.withName("timestep"),
            JAVA_DOUBLE.withName("input_scale"),
            JAVA_DOUBLE.withName("history_sample"),
            JAVA_DOUBLE.withName("history_output"),
            JAVA_DOUBLE.withName("sample"),
            JAVA_DOUBLE.withName("saved"),
            JAVA_DOUBLE.withName("noise"),
            array("history", 4, JAVA_DOUBLE));

    static final StructLayout SAMPLER_PLAN = struct(
            "smpo_sampler_plan",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("steps"),
            JAVA_DOUBLE.withName("initial_noise_scale"),
            ADDRESS.withName("rows"));

    static final StructLayout SAMPLER_INPUTS = struct(
            "smpo_sampler_inputs",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("negative_adapters"),
            JAVA_DOUBLE.withName("guidance_scale"),
            JAVA_DOUBLE.withName("guidance_rescale"),
            JAVA_LONG.withName("noise"),
            JAVA_LONG.withName("encoder_hidden_states"),
            JAVA_LONG.withName("text_embeds"),
            JAVA_LONG.withName("time_ids"),
            JAVA_LONG.withName("negative_encoder_hidden_states"),
            JAVA_LONG.withName("negative_text_embeds"),
            JAVA_LONG.withName("negative_time_ids"),
            ADDRESS.withName("items"),
            JAVA_LONG.withName("negative_model"));

    static final StructLayout SAMPLER_CANDIDATES = struct(
            "smpo_sampler_candidates",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("candidates"),
            ADDRESS.withName("items"),
            JAVA_DOUBLE.withName("clean_sample"),
            JAVA_DOUBLE.withName("clean_output"));

    static final StructLayout PAIR_BATCH_INPUTS = struct(
            "smpo_pair_batch_inputs",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("pairs"),
            JAVA_INT.withName("step"),
            JAVA_INT.withName("keep_predictions"),
            JAVA_LONG.withName("latents"),
            JAVA_LONG.withName("encoder_hidden_states"),
            JAVA_LONG.withName("text_embeds"),
            JAVA_LONG.withName("time_ids"),
            ADDRESS.withName("timesteps"),
            ADDRESS.withName("items"),
            JAVA_INT.withName("single_images"),
            JAVA_INT.withName("shared_sample"),
            JAVA_DOUBLE.withName("guidance_scale"),
            JAVA_LONG.withName("negative_encoder_hidden_states"),
            JAVA_LONG.withName("negative_text_embeds"));

    static final StructLayout FORWARD_NOISE = struct(
            "smpo_forward_noise",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("per_image"),
            ADDRESS.withName("sample"),
            ADDRESS.withName("noise"),
            ADDRESS.withName("target_sample"),
            ADDRESS.withName("target_noise"));

    static final StructLayout INVERSION_PLAN = struct(
            "smpo_inversion_plan",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("inversion_batch"),
            ADDRESS.withName("row_start"),
            ADDRESS.withName("timestep"),
            ADDRESS.withName("sample"),
            ADDRESS.withName("output"),
            ADDRESS.withName("noise"),
            ADDRESS.withName("averages"),
            ADDRESS.withName("target_sample"),
            ADDRESS.withName("target_clean"));

    static final StructLayout ROLLOUT = struct(
            "smpo_rollout",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("reserved"),
            ADDRESS.withName("start_sample"),
            ADDRESS.withName("start_noise"),
            ADDRESS.withName("target_output"),
            ADDRESS.withName("target_noise"),
            JAVA_LONG.withName("encoder_hidden_states"),
            JAVA_LONG.withName("text_embeds"));

    static final StructLayout INVERSION_REPORT = struct(
            "smpo_inversion_report",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("batches"),
            JAVA_LONG.withName("evaluations"),
            JAVA_DOUBLE.withName("seconds"),
            JAVA_DOUBLE.withName("unet_seconds"));

    static final StructLayout PAIR_LOSS = struct(
            "smpo_pair_loss",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("kind"),
            JAVA_INT.withName("parameter_count"),
            JAVA_INT.withName("safeguard"),
            JAVA_DOUBLE.withName("strength"),
            array("parameters", MAX_LOSS_PARAMETERS, JAVA_DOUBLE),
            JAVA_DOUBLE.withName("safeguard_mu"),
            JAVA_DOUBLE.withName("budget_weight"),
            JAVA_DOUBLE.withName("budget"));

    static final StructLayout MICRO_BATCH = struct(
            "smpo_micro_batch",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("first_pair"),
            JAVA_INT.withName("pairs"),
            JAVA_INT.withName("backward"),
            JAVA_DOUBLE.withName("gradient_scale"),
            ADDRESS.withName("label"),
            ADDRESS.withName("logit_scale"),
            ADDRESS.withName("weight"),
            ADDRESS.withName("mean_gain"),
            ADDRESS.withName("desirable"),
            ADDRESS.withName("error_scale"));

    static final StructLayout PAIR_RESULTS = struct(
            "smpo_pair_results",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("pairs"),
            ADDRESS.withName("errors"),
            ADDRESS.withName("logits"),
            ADDRESS.withName("losses"),
            JAVA_DOUBLE.withName("loss_sum"));

    static final StructLayout OPTIMIZER_OPTIONS = struct(
            "smpo_optimizer_options",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("kind"),
            JAVA_DOUBLE.withName("beta1"),
            JAVA_DOUBLE.withName("beta2"),
            JAVA_DOUBLE.withName("eps"),
            JAVA_DOUBLE.withName("weight_decay"),
            JAVA_DOUBLE.withName("ema_decay"),
            JAVA_DOUBLE.withName("parameter_eps"),
            JAVA_DOUBLE.withName("clip_threshold"),
            JAVA_DOUBLE.withName("decay_rate"),
            JAVA_INT.withName("scale_parameter"),
            JAVA_INT.withName("relative_step"),
            JAVA_INT.withName("warmup_init"),
            JAVA_INT.withName("reserved"),
            JAVA_LONG.withName("comm"));

    static final StructLayout OPTIMIZER_INFO = struct(
            "smpo_optimizer_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("kind"),
            JAVA_INT.withName("state_count"),
            JAVA_INT.withName("reserved"),
            JAVA_LONG.withName("steps"),
            JAVA_LONG.withName("bytes"));

    static final StructLayout STATE_INFO = struct(
            "smpo_state_info",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("rank"),
            array("shape", 8, JAVA_LONG),
            text("name", 216));

    static final StructLayout STEP_OUTCOME = struct(
            "smpo_step_outcome",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("finite"),
            JAVA_INT.withName("applied"),
            JAVA_INT.withName("reserved"),
            JAVA_LONG.withName("steps"),
            JAVA_DOUBLE.withName("grad_norm"),
            JAVA_DOUBLE.withName("clip_coefficient"),
            JAVA_DOUBLE.withName("learning_rate"));

    static final StructLayout COMM_CONFIG = struct(
            "smpo_comm_config",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("rank"),
            JAVA_INT.withName("world_size"),
            JAVA_INT.withName("port"),
            JAVA_LONG.withName("timeout_millis"),
            ADDRESS.withName("host"),
            ADDRESS.withName("fingerprint"),
            ADDRESS.withName("prefix"),
            JAVA_LONG.withName("join_millis"),
            JAVA_INT.withName("store_exists"),
            JAVA_INT.withName("reserved"));

    static final StructLayout VAE_SPEC = struct(
            "smpo_vae_spec",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("in_channels"),
            JAVA_INT.withName("out_channels"),
            JAVA_INT.withName("latent_channels"),
            JAVA_INT.withName("levels"),
            array("block_out_channels", 8, JAVA_INT),
            JAVA_INT.withName("layers_per_block"),
            JAVA_INT.withName("norm_num_groups"),
            JAVA_INT.withName("use_quant_conv"),
            JAVA_INT.withName("use_post_quant_conv"),
            JAVA_INT.withName("mid_block_attention"));

    static final StructLayout CLIP_TEXT_SPEC = struct(
            "smpo_clip_text_spec",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("vocab_size"),
            JAVA_INT.withName("max_position_embeddings"),
            JAVA_INT.withName("hidden_size"),
            JAVA_INT.withName("intermediate_size"),
            JAVA_INT.withName("attention_heads"),
            JAVA_INT.withName("layers"),
            JAVA_INT.withName("activation"),
            JAVA_INT.withName("projection_dim"),
            JAVA_INT.withName("eos_token_id"),
            JAVA_DOUBLE.withName("layer_norm_eps"));

    static final StructLayout CLIP_VISION_SPEC = struct(
            "smpo_clip_vision_spec",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("image_size"),
            JAVA_INT.withName("patch_size"),
            JAVA_INT.withName("channels"),
            JAVA_INT.withName("hidden_size"),
            JAVA_INT.withName("intermediate_size"),
            JAVA_INT.withName("attention_heads"),
            JAVA_INT.withName("layers"),
            JAVA_INT.withName("activation"),
            JAVA_INT.withName("projection_dim"),
            JAVA_DOUBLE.withName("layer_norm_eps"),
            JAVA_INT.withName("patch_bias"),
            JAVA_INT.withName("pre_norm"),
            JAVA_INT.withName("all_tokens"),
            JAVA_INT.withName("reserved"));

    static final StructLayout BERT_SPEC = struct(
            "smpo_bert_spec",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("vocab_size"),
            JAVA_INT.withName("max_position_embeddings"),
            JAVA_INT.withName("hidden_size"),
            JAVA_INT.withName("intermediate_size"),
            JAVA_INT.withName("attention_heads"),
            JAVA_INT.withName("layers"),
            JAVA_INT.withName("encoder_width"),
            JAVA_DOUBLE.withName("layer_norm_eps"));

    static final StructLayout PIXEL_SPEC = struct(
            "smpo_pixel_spec",
            JAVA_INT.withName("size"),
            JAVA_INT.withName("filter"),
            JAVA_INT.withName("resized_height"),
            JAVA_INT.withName("resized_width"),
            JAVA_INT.withName("height"),
            JAVA_INT.withName("width"),
            JAVA_INT.withName("top"),
            JAVA_INT.withName("left"),
            MemoryLayout.sequenceLayout(3, JAVA_DOUBLE).withName("mean"),
            MemoryLayout.sequenceLayout(3, JAVA_DOUBLE).withName("std"));

    // ---- library and machine ----

    private static final MethodHandle ABI_VERSION_OF = bind("smpo_abi_version", ADDRESS, ADDRESS);

    static int abiVersion(MemorySegment version, MemorySegment error) {
        try {
            return (int) ABI_VERSION_OF.invokeExact(version, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle ABI_HEADER_SHA256 = bind("smpo_abi_header_sha256", ADDRESS, JAVA_INT, ADDRESS);

    static int abiHeaderSha256(MemorySegment text, int capacity, MemorySegment error) {
        try {
            return (int) ABI_HEADER_SHA256.invokeExact(text, capacity, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle LIBRARY_DESCRIBE = bind("smpo_library_describe", ADDRESS, ADDRESS);

    static int libraryDescribe(MemorySegment info, MemorySegment error) {
        try {
            return (int) LIBRARY_DESCRIBE.invokeExact(info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CPU_DESCRIBE = bind("smpo_cpu_describe", ADDRESS, ADDRESS);

    static int cpuDescribe(MemorySegment info, MemorySegment error) {
        try {
            return (int) CPU_DESCRIBE.invokeExact(info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CUDA_DESCRIBE = bind("smpo_cuda_describe", ADDRESS, ADDRESS);

    static int cudaDescribe(MemorySegment info, MemorySegment error) {
        try {
            return (int) CUDA_DESCRIBE.invokeExact(info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CUDA_DEVICE_DESCRIBE =
            bind("smpo_cuda_device_describe", JAVA_INT, ADDRESS, ADDRESS);

    static int cudaDeviceDescribe(int index, MemorySegment info, MemorySegment error) {
        try {
            return (int) CUDA_DEVICE_DESCRIBE.invokeExact(index, info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- session ----

    private static final MethodHandle SESSION_OPEN = bind("smpo_session_open", ADDRESS, ADDRESS, ADDRESS);

    static int sessionOpen(MemorySegment config, MemorySegment session, MemorySegment error) {
        try {
            return (int) SESSION_OPEN.invokeExact(config, session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_CLOSE = bind("smpo_session_close", JAVA_LONG, ADDRESS);

    static int sessionClose(long session, MemorySegment error) {
        try {
            return (int) SESSION_CLOSE.invokeExact(session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_CANCEL = bind("smpo_session_cancel", JAVA_LONG, ADDRESS);

    static int sessionCancel(long session, MemorySegment error) {
        try {
            return (int) SESSION_CANCEL.invokeExact(session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_SYNCHRONIZE = bind("smpo_session_synchronize", JAVA_LONG, ADDRESS);

    static int sessionSynchronize(long session, MemorySegment error) {
        try {
            return (int) SESSION_SYNCHRONIZE.invokeExact(session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_TRIM = bind("smpo_session_trim", JAVA_LONG, ADDRESS);

    static int sessionTrim(long session, MemorySegment error) {
        try {
            return (int) SESSION_TRIM.invokeExact(session, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_DESCRIBE = bind("smpo_session_describe", JAVA_LONG, ADDRESS, ADDRESS);

    static int sessionDescribe(long session, MemorySegment statistics, MemorySegment error) {
        try {
            return (int) SESSION_DESCRIBE.invokeExact(session, statistics, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SESSION_DRAIN_LOG =
            bind("smpo_session_drain_log", JAVA_LONG, ADDRESS, JAVA_INT, ADDRESS, ADDRESS);

    static int sessionDrainLog(
            long session, MemorySegment records, int capacity, MemorySegment count, MemorySegment error) {
        try {
            return (int) SESSION_DRAIN_LOG.invokeExact(session, records, capacity, count, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle DEBUG_RAISE = bind("smpo_debug_raise", JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS);

    static int debugRaise(long session, int kind, int status, MemorySegment error) {
        try {
            return (int) DEBUG_RAISE.invokeExact(session, kind, status, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- tensors ----

    private static final MethodHandle TENSOR_ZEROS = bind("smpo_tensor_zeros", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int tensorZeros(long session, MemorySegment spec, MemorySegment tensor, MemorySegment error) {
        try {
            return (int) TENSOR_ZEROS.invokeExact(session, spec, tensor, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_FROM_HOST =
            bind("smpo_tensor_from_host", JAVA_LONG, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS);

    static int tensorFromHost(
            long session,
            MemorySegment spec,
            MemorySegment data,
            long bytes,
            MemorySegment tensor,
            MemorySegment error) {
        try {
            return (int) TENSOR_FROM_HOST.invokeExact(session, spec, data, bytes, tensor, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_TO_HOST =
            bind("smpo_tensor_to_host", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);

    static int tensorToHost(
            long session, long tensor, MemorySegment spec, MemorySegment data, long bytes, MemorySegment error) {
        try {
            return (int) TENSOR_TO_HOST.invokeExact(session, tensor, spec, data, bytes, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_DESCRIBE =
            bind("smpo_tensor_describe", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int tensorDescribe(long session, long tensor, MemorySegment spec, MemorySegment error) {
        try {
            return (int) TENSOR_DESCRIBE.invokeExact(session, tensor, spec, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_CONVERT =
            bind("smpo_tensor_convert", JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS, ADDRESS);

    static int tensorConvert(long session, long tensor, int dtype, MemorySegment converted, MemorySegment error) {
        try {
            return (int) TENSOR_CONVERT.invokeExact(session, tensor, dtype, converted, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_FILL_NORMAL =
            bind("smpo_tensor_fill_normal", JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS);

    static int tensorFillNormal(
            long session, long tensor, int purpose, int step, MemorySegment items, long count, MemorySegment error) {
        try {
            return (int) TENSOR_FILL_NORMAL.invokeExact(session, tensor, purpose, step, items, count, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle TENSOR_CLOSE = bind("smpo_tensor_close", JAVA_LONG, JAVA_LONG, ADDRESS);

    static int tensorClose(long session, long tensor, MemorySegment error) {
        try {
            return (int) TENSOR_CLOSE.invokeExact(session, tensor, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- models ----

    private static final MethodHandle UNET_OPEN = bind("smpo_unet_open", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

    static int unetOpen(
            long session, MemorySegment spec, MemorySegment options, MemorySegment model, MemorySegment error) {
        try {
            return (int) UNET_OPEN.invokeExact(session, spec, options, model, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_DESCRIBE =
            bind("smpo_model_describe", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int modelDescribe(long session, long model, MemorySegment info, MemorySegment error) {
        try {
            return (int) MODEL_DESCRIBE.invokeExact(session, model, info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_PARAMETER =
            bind("smpo_model_parameter", JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS, ADDRESS);

    static int modelParameter(long session, long model, int index, MemorySegment info, MemorySegment error) {
        try {
            return (int) MODEL_PARAMETER.invokeExact(session, model, index, info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_WRITE_PARAMETER =
            bind("smpo_model_write_parameter", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);

    static int modelWriteParameter(
            long session,
            long model,
            MemorySegment name,
            MemorySegment spec,
            MemorySegment data,
            long bytes,
            MemorySegment error) {
        try {
            return (int) MODEL_WRITE_PARAMETER.invokeExact(session, model, name, spec, data, bytes, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_READ_PARAMETER =
            bind("smpo_model_read_parameter", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);

    static int modelReadParameter(
            long session,
            long model,
            MemorySegment name,
            MemorySegment spec,
            MemorySegment data,
            long bytes,
            MemorySegment error) {
        try {
            return (int) MODEL_READ_PARAMETER.invokeExact(session, model, name, spec, data, bytes, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_READ_GRADIENT =
            bind("smpo_model_read_gradient", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);

    static int modelReadGradient(
            long session,
            long model,
            MemorySegment name,
            MemorySegment spec,
            MemorySegment data,
            long bytes,
            MemorySegment error) {
        try {
            return (int) MODEL_READ_GRADIENT.invokeExact(session, model, name, spec, data, bytes, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_ZERO_GRADIENTS =
            bind("smpo_model_zero_gradients", JAVA_LONG, JAVA_LONG, ADDRESS);

    static int modelZeroGradients(long session, long model, MemorySegment error) {
        try {
            return (int) MODEL_ZERO_GRADIENTS.invokeExact(session, model, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_ADD_LORA =
            bind("smpo_model_add_lora", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int modelAddLora(long session, long model, MemorySegment spec, MemorySegment error) {
        try {
            return (int) MODEL_ADD_LORA.invokeExact(session, model, spec, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_SET_LORA_SCALE =
            bind("smpo_model_set_lora_scale", JAVA_LONG, JAVA_LONG, JAVA_DOUBLE, ADDRESS);

    static int modelSetLoraScale(long session, long model, double scale, MemorySegment error) {
        try {
            return (int) MODEL_SET_LORA_SCALE.invokeExact(session, model, scale, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_MERGE_LORA =
            bind("smpo_model_merge_lora", JAVA_LONG, JAVA_LONG, JAVA_DOUBLE, ADDRESS);

    static int modelMergeLora(long session, long model, double weight, MemorySegment error) {
        try {
            return (int) MODEL_MERGE_LORA.invokeExact(session, model, weight, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle MODEL_CLOSE = bind("smpo_model_close", JAVA_LONG, JAVA_LONG, ADDRESS);

    static int modelClose(long session, long model, MemorySegment error) {
        try {
            return (int) MODEL_CLOSE.invokeExact(session, model, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle UNET_FORWARD =
            bind("smpo_unet_forward", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int unetForward(long session, long model, MemorySegment inputs, MemorySegment output, MemorySegment error) {
        try {
            return (int) UNET_FORWARD.invokeExact(session, model, inputs, output, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle UNET_BACKWARD =
            bind("smpo_unet_backward", JAVA_LONG, JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int unetBackward(
            long session,
            long model,
            MemorySegment inputs,
            long cotangent,
            MemorySegment output,
            MemorySegment dSample,
            MemorySegment error) {
        try {
            return (int) UNET_BACKWARD.invokeExact(session, model, inputs, cotangent, output, dSample, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- encoders: AutoencoderKL, CLIP ----

    private static final MethodHandle VAE_OPEN = bind("smpo_vae_open", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

    static int vaeOpen(
            long session, MemorySegment spec, MemorySegment options, MemorySegment model, MemorySegment error) {
        try {
            return (int) VAE_OPEN.invokeExact(session, spec, options, model, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CLIP_TEXT_OPEN =
            bind("smpo_clip_text_open", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

    static int clipTextOpen(
            long session, MemorySegment spec, MemorySegment options, MemorySegment model, MemorySegment error) {
        try {
            return (int) CLIP_TEXT_OPEN.invokeExact(session, spec, options, model, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CLIP_VISION_OPEN =
            bind("smpo_clip_vision_open", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

    static int clipVisionOpen(
            long session, MemorySegment spec, MemorySegment options, MemorySegment model, MemorySegment error) {
        try {
            return (int) CLIP_VISION_OPEN.invokeExact(session, spec, options, model, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle BERT_OPEN = bind("smpo_bert_open", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

    static int bertOpen(
            long session, MemorySegment spec, MemorySegment options, MemorySegment model, MemorySegment error) {
        try {
            return (int) BERT_OPEN.invokeExact(session, spec, options, model, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle VAE_ENCODE =
            bind("smpo_vae_encode", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS, ADDRESS, ADDRESS);

    static int vaeEncode(
            long session,
            long model,
            long pixels,
            int tile,
            MemorySegment mean,
            MemorySegment logvar,
            MemorySegment error) {
        try {
            return (int) VAE_ENCODE.invokeExact(session, model, pixels, tile, mean, logvar, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle VAE_DECODE =
            bind("smpo_vae_decode", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS, ADDRESS);

    static int vaeDecode(long session, long model, long latents, int tile, MemorySegment pixels, MemorySegment error) {
        try {
            return (int) VAE_DECODE.invokeExact(session, model, latents, tile, pixels, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CLIP_TEXT_ENCODE = bind(
            "smpo_clip_text_encode", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS, ADDRESS, ADDRESS);

    static int clipTextEncode(
            long session,
            long model,
            long ids,
            int skip,
            int finalNorm,
            MemorySegment hidden,
            MemorySegment pooled,
            MemorySegment error) {
        try {
            return (int) CLIP_TEXT_ENCODE.invokeExact(session, model, ids, skip, finalNorm, hidden, pooled, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CLIP_VISION_ENCODE =
            bind("smpo_clip_vision_encode", JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int clipVisionEncode(long session, long model, long pixelValues, MemorySegment embeds, MemorySegment error) {
        try {
            return (int) CLIP_VISION_ENCODE.invokeExact(session, model, pixelValues, embeds, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle BERT_ENCODE =
            bind("smpo_bert_encode", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int bertEncode(
            long session, long model, long ids, long encoderStates, MemorySegment first, MemorySegment error) {
        try {
            return (int) BERT_ENCODE.invokeExact(session, model, ids, encoderStates, first, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- gradients of a score by pixels and latents ----

    private static final MethodHandle PIXEL_VALUES =
            bind("smpo_pixel_values", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int pixelValues(long session, long pixels, MemorySegment spec, MemorySegment values, MemorySegment error) {
        try {
            return (int) PIXEL_VALUES.invokeExact(session, pixels, spec, values, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PIXEL_VALUES_BACKWARD =
            bind("smpo_pixel_values_backward", JAVA_LONG, JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS);

    static int pixelValuesBackward(
            long session, long pixels, MemorySegment spec, long dValues, MemorySegment dPixels, MemorySegment error) {
        try {
            return (int) PIXEL_VALUES_BACKWARD.invokeExact(session, pixels, spec, dValues, dPixels, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle CLIP_VISION_BACKWARD =
            bind("smpo_clip_vision_backward", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int clipVisionBackward(
            long session,
            long model,
            long pixelValues,
            long cotangent,
            MemorySegment dPixelValues,
            MemorySegment error) {
        try {
            return (int) CLIP_VISION_BACKWARD.invokeExact(session, model, pixelValues, cotangent, dPixelValues, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle VAE_DECODE_BACKWARD =
            bind("smpo_vae_decode_backward", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_LONG, ADDRESS, ADDRESS);

    static int vaeDecodeBackward(
            long session,
            long model,
            long latents,
            int checkpointing,
            long cotangent,
            MemorySegment dLatents,
            MemorySegment error) {
        try {
            return (int)
                    VAE_DECODE_BACKWARD.invokeExact(session, model, latents, checkpointing, cotangent, dLatents, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- sampler ----

    private static final MethodHandle SAMPLER_OPEN =
            bind("smpo_sampler_open", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

    static int samplerOpen(
            long session,
            long model,
            MemorySegment plan,
            MemorySegment inputs,
            MemorySegment sampler,
            MemorySegment error) {
        try {
            return (int) SAMPLER_OPEN.invokeExact(session, model, plan, inputs, sampler, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SAMPLER_STEP = bind("smpo_sampler_step", JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS);

    static int samplerStep(long session, long sampler, int steps, MemorySegment error) {
        try {
            return (int) SAMPLER_STEP.invokeExact(session, sampler, steps, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SAMPLER_LATENTS =
            bind("smpo_sampler_latents", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int samplerLatents(long session, long sampler, MemorySegment latents, MemorySegment error) {
        try {
            return (int) SAMPLER_LATENTS.invokeExact(session, sampler, latents, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SAMPLER_FORK =
            bind("smpo_sampler_fork", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int samplerFork(
            long session, long sampler, MemorySegment candidates, MemorySegment clean, MemorySegment error) {
        try {
            return (int) SAMPLER_FORK.invokeExact(session, sampler, candidates, clean, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SAMPLER_CANDIDATE =
            bind("smpo_sampler_candidate", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int samplerCandidate(
            long session, long sampler, MemorySegment which, MemorySegment latents, MemorySegment error) {
        try {
            return (int) SAMPLER_CANDIDATE.invokeExact(session, sampler, which, latents, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SAMPLER_MOVE =
            bind("smpo_sampler_move", JAVA_LONG, JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS, ADDRESS);

    static int samplerMove(
            long session, long sampler, MemorySegment which, long move, MemorySegment clean, MemorySegment error) {
        try {
            return (int) SAMPLER_MOVE.invokeExact(session, sampler, which, move, clean, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SAMPLER_PAIRS =
            bind("smpo_sampler_pairs", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

    static int samplerPairs(
            long session,
            long sampler,
            MemorySegment winner,
            MemorySegment loser,
            MemorySegment noised,
            MemorySegment target,
            MemorySegment error) {
        try {
            return (int) SAMPLER_PAIRS.invokeExact(session, sampler, winner, loser, noised, target, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SAMPLER_SELECT =
            bind("smpo_sampler_select", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int samplerSelect(long session, long sampler, MemorySegment chosen, MemorySegment error) {
        try {
            return (int) SAMPLER_SELECT.invokeExact(session, sampler, chosen, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle SAMPLER_CLOSE = bind("smpo_sampler_close", JAVA_LONG, JAVA_LONG, ADDRESS);

    static int samplerClose(long session, long sampler, MemorySegment error) {
        try {
            return (int) SAMPLER_CLOSE.invokeExact(session, sampler, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- preference training: a batch of pairs ----

    private static final MethodHandle POSTERIOR_SAMPLE = bind(
            "smpo_posterior_sample",
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_DOUBLE,
            JAVA_INT,
            ADDRESS,
            JAVA_LONG,
            ADDRESS,
            ADDRESS);

    static int posteriorSample(
            long session,
            long mean,
            long logvar,
            double scale,
            int step,
            MemorySegment items,
            long count,
            MemorySegment latents,
            MemorySegment error) {
        try {
            return (int) POSTERIOR_SAMPLE.invokeExact(session, mean, logvar, scale, step, items, count, latents, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PAIR_BATCH_OPEN =
            bind("smpo_pair_batch_open", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int pairBatchOpen(long session, MemorySegment inputs, MemorySegment batch, MemorySegment error) {
        try {
            return (int) PAIR_BATCH_OPEN.invokeExact(session, inputs, batch, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PAIR_BATCH_ADD_NOISE =
            bind("smpo_pair_batch_add_noise", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int pairBatchAddNoise(long session, long batch, MemorySegment noise, MemorySegment error) {
        try {
            return (int) PAIR_BATCH_ADD_NOISE.invokeExact(session, batch, noise, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PAIR_BATCH_SET =
            bind("smpo_pair_batch_set", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS);

    static int pairBatchSet(long session, long batch, long noised, long target, MemorySegment error) {
        try {
            return (int) PAIR_BATCH_SET.invokeExact(session, batch, noised, target, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PAIR_BATCH_INVERT =
            bind("smpo_pair_batch_invert", JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int pairBatchInvert(
            long session, long batch, long model, MemorySegment plan, MemorySegment report, MemorySegment error) {
        try {
            return (int) PAIR_BATCH_INVERT.invokeExact(session, batch, model, plan, report, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PAIR_BATCH_ROLLOUT =
            bind("smpo_pair_batch_rollout", JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

    static int pairBatchRollout(
            long session,
            long batch,
            long model,
            MemorySegment plan,
            MemorySegment rollout,
            MemorySegment report,
            MemorySegment error) {
        try {
            return (int) PAIR_BATCH_ROLLOUT.invokeExact(session, batch, model, plan, rollout, report, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PAIR_BATCH_ACCUMULATE =
            bind("smpo_pair_batch_accumulate", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int pairBatchAccumulate(
            long session,
            long batch,
            long policy,
            long reference,
            MemorySegment loss,
            MemorySegment microBatch,
            MemorySegment error) {
        try {
            return (int) PAIR_BATCH_ACCUMULATE.invokeExact(session, batch, policy, reference, loss, microBatch, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PAIR_BATCH_READ =
            bind("smpo_pair_batch_read", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int pairBatchRead(long session, long batch, MemorySegment results, MemorySegment error) {
        try {
            return (int) PAIR_BATCH_READ.invokeExact(session, batch, results, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PAIR_BATCH_TENSOR =
            bind("smpo_pair_batch_tensor", JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS, ADDRESS);

    static int pairBatchTensor(long session, long batch, int which, MemorySegment tensor, MemorySegment error) {
        try {
            return (int) PAIR_BATCH_TENSOR.invokeExact(session, batch, which, tensor, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle PAIR_BATCH_CLOSE = bind("smpo_pair_batch_close", JAVA_LONG, JAVA_LONG, ADDRESS);

    static int pairBatchClose(long session, long batch, MemorySegment error) {
        try {
            return (int) PAIR_BATCH_CLOSE.invokeExact(session, batch, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- optimizer ----

    private static final MethodHandle OPTIMIZER_OPEN =
            bind("smpo_optimizer_open", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int optimizerOpen(
            long session, long model, MemorySegment options, MemorySegment optimizer, MemorySegment error) {
        try {
            return (int) OPTIMIZER_OPEN.invokeExact(session, model, options, optimizer, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle OPTIMIZER_STEP =
            bind("smpo_optimizer_step", JAVA_LONG, JAVA_LONG, JAVA_DOUBLE, JAVA_DOUBLE, ADDRESS, ADDRESS);

    static int optimizerStep(
            long session,
            long optimizer,
            double learningRate,
            double maxGradNorm,
            MemorySegment outcome,
            MemorySegment error) {
        try {
            return (int) OPTIMIZER_STEP.invokeExact(session, optimizer, learningRate, maxGradNorm, outcome, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle OPTIMIZER_FIND_NON_FINITE =
            bind("smpo_optimizer_find_non_finite", JAVA_LONG, JAVA_LONG, ADDRESS, JAVA_INT, ADDRESS);

    static int optimizerFindNonFinite(
            long session, long optimizer, MemorySegment name, int capacity, MemorySegment error) {
        try {
            return (int) OPTIMIZER_FIND_NON_FINITE.invokeExact(session, optimizer, name, capacity, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle OPTIMIZER_DESCRIBE =
            bind("smpo_optimizer_describe", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS);

    static int optimizerDescribe(long session, long optimizer, MemorySegment info, MemorySegment error) {
        try {
            return (int) OPTIMIZER_DESCRIBE.invokeExact(session, optimizer, info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle OPTIMIZER_STATE =
            bind("smpo_optimizer_state", JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS, ADDRESS);

    static int optimizerState(long session, long optimizer, int index, MemorySegment info, MemorySegment error) {
        try {
            return (int) OPTIMIZER_STATE.invokeExact(session, optimizer, index, info, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle OPTIMIZER_READ_STATE =
            bind("smpo_optimizer_read_state", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);

    static int optimizerReadState(
            long session,
            long optimizer,
            MemorySegment name,
            MemorySegment spec,
            MemorySegment data,
            long bytes,
            MemorySegment error) {
        try {
            return (int) OPTIMIZER_READ_STATE.invokeExact(session, optimizer, name, spec, data, bytes, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle OPTIMIZER_WRITE_STATE =
            bind("smpo_optimizer_write_state", JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, ADDRESS);

    static int optimizerWriteState(
            long session,
            long optimizer,
            MemorySegment name,
            MemorySegment spec,
            MemorySegment data,
            long bytes,
            MemorySegment error) {
        try {
            return (int) OPTIMIZER_WRITE_STATE.invokeExact(session, optimizer, name, spec, data, bytes, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle OPTIMIZER_SET_STEPS =
            bind("smpo_optimizer_set_steps", JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS);

    static int optimizerSetSteps(long session, long optimizer, long steps, MemorySegment error) {
        try {
            return (int) OPTIMIZER_SET_STEPS.invokeExact(session, optimizer, steps, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle OPTIMIZER_COPY_EMA =
            bind("smpo_optimizer_copy_ema", JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS);

    static int optimizerCopyEma(long session, long optimizer, long model, MemorySegment error) {
        try {
            return (int) OPTIMIZER_COPY_EMA.invokeExact(session, optimizer, model, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle OPTIMIZER_CLOSE = bind("smpo_optimizer_close", JAVA_LONG, JAVA_LONG, ADDRESS);

    static int optimizerClose(long session, long optimizer, MemorySegment error) {
        try {
            return (int) OPTIMIZER_CLOSE.invokeExact(session, optimizer, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    // ---- communication between processes ----

    private static final MethodHandle COMM_OPEN = bind("smpo_comm_open", JAVA_LONG, ADDRESS, ADDRESS, ADDRESS);

    static int commOpen(long session, MemorySegment config, MemorySegment comm, MemorySegment error) {
        try {
            return (int) COMM_OPEN.invokeExact(session, config, comm, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle COMM_ALL_REDUCE =
            bind("smpo_comm_all_reduce", JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS);

    static int commAllReduce(long session, long comm, long tensor, MemorySegment error) {
        try {
            return (int) COMM_ALL_REDUCE.invokeExact(session, comm, tensor, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle COMM_ALL_REDUCE_GRADIENTS =
            bind("smpo_comm_all_reduce_gradients", JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS);

    static int commAllReduceGradients(long session, long comm, long model, MemorySegment error) {
        try {
            return (int) COMM_ALL_REDUCE_GRADIENTS.invokeExact(session, comm, model, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle COMM_BROADCAST =
            bind("smpo_comm_broadcast", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS);

    static int commBroadcast(long session, long comm, long tensor, int root, MemorySegment error) {
        try {
            return (int) COMM_BROADCAST.invokeExact(session, comm, tensor, root, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle COMM_GATHER =
            bind("smpo_comm_gather", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, ADDRESS, ADDRESS);

    static int commGather(long session, long comm, long tensor, int root, MemorySegment gathered, MemorySegment error) {
        try {
            return (int) COMM_GATHER.invokeExact(session, comm, tensor, root, gathered, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle COMM_BARRIER = bind("smpo_comm_barrier", JAVA_LONG, JAVA_LONG, ADDRESS);

    static int commBarrier(long session, long comm, MemorySegment error) {
        try {
            return (int) COMM_BARRIER.invokeExact(session, comm, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private static final MethodHandle COMM_CLOSE = bind("smpo_comm_close", JAVA_LONG, JAVA_LONG, ADDRESS);

    static int commClose(long session, long comm, MemorySegment error) {
        try {
            return (int) COMM_CLOSE.invokeExact(session, comm, error);
        } catch (Throwable e) {
            throw rethrown(e);
        }
    }

    private Native() {}

    /// Every function bound here, by C name, in the order of this file.
    static Map<String, FunctionDescriptor> functions() {
        return Collections.unmodifiableMap(FUNCTIONS);
    }

    /// Every struct laid out here, by C name.
    static Map<String, StructLayout> structs() {
        return Collections.unmodifiableMap(STRUCTS);
    }

    private static StructLayout struct(String name, MemoryLayout... fields) {
        StructLayout layout = MemoryLayout.structLayout(fields).withName(name);
        STRUCTS.put(name, layout);
        return layout;
    }

    private static SequenceLayout array(String name, long count, ValueLayout element) {
        return MemoryLayout.sequenceLayout(count, element).withName(name);
    }

    private static SequenceLayout text(String name, long bytes) {
        return MemoryLayout.sequenceLayout(bytes, JAVA_BYTE).withName(name);
    }

    @SuppressWarnings("restricted")
    private static MethodHandle bind(String name, ValueLayout... parameters) {
        FunctionDescriptor descriptor = FunctionDescriptor.of(JAVA_INT, parameters);
        FUNCTIONS.put(name, descriptor);
        Abi abi = Abi.loaded();
        if (abi.problem().isPresent()) {
            return failing(descriptor.toMethodType(), abi.problem().get());
        }
        Optional<MemorySegment> symbol = abi.symbols().find(name);
        return symbol.map(address -> LINKER.downcallHandle(address, descriptor))
                .orElseGet(() -> failing(
                        descriptor.toMethodType(),
                        new UnsatisfiedLinkError(abi.file() + " does not export " + name + "; " + Abi.REBUILD)));
    }

    /// Returns a handle of the given type that throws. So this class can always be initialised, and
    /// every call throws the same error as the first.
    private static MethodHandle failing(MethodType type, LinkageError problem) {
        MethodHandle thrower = MethodHandles.throwException(type.returnType(), LinkageError.class)
                .bindTo(problem);
        return MethodHandles.dropArguments(thrower, 0, type.parameterArray());
    }

    /// Returns or throws the cause: `invokeExact` declares `Throwable`, but a downcall raises only
    /// unchecked ones.
    private static RuntimeException rethrown(Throwable e) {
        if (e instanceof RuntimeException unchecked) {
            return unchecked;
        }
        if (e instanceof Error error) {
            throw error;
        }
        throw new AssertionError("a downcall raised a checked exception", e);
    }
}
