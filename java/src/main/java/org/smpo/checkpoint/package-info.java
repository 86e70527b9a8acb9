/// Model files: diffusers folders, single-file checkpoints and LoRA files, with their configs and weights.
///
/// [ModelFolder] (a diffusers folder) and [SingleFile] (a CompVis or sgm checkpoint) both open to [ModelFiles]: typed
/// configs ([UNetConfig], [VaeConfig], [ClipTextConfig], [ClipVisionConfig]) and, by diffusers' parameter names, the
/// [Weight]s, which stay in the memory-mapped files until they are read. Either layout can be written back as either.
/// [PeftFile] and [KohyaFile] read and write [Lora] adapters.
///
/// Nothing here needs the native library, so `inspect` and `convert` work where it does not load.
package org.smpo.checkpoint;
