package org.smpo.recipe;

/// Conditions on the components of a record, with one form of message: `steps: expected 1 or more, got 0`.
final class Check {
    private Check() {}

    /// What a constructor objects to, with the key of the component, as YAML has it, so that a reader can say
    /// where it stands.
    static final class Failed extends IllegalArgumentException {
        private static final long serialVersionUID = 1L;

        private final String key;
        private final String detail;

        private Failed(String key, String detail) {
            super(key + ": " + detail);
            this.key = key;
            this.detail = detail;
        }

        /// From the record's own mapping down, such as `train.steps`.
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

    /// For what two keys say together; `advice` says what to do.
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

    /// From 0 to 1, both included.
    static void unit(String key, double found) {
        that(found >= 0 && found <= 1, key, "a number from 0 to 1", found);
    }

    /// From 0, included, to 1, excluded.
    static void belowOne(String key, double found) {
        that(found >= 0 && found < 1, key, "a number from 0 to below 1", found);
    }
}
