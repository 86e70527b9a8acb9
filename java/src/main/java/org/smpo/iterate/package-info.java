/// Rounds of tuning on a model's own images: generate, score, make pairs, train, and again with the
/// tuned model. Every stage is the work of another package and leaves the files that its command leaves.
package org.smpo.iterate;
