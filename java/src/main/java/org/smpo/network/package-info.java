/// Networks with their weights on a device: [UNet], [Vae], [TextEncoder] and [ClipModel], one native model each.
///
/// Prompt and image preprocessing stand beside them: [ClipTokenizer], [PromptEncoder] and [ClipImageProcessor].
package org.smpo.network;
