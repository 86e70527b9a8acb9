/// Images from prompts: [TextToImage] runs a whole Stable Diffusion model, [PromptFile] reads lists of prompts.
package org.smpo.generate;
