/// Networks with their weights on a device: [UNet], [Vae], [TextEncoder] and [ClipModel], one native model each.
///
/// Preprocessing of prompts and images: [ClipTokenizer], [PromptEncoder] and [ClipImageProcessor].
package org.smpo.network;
