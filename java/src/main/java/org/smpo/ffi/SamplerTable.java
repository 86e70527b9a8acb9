package org.smpo.ffi;

import java.util.List;
import java.util.Objects;

/// A sampling run as a table of numbers, one row per UNet evaluation. Immutable.
///
/// @param initialNoiseScale what the standard normal is multiplied by to give the first latents
/// @param rows in the order in which they are taken
public record SamplerTable(double initialNoiseScale, List<Row> rows) {

    /// @throws InvalidArgumentException when there are no rows, or more than the library takes
    public SamplerTable {
        rows = List.copyOf(rows);
        if (rows.isEmpty() || rows.size() > Native.SAMPLER_MAX_STEPS) {
            throw new InvalidArgumentException(
                    "SamplerTable: rows: expected 1 to " + Native.SAMPLER_MAX_STEPS + ", got " + rows.size(), 0);
        }
    }

    /// One row, over latents x, saved latents s and history h:
    ///
    /// ```
    /// out  = UNet(inputScale x, timestep), guided
    /// h[0] = historySample x + historyOutput out       // earlier entries move to h[1], h[2], h[3]
    /// x'   = sample x + saved s + sum over j of history[j] h[j] + noise N(0, 1)
    /// saves: s = x;  not keeps: h[0] is taken out of the history again;  x = x'
    /// ```
    ///
    /// @param history up to four coefficients, the newest entry's first
    public record Row(
            boolean saves,
            boolean keeps,
            double timestep,
            double inputScale,
            double historySample,
            double historyOutput,
            double sample,
            double saved,
            double noise,
            List<Double> history) {

        /// @throws InvalidArgumentException when there are more than four coefficients
        public Row {
            history = List.copyOf(Objects.requireNonNull(history, "history"));
            if (history.size() > Native.SAMPLER_MAX_HISTORY) {
                throw new InvalidArgumentException(
                        "SamplerTable: history: expected at most " + Native.SAMPLER_MAX_HISTORY + " entries, got "
                                + history.size(),
                        0);
            }
        }

        void write(Struct row) {
            row.set("size", (int) Native.SAMPLER_ROW.byteSize());
            row.set("saves", saves ? 1 : 0);
            row.set("keeps", keeps ? 1 : 0);
            row.set("timestep", timestep);
            row.set("input_scale", inputScale);
            row.set("history_sample", historySample);
            row.set("history_output", historyOutput);
            row.set("sample", sample);
            row.set("saved", saved);
            row.set("noise", noise);
            for (int i = 0; i < history.size(); i++) {
                row.set("history", i, history.get(i));
            }
        }
    }
}
