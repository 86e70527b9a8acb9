package org.smpo.cli;

/// Help texts of options that several verbs have, each with its own default or outside a common group.
final class OptionTexts {
    static final String BATCH_IMAGES = "Number of images per batch (default: ${DEFAULT-VALUE})";
    static final String CONFIG = "Diffusers folder that supplies the configs, tokenizers and scheduler of a single-file"
            + " checkpoint or the UNet config of a LoRA's base model";
    static final String HEAD_FEATURES = "Features of an image: ${COMPLETION-CANDIDATES}; both is the products of the"
            + " embeddings of image and caption, followed by the embedding of the image (default: ${DEFAULT-VALUE})";
    static final String HUMAN_PAIRS = "Pairs between which people chose";
    static final String JSON = "Print one JSON object instead of text, with sizes in bytes";
    static final String L2 = "Penalty on the squared weights of the logistic regression (default: ${DEFAULT-VALUE})";
    static final String MAX_BAD_FRACTION =
            "Largest tolerated fraction of unreadable pairs, from 0 to 1 (default: ${DEFAULT-VALUE})";
    static final String MODEL =
            "PATH[+LORA[:WEIGHT]][~NEGATIVE]: a diffusers folder, a single-file checkpoint, a run folder or the"
                    + " OWNER/NAME of a model in the Hugging Face cache, optionally with LoRA files and a negative"
                    + " network: PATH[+LORA[:WEIGHT]], or +LORA[:WEIGHT] for the model's own weights with these LoRA"
                    + " files";
    static final String PRECISION =
            "Precision of weights and activations: ${COMPLETION-CANDIDATES} (default: ${DEFAULT-VALUE})";
    static final String PRECISION_OR_AUTO =
            "Precision of weights and activations: ${COMPLETION-CANDIDATES}; auto is bf16 on a GPU and fp32 on the CPU"
                    + " (default: ${DEFAULT-VALUE})";
    static final String PREDICTION_TYPE = "Prediction type of a single-file checkpoint that does not record it:"
            + " ${COMPLETION-CANDIDATES} (default for SD 2: as its weights suggest)";
    static final String PROMPT_FILE = "File of prompts: one per line; .jsonl or .json with prompt, negative_prompt,"
            + " seed and category; or .tsv or .csv with Prompt and Category, like PartiPrompts";
    static final String PROCESSOR =
            "Folder with preprocessor_config.json and tokenizer for a reward model that has none (ImageReward:"
                    + " vocab.txt)";
    static final String SET = "Recipe key to override, such as train.steps=100; repeatable";
    static final String SPLIT = "Split to take from a folder with several, such as validation (default: train)";
    static final String VAE =
            "Folder or file whose VAE replaces that of a single-file checkpoint, or is taken for one without VAE";
    static final String CACHE = "Directory for cached latents and text embeddings (default: ~/.cache/smpo/cache)";

    private OptionTexts() {}
}
