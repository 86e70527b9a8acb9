/// Training: the preference step, the trainer around it, checkpoints, health.
///
/// [org.smpo.train.PreferenceStep] is the method itself and the place to begin reading.
package org.smpo.train;
