package org.smpo.checkpoint;

/// The class of a component and its parsed config.
///
/// @param library Library that has the class: `diffusers`, `transformers`, or the pipeline's own
/// @param className Name of the class, such as `UNet2DConditionModel`
/// @param config Parsed `config.json`
record ComponentConfig(String library, String className, ModelConfig config) {}
