package org.smpo.recipe;

/// Conditions on the components of a record, with one form of message: `steps: expected 1 or more, got 0`.
final class Check {
    private Check() {}

    /// A failed condition with the YAML key of its component, so that the reader can name the place.
    static final class Failed extends IllegalArgumentException {
        private static final long serialVersionUID = 1L;

        private final String key;
        private final String detail;

        private Failed(String key, String detail) {
            super(key + ": " + detail);
            this.key = key;
            this.detail = detail;
        }

        /// Key relative to the record's mapping, such as `train.steps`.
        String key() {
            return key;
        }

        String detail() {
            return detail;
        }
    }

    static void that(boolean condition, String key, String expected, Object found) {
        if (!condition) {
            throw new Failed(key, "expected " + expected + ", got " + found);
        }
    }

    /// Requires that two keys agree; `advice` is the message, with what to do.
    static void agreement(boolean condition, String key, String advice) {
        if (!condition) {
            throw new Failed(key, advice);
        }
    }

    static void atLeast(long smallest, String key, long found) {
        that(found >= smallest, key, "an integer of " + smallest + " or more", found);
    }

    static void positive(String key, double found) {
        that(found > 0 && found < Double.POSITIVE_INFINITY, key, "a number above 0", found);
    }

    static void notNegative(String key, double found) {
        that(found >= 0 && found < Double.POSITIVE_INFINITY, key, "a number of 0 or more", found);
    }

    /// Requires a scale of classifier-free guidance, of which 1 is none.
    static void guidance(double found) {
        that(found >= 1 && found < Double.POSITIVE_INFINITY, "guidance_scale", "a number of 1 or more", found);
    }

    /// Requires a number in [0, 1].
    static void unit(String key, double found) {
        that(found >= 0 && found <= 1, key, "a number from 0 to 1", found);
    }

    /// Requires a number in [0, 1).
    static void belowOne(String key, double found) {
        that(found >= 0 && found < 1, key, "a number from 0 to below 1", found);
    }
}
