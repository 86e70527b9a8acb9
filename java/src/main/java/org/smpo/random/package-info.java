/// Counter-based random numbers, the same as the native engine's: a pure function of (seed, purpose, step, item).
package org.smpo.random;
