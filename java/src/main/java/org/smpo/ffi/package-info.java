/// The border between Java and the native engine: everything that crosses it, and nothing else.
///
/// Reading order: `native/include/smpo.h` is the contract. [Native] binds it one to one and is visible
/// in this package only. [Abi] finds the library and refuses one that was built from another header.
/// [Errors] turns a status into a typed exception. [Handle] owns native memory. The rest of the program
/// uses [Engine], which is a session, and [DeviceTensor].
///
/// **Ownership.** Java owns host memory; the library owns device memory. No address crosses as a number.
/// The code that opens a [Handle] closes it; closing an [Engine] closes everything that belongs to it.
/// If a handle becomes garbage without being closed, its engine's owner thread reclaims it, and reports
/// it if assertions are enabled or `-Dsmpo.leaks=true` is given.
///
/// **Threads.** An engine and its tensors belong to the platform thread that opened the engine; any
/// other thread gets a [NotOwnerThreadException]. The exception is [Engine#cancel()]. The static queries
/// ([LibraryInfo#read()] and the like) may be called from any thread.
///
/// **Errors.** Every refusal by the engine throws a subclass of [EngineException], whichever side of the
/// border detects it. A `null` argument throws a [NullPointerException]; a missing or incompatible
/// library throws a [LinkageError].
package org.smpo.ffi;
