package org.smpo.reward;

import java.io.IOException;
import org.smpo.ffi.Engine;
import org.smpo.io.Precision;

/// Opens reward models by name.
public final class Rewards {
    private Rewards() {}

    /// Loads a reward in fp32 on an engine, which stays the caller's.
    ///
    /// For programs that embed smpo.
    ///
    /// @param text `[NAME=][KIND:]PATH`, for example `pickscore:models/PickScore_v1`
    /// @throws IllegalArgumentException when nothing is at the path, the kind is unknown, or none is given
    ///     and the files do not show it
    /// @throws IOException when a file is missing, unreadable or not supported
    public static Reward open(Engine engine, String text) throws IOException {
        return RewardSource.parse(text).open(engine, Precision.FP32);
    }
}
