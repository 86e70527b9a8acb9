package org.smpo.recipe;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/// Names that other trainers give to what a recipe holds: diffusers' scripts, sd-scripts (kohya), TRL and PEFT.
final class ForeignKeys {
    /// Our key, and the names of others for it.
    private static final String[][] TABLE = {
        {"model", "pretrained_model_name_or_path", "model_name_or_path", "base_model", "sd_model_checkpoint"},
        {"output", "output_dir", "output_name", "save_path"},
        {"data.paths", "train_data_dir", "dataset_name", "instance_data_dir", "image_folder", "dataset", "data_dir"},
        {"data.split", "dataset_split", "dataset_split_name", "dataset_train_split", "split_name"},
        {"data.resolution", "image_size", "max_resolution", "size"},
        {"data.crop", "center_crop", "random_crop", "crop_type"},
        {"data.flip", "random_flip", "flip_aug", "no_hflip", "hflip"},
        {"data.caption_dropout", "proportion_empty_prompts", "caption_dropout_rate"},
        {"data.decode_threads", "dataloader_num_workers", "max_data_loader_n_workers", "num_workers"},
        {"train.steps", "max_train_steps", "max_steps", "num_train_epochs", "max_train_epochs", "epochs"},
        {
            "train.pairs_per_step",
            "train_batch_size",
            "per_device_train_batch_size",
            "batch_size",
            "gradient_accumulation_steps"
        },
        {"train.precision", "mixed_precision", "fp16", "bf16", "train_dtype", "full_bf16", "full_fp16"},
        {"train.weights.type", "network_module", "peft_type", "use_lora", "use_peft"},
        {"train.weights.rank", "network_dim", "lora_rank", "lora_r", "rank", "r", "lora_dim"},
        {"train.weights.alpha", "network_alpha", "lora_alpha", "alpha"},
        {"train.weights.targets", "target_modules", "lora_target_modules", "network_args"},
        {"train.gradient_checkpointing", "use_gradient_checkpointing"},
        {"train.max_grad_norm", "max_norm", "clip_grad_norm", "gradient_clip_val"},
        {"train.ema", "use_ema", "ema_decay"},
        {"train.reference", "ref_model", "reference_model", "unet_ref", "model_ref"},
        {"objective.method", "loss_type", "train_method", "loss", "trainer"},
        {"objective.beta", "beta_dpo", "dpo_beta"},
        {"optimizer.name", "optimizer_type", "optim", "use_8bit_adam", "use_adafactor"},
        {"optimizer.beta1", "adam_beta1"},
        {"optimizer.beta2", "adam_beta2"},
        {"optimizer.eps", "adam_epsilon"},
        {"optimizer.weight_decay", "adam_weight_decay"},
        {"learning_rate", "lr", "unet_lr", "base_lr", "scale_lr"},
        {"learning_rate.schedule", "lr_scheduler", "lr_scheduler_type"},
        {"learning_rate.warmup_steps", "lr_warmup_steps", "warmup_ratio", "lr_warmup_ratio"},
        {"learning_rate.cycles", "lr_num_cycles", "lr_scheduler_num_cycles"},
        {"learning_rate.power", "lr_power", "lr_scheduler_power"},
        {"checkpoint.every", "checkpointing_steps", "save_steps", "save_every_n_steps", "save_every_n_epochs"},
        {"checkpoint.keep", "checkpoints_total_limit", "save_total_limit"},
        {"samples.prompts", "validation_prompt", "validation_prompts", "sample_prompts"},
        {"samples.every", "validation_steps", "sample_every_n_steps", "sample_every_n_epochs"},
        {"samples.sampler", "sample_sampler", "noise_scheduler", "validation_scheduler"},
        {"evaluate.every", "eval_steps"},
        {"export.formats", "save_model_as"},
    };

    private static final Map<String, String> OURS = ours();

    private ForeignKeys() {}

    private static Map<String, String> ours() {
        Map<String, String> ours = new LinkedHashMap<>();
        for (String[] row : TABLE) {
            for (int i = 1; i < row.length; i++) {
                ours.put(row[i], row[0]);
            }
        }
        return ours;
    }

    /// Our key for a name of another trainer, such as `train.weights.alpha` for `lora_alpha`.
    static Optional<String> ours(String name) {
        return Optional.ofNullable(OURS.get(name.replace('-', '_')));
    }

    /// All of our keys that the table names.
    static Iterable<String> targets() {
        return OURS.values();
    }
}
