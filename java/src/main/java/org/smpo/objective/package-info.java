/// The pair losses with value and gradient, and smoothed preference labels: pure math in double precision, JDK
/// only.
package org.smpo.objective;
