package org.smpo.report;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// The progress of a long task: a bar that redraws itself on a terminal, and occasional plain lines
/// elsewhere.
///
/// ```text
/// train    [=======>            ]  74/200  37%  2.4 s/step  5:00 left  loss 0.6312
/// ```
///
/// The rate covers the work since the start (or since the resumed position), and the remaining time follows
/// from it. Thread-safe.
public final class Progress implements AutoCloseable {
    private static final int BAR = 20;
    private static final Duration REDRAW = Duration.ofMillis(100);
    private static final int SMALL_COUNT = 10;

    /// An output for progress.
    ///
    /// @param out writer of the output; flushed, never closed
    /// @param redraws whether the output is a terminal that can redraw a line
    /// @param columns width of the terminal; longer lines are cut
    /// @param interval time between two plain lines
    /// @param clock clock for rates and intervals
    public record Display(PrintWriter out, boolean redraws, int columns, Duration interval, InstantSource clock) {
        private static final Path STANDARD_ERROR = Path.of("/proc/self/fd/2");
        private static final int DEFAULT_COLUMNS = 80;
        private static final Duration DEFAULT_INTERVAL = Duration.ofSeconds(10);

        private static final Path TERMINAL = Path.of("/dev/tty");
        private static final Pattern SIZE = Pattern.compile("\\d+ ([1-9]\\d{1,3})");

        /// Returns the display of the standard error stream. It redraws when that stream is a terminal and
        /// `TERM` is not `dumb`. The width is that of the terminal, or `COLUMNS` if that is set.
        public static Display ofStandardError(PrintWriter out) {
            boolean terminal = standardErrorIsTerminal();
            return of(out, terminal, System.getenv(), terminal ? terminalSize() : "");
        }

        /// Rows and columns of the terminal as `stty size` prints them; empty when that fails.
        private static String terminalSize() {
            try {
                Process stty = new ProcessBuilder("stty", "size")
                        .redirectInput(TERMINAL.toFile())
                        .redirectError(ProcessBuilder.Redirect.DISCARD)
                        .start();
                return new String(stty.getInputStream().readAllBytes(), StandardCharsets.US_ASCII).strip();
            } catch (IOException e) {
                return "";
            }
        }

        /// Java reports only whether standard input and output are a console; Linux reports each stream.
        private static boolean standardErrorIsTerminal() {
            try {
                String target = Files.readSymbolicLink(STANDARD_ERROR).toString();
                return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty");
            } catch (IOException | UnsupportedOperationException e) {
                return System.console().isTerminal();
            }
        }

        /// @param size rows and columns of the terminal; empty when unknown
        static Display of(PrintWriter out, boolean terminal, Map<String, String> environment, String size) {
            boolean plain = environment.getOrDefault("TERM", "").equals("dumb");
            Matcher measured = SIZE.matcher(size);
            String columns = environment.getOrDefault("COLUMNS", measured.matches() ? measured.group(1) : "");
            return new Display(
                    out,
                    terminal && !plain,
                    columns.matches("[1-9]\\d{1,3}") ? Integer.parseInt(columns) : DEFAULT_COLUMNS,
                    DEFAULT_INTERVAL,
                    InstantSource.system());
        }
    }

    private final Display display;
    private final String task;
    private final String unit;
    private final long first;
    private final Instant started;

    private long total;
    private long done;
    private String note = "";
    private Instant shown;
    private int width;
    private boolean changed = true;
    private boolean closed;

    /// Starts a task; nothing is shown before the first [#to].
    ///
    /// @param task name of the task, such as `train`
    /// @param unit unit of the progress in the singular, such as `step`
    /// @param first number of units that an earlier process has done
    /// @param total number of units; 0 when unknown
    public Progress(Display display, String task, String unit, long first, long total) {
        this.display = display;
        this.task = task;
        this.unit = unit;
        this.first = first;
        this.total = total;
        this.done = first;
        this.started = display.clock().instant();
        this.shown = Instant.MIN;
    }

    /// Sets the number of units, when it becomes known only after the start.
    public synchronized void total(long units) {
        total = units;
    }

    /// Reports the number of finished units, with a note on the last of them.
    public synchronized void to(long units, String lastNote) {
        done = units;
        note = lastNote;
        changed = true;
        Instant now = display.clock().instant();
        Duration pause = display.redraws() ? REDRAW : display.interval();
        if (done == total || shown.equals(Instant.MIN) || !now.isBefore(shown.plus(pause))) {
            show(now);
        }
    }

    /// Reports the number of finished units.
    public void to(long units) {
        to(units, "");
    }

    /// Prints a separate line, such as a warning, above the bar.
    public synchronized void println(String line) {
        if (display.redraws() && width > 0) {
            display.out().print("\r" + " ".repeat(width) + "\r");
            width = 0;
        }
        display.out().println(line);
        display.out().flush();
        if (display.redraws() && !shown.equals(Instant.MIN) && !closed) {
            show(display.clock().instant());
        }
    }

    /// Shows the final state and ends the line.
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        if (changed && !shown.equals(Instant.MIN)) {
            show(display.clock().instant());
        }
        if (display.redraws() && width > 0) {
            display.out().println();
            display.out().flush();
        }
    }

    private void show(Instant now) {
        shown = now;
        changed = false;
        String line = line(now);
        if (!display.redraws()) {
            display.out().println(line);
        } else {
            // The last column stays free, since some terminals wrap after writing to it.
            String cut = line.substring(0, Math.min(line.length(), display.columns() - 1));
            display.out().print("\r" + cut + " ".repeat(Math.max(0, width - cut.length())));
            width = cut.length();
        }
        display.out().flush();
    }

    private String line(Instant now) {
        StringBuilder line = new StringBuilder(task).append(' ');
        if (total > 0) {
            if (display.redraws()) {
                line.append(bar()).append(' ');
            }
            String all = Long.toString(total);
            line.append(" "
                            .repeat(Math.max(
                                    0, all.length() - Long.toString(done).length())))
                    .append(done)
                    .append('/')
                    .append(all)
                    .append(String.format(Locale.ROOT, " %3d%%", percent()));
        } else {
            line.append(done).append(' ').append(unit).append(done == 1 ? "" : "s");
        }
        double seconds = Duration.between(started, now).toNanos() / 1e9;
        long since = done - first;
        if (since > 0 && seconds > 0) {
            line.append("  ").append(rate(since / seconds));
            if (total > 0) {
                line.append("  ")
                        .append(
                                done < total
                                        ? clock((total - done) * seconds / since) + " left"
                                        : "in " + clock(seconds));
            }
        }
        return note.isEmpty() ? line.toString() : line.append("  ").append(note).toString();
    }

    private int percent() {
        return (int) Math.clamp(100.0 * done / total, 0, 100);
    }

    private String bar() {
        int filled = (int) Math.clamp((double) BAR * done / total, 0, BAR);
        String head = filled < BAR ? ">" : "";
        return "[" + "=".repeat(filled) + head + " ".repeat(BAR - filled - head.length()) + "]";
    }

    /// Returns units per second where that is a readable number, else seconds per unit.
    private String rate(double perSecond) {
        if (perSecond >= SMALL_COUNT) {
            return String.format(Locale.ROOT, "%.0f %s/s", perSecond, unit);
        }
        if (perSecond >= 1) {
            return String.format(Locale.ROOT, "%.1f %s/s", perSecond, unit);
        }
        return String.format(Locale.ROOT, "%.1f s/%s", 1 / perSecond, unit);
    }

    /// Returns a duration such as `1:05:09` or `5:09`.
    private static String clock(double seconds) {
        long whole = Math.round(seconds);
        long minutes = whole / 60;
        return minutes < 60
                ? String.format(Locale.ROOT, "%d:%02d", minutes, whole % 60)
                : String.format(Locale.ROOT, "%d:%02d:%02d", minutes / 60, minutes % 60, whole % 60);
    }
}
