/// Whether the engine can run here, in words: what `smpo doctor` and `smpo --version` show. The one package
/// besides `model` and `train` that asks `ffi`, so that `cli` need not.
package org.smpo.doctor;
