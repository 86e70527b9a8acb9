package org.smpo.train;

import java.util.ArrayList;
import java.util.List;
import org.smpo.data.BadPair;
import org.smpo.parallel.Frames;
import org.smpo.parallel.Peers;

/// The pairs of one optimizer step on all processes, by name.
///
/// @param ids names of the pairs, in the order of the global batch
/// @param timesteps timestep of each pair's winner
/// @param skipped names of the records that could not be read
@SuppressWarnings("ArrayRecordComponent") // a message, never compared
record StepPairs(List<String> ids, int[] timesteps, List<String> skipped) {
    /// Puts the shares of all processes together.
    ///
    /// @param own pairs of this process
    static StepPairs of(PairStream.Batch own, Peers peers) {
        List<String> ids = new ArrayList<>();
        List<Integer> timesteps = new ArrayList<>();
        List<String> skipped = new ArrayList<>();
        for (byte[] bytes : peers.exchange(message(own))) {
            Frames.read(bytes, in -> {
                for (int left = in.readInt(); left > 0; left--) {
                    ids.add(Frames.text(in));
                    timesteps.add(in.readInt());
                }
                for (int left = in.readInt(); left > 0; left--) {
                    skipped.add(Frames.text(in));
                }
                return null;
            });
        }
        return new StepPairs(ids, timesteps.stream().mapToInt(Integer::intValue).toArray(), skipped);
    }

    private static byte[] message(PairStream.Batch own) {
        return Frames.write(out -> {
            out.writeInt(own.ids().size());
            for (int pair = 0; pair < own.ids().size(); pair++) {
                Frames.text(out, own.ids().get(pair));
                out.writeInt(own.latents().timesteps()[pair]);
            }
            out.writeInt(own.bad().size());
            for (BadPair bad : own.bad()) {
                Frames.text(out, bad.id());
            }
        });
    }

    /// Whether none of the pairs could be read.
    boolean isEmpty() {
        return ids.isEmpty();
    }

    /// Number of pairs that could be read.
    int count() {
        return ids.size();
    }
}
