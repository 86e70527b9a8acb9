/// Training. [org.smpo.train.PreferenceStep] is the training method; start reading there.
///
/// ```text
/// Trainer          the loop over steps
///   Run            the folder: lock, manifest, logs, checkpoints
///   Policy         the networks in training, the optimizer, the export
///   PairStream     the source of pairs; StoredPairs reads them from files
///   PreferenceStep from pairs to gradients
/// ```
package org.smpo.train;
