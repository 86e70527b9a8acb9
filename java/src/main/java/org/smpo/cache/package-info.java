/// Values that do not change during training, computed once: VAE posteriors and text embeddings.
///
/// [Cache] is the store. The name of an entry is the digest of everything its value depends on ([CacheKey]);
/// its file carries a digest of the value, and an entry that does not match is computed again. [MomentCache]
/// and [TextCache] define what is stored under which key.
package org.smpo.cache;
