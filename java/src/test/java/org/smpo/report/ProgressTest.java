package org.smpo.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/// Output of progress, with a clock that the test controls.
class ProgressTest {
    private final StringWriter printed = new StringWriter();
    private Instant now = Instant.EPOCH;

    private Progress.Display display(boolean redraws, int columns) {
        return new Progress.Display(new PrintWriter(printed), redraws, columns, Duration.ofSeconds(10), () -> now);
    }

    private void pass(double seconds) {
        now = now.plusNanos((long) (seconds * 1e9));
    }

    private String take() {
        String text = printed.toString().replace(System.lineSeparator(), "\n");
        printed.getBuffer().setLength(0);
        return text;
    }

    @Test
    void aTerminalGetsABarThatRedrawsItself() {
        Progress progress = new Progress(display(true, 80), "train", "step", 0, 200);
        assertThat(take()).isEmpty();
        progress.to(0);
        assertThat(take()).isEqualTo("\rtrain [>                   ]   0/200   0%");
        pass(100);
        progress.to(50, "loss 0.6312");
        assertThat(take()).isEqualTo("\rtrain [=====>              ]  50/200  25%  2.0 s/step  5:00 left  loss 0.6312");
        pass(0.05);
        progress.to(51);
        assertThat(take()).as("too soon to redraw").isEmpty();
        pass(299.95);
        progress.to(200);
        assertThat(take())
                .as("what stood there is covered")
                .isEqualTo("\rtrain [====================] 200/200 100%  2.0 s/step  in 6:40" + " ".repeat(15));
        progress.close();
        progress.close();
        assertThat(take()).isEqualTo("\n");
    }

    @Test
    void elsewhereOccasionalLines() {
        try (Progress progress = new Progress(display(false, 80), "score", "image", 0, 1000)) {
            progress.to(1);
            assertThat(take()).isEqualTo("score    1/1000   0%\n");
            pass(9.9);
            progress.to(100);
            assertThat(take()).isEmpty();
            pass(0.1);
            progress.to(200);
            assertThat(take()).isEqualTo("score  200/1000  20%  20 image/s  0:40 left\n");
            pass(5);
            progress.to(1000);
            assertThat(take()).as("the end is always said").isEqualTo("score 1000/1000 100%  67 image/s  in 0:15\n");
        }
        assertThat(take()).as("and not twice").isEmpty();
    }

    @Test
    void nothingButTextWithoutATerminal() {
        try (Progress progress = new Progress(display(false, 80), "train", "step", 0, 3)) {
            for (int i = 0; i <= 3; i++) {
                progress.to(i, "loss 1");
                progress.println("smpo: winners got worse");
                pass(20);
            }
        }
        assertThat(take()).doesNotContain("\r", "\u001b").contains("smpo: winners got worse\n");
    }

    @Test
    void anInterruptedTaskShowsWhereItEnded() {
        try (Progress progress = new Progress(display(false, 80), "train", "step", 0, 100)) {
            progress.to(1);
            pass(2);
            progress.to(4);
            take();
        }
        assertThat(take()).isEqualTo("train   4/100   4%  2.0 step/s  0:48 left\n");
    }

    @Test
    void theRateOfAResumedRunCoversItsOwnWork() {
        Progress progress = new Progress(display(false, 80), "train", "step", 100, 200);
        pass(100);
        progress.to(110);
        assertThat(take()).isEqualTo("train 110/200  55%  10.0 s/step  15:00 left\n");
        pass(100_000);
        progress.to(111);
        assertThat(take()).contains("224:58:20 left");
    }

    @Test
    void withoutATotalThereIsNoTimeLeft() {
        Progress progress = new Progress(display(true, 80), "read", "file", 0, 0);
        progress.to(1);
        assertThat(take()).isEqualTo("\rread 1 file");
        pass(1);
        progress.to(5);
        assertThat(take()).isEqualTo("\rread 5 files  5.0 file/s");
        progress.total(10);
        pass(1);
        progress.to(5);
        assertThat(take()).contains(" 5/10  50%  2.5 file/s  0:02 left");
    }

    @Test
    void aLineAboveTheBarLeavesTheBarIntact() {
        Progress progress = new Progress(display(true, 80), "train", "step", 0, 2);
        progress.println("before");
        assertThat(take()).isEqualTo("before\n");
        progress.to(1);
        String bar = take();
        progress.println("smpo: a warning");
        assertThat(take()).isEqualTo("\r" + " ".repeat(bar.length() - 1) + "\rsmpo: a warning\n" + bar);
    }

    @Test
    void aNarrowTerminalCutsTheLine() {
        Progress progress = new Progress(display(true, 20), "train", "step", 0, 2);
        progress.to(1, "a long note");
        assertThat(take()).isEqualTo("\rtrain [==========> ");
        progress.to(2, "a long note");
        assertThat(take()).hasSize(1 + 19);
    }

    @ParameterizedTest
    @CsvSource({
        "true, '', xterm, true",
        "true, 1, xterm, true",
        "true, '', dumb, false",
        "false, '', xterm, false",
    })
    void whereItRedraws(boolean terminal, String noColor, String term, boolean redraws) {
        PrintWriter out = new PrintWriter(printed);
        Progress.Display display = Progress.Display.of(out, terminal, Map.of("NO_COLOR", noColor, "TERM", term), "");
        assertThat(display.redraws()).isEqualTo(redraws);
        assertThat(display.columns()).isEqualTo(80);
        assertThat(columns(Map.of(), "50 120")).isEqualTo(120);
        assertThat(columns(Map.of("COLUMNS", "132"), "50 120")).isEqualTo(132);
        assertThat(columns(Map.of("COLUMNS", "wide"), "")).isEqualTo(80);
        assertThat(columns(Map.of(), "0 0")).isEqualTo(80);
    }

    private int columns(Map<String, String> environment, String size) {
        return Progress.Display.of(new PrintWriter(printed), true, environment, size)
                .columns();
    }
}
