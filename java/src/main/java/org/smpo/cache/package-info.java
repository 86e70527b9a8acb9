/// Everything that does not train, computed once: VAE moments, text embeddings, scores.
///
/// [Cache] is the store: an entry's name is the digest of all that its value depends on ([CacheKey]), its file
/// carries a digest of the value, and one that does not match is computed again. [MomentCache], [TextCache] and
/// [ScoreCache] say what is stored under which key.
package org.smpo.cache;
