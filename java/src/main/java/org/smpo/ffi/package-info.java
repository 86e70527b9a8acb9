/// The border between Java and the native engine: everything that crosses it, and nothing else.
///
/// Reading order: `native/include/smpo.h` is the contract; [Native] binds it one to one and is seen by this
/// package only; [Abi] finds the library and refuses one that was built from another header; [Errors] turns a
/// status into a typed exception; [Handle] owns native memory. What the rest of the program uses is [Engine], a
/// session, and [DeviceTensor].
///
/// **Ownership.** Java owns host memory, the library owns device memory. No address crosses as a number. Each
/// [Handle] is closed by whoever opened it; closing an [Engine] closes all that belongs to it. A handle that
/// becomes garbage unclosed is reclaimed by its engine's owner thread, and reported while assertions are enabled
/// or `-Dsmpo.leaks=true` is given.
///
/// **Threads.** An engine and its tensors belong to the platform thread that opened the engine; any other thread
/// gets a [NotOwnerThreadException]. The exception is [Engine#cancel()]. The static queries ([LibraryInfo#read()]
/// and the like) may be called from any thread.
///
/// **Errors.** Everything that the engine refuses is a subclass of [EngineException], whichever side of the border
/// noticed. `null` is a [NullPointerException], and a library that is missing or does not fit a [LinkageError].
package org.smpo.ffi;
