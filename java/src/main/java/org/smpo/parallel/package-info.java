/// Several processes that work on one task: [org.smpo.parallel.World] says which place a process has,
/// [org.smpo.parallel.Peers] exchanges data with the others.
package org.smpo.parallel;
