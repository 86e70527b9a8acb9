package org.smpo.train;

import java.util.Objects;
import org.smpo.ffi.NativeModel;

/// The UNets of a step. The caller keeps ownership.
///
/// @param policy the network in training: all of its weights, or its adapters
/// @param reference the frozen reference; null: the policy with its adapters off
/// @param inverter the network that inverts or rolls out; null: the policy
public record Networks(NativeModel policy, NativeModel reference, NativeModel inverter) {
    public Networks {
        Objects.requireNonNull(policy, "policy");
    }
}
