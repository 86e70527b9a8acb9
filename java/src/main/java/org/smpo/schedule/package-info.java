/// Noise schedules, forward diffusion, inversion plans, sampler plans and timestep sampling: pure math in
/// double precision, immutable, JDK only.
package org.smpo.schedule;
