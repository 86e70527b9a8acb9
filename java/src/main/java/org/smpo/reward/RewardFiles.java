package org.smpo.reward;

import java.io.IOException;
import org.smpo.ffi.Engine;
import org.smpo.io.Precision;

/// The files of a reward model that is not loaded.
interface RewardFiles {
    /// Returns the digest of the reward that [#open] returns, without loading its weights into an engine.
    ///
    /// @see Reward#digest()
    String digest() throws IOException;

    /// Returns the preprocessing of the reward that [#open] returns.
    ///
    /// @see Reward#preprocessing()
    String preprocessing(Precision precision) throws IOException;

    /// Loads the reward on an engine, which stays the caller's.
    ///
    /// @throws IOException when a file is missing, unreadable or not supported
    Reward open(Engine engine, Precision precision) throws IOException;
}
