package org.smpo.ffi;

/// The cost of an inversion, or of rollouts.
///
/// @param batches Number of batched UNet evaluations
/// @param evaluations Number of UNet evaluations, counted per image
/// @param seconds Elapsed time on the host's clock, in seconds
/// @param unetSeconds Part of `seconds` spent inside the UNet; on a GPU, the time to queue its work
public record InversionReport(int batches, long evaluations, double seconds, double unetSeconds) {
    static InversionReport of(Struct report) {
        return new InversionReport(
                report.getInt("batches"),
                report.getLong("evaluations"),
                report.getDouble("seconds"),
                report.getDouble("unet_seconds"));
    }
}
