package org.smpo.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.Writer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.smpo.io.Visible;

/// A writer that shows the control characters of strangers instead of obeying them: whatever a verb
/// prints, a name in a data set cannot move the cursor, hide text or set the title of the window.
///
/// What smpo itself prints passes: picocli's colours, and a carriage return at the beginning of what is
/// printed at once, with which a progress bar redraws itself.
final class TerminalWriter extends Writer {
    /// Colours and styles of picocli's default scheme, none of which hides text.
    private static final Pattern STYLE = Pattern.compile("\u001b\\[(0|1|2[0-9]|3[1-6]|39|4|24)m");

    private static final Pattern LINE_END = Pattern.compile("\r\n");

    private final PrintWriter out;

    private TerminalWriter(PrintWriter out) {
        this.out = out;
    }

    /// Wraps a writer; a wrapped one stays as it is.
    static PrintWriter over(PrintWriter out) {
        return new PrintWriter(new TerminalWriter(out), true);
    }

    @Override
    public void write(char[] buffer, int offset, int length) {
        String text = LINE_END.matcher(new String(buffer, offset, length)).replaceAll("\n");
        int from = 0;
        int end = text.length();
        if (text.startsWith("\r")) {
            out.write('\r');
            from = 1;
        }
        boolean redraws = from == 1 && text.endsWith("\r") && end > 1;
        end = redraws ? end - 1 : end;
        Matcher style = STYLE.matcher(text).region(from, end);
        while (style.find()) {
            out.write(Visible.of(text.substring(from, style.start())));
            out.write(style.group());
            from = style.end();
        }
        out.write(Visible.of(text.substring(from, end)));
        if (redraws) {
            out.write('\r');
        }
    }

    @Override
    public void flush() {
        out.flush();
    }

    @Override
    public void close() throws IOException {
        out.close();
    }
}
