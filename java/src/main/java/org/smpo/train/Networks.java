package org.smpo.train;

import java.util.Objects;
import org.smpo.ffi.NativeModel;

/// The UNets of a step. They stay the caller's.
///
/// @param policy what is trained: every weight of it, or its adapters
/// @param reference frozen; null: the policy with its adapters off
/// @param inverter what inverts; null: the policy
public record Networks(NativeModel policy, NativeModel reference, NativeModel inverter) {
    public Networks {
        Objects.requireNonNull(policy, "policy");
    }
}
