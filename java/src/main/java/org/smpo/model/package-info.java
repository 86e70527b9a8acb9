/// The model files that people have, and what they hold.
///
/// [ModelFolder] (a diffusers folder) and [SingleFile] (a CompVis or sgm checkpoint) both open to [ModelFiles]:
/// typed configs ([UNetConfig], [VaeConfig], [ClipTextConfig], [ClipVisionConfig]) and, by diffusers' parameter
/// names, the [Weight]s, which stay in the memory-mapped files until somebody reads them. Either can be written
/// back as either. [PeftFile] and [KohyaFile] read and write [Lora] adapters.
package org.smpo.model;
