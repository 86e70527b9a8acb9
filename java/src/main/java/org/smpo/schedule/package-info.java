/// Noise schedules, inversion plans, sampler plans and timestep draws: pure math in double precision, immutable, JDK
/// only.
package org.smpo.schedule;
