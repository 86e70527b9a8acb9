package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

final class VisibleTest {
    @Test
    void controlsBecomeEscapesAndTextStays() {
        assertThat(Visible.of("a\u001b[2Jb\u0000\u0007\u007f\u009b\r"))
                .isEqualTo("a\\u001b[2Jb\\u0000\\u0007\\u007f\\u009b\\u000d");
        assertThat(Visible.of("\u202egnp.\u2066\u200f\u200b\u2028\ufeff"))
                .isEqualTo("\\u202egnp.\\u2066\\u200f\\u200b\\u2028\\ufeff");
        String text = "ein Fuß, 猫, кот, קיטור, 🔥,\ttwo\nlines — “quoted”";
        assertThat(Visible.of(text)).isEqualTo(text);
    }
}
