/// Preference objectives with their parameters and traits, their additions, and smoothed preference labels:
/// pure math in double precision, JDK only.
package org.smpo.objective;
