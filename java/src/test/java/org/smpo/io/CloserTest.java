package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

final class CloserTest {
    private final List<String> closed = new ArrayList<>();
    private final Closer closer = new Closer();

    private AutoCloseable resource(String name, Exception failure) {
        return () -> {
            closed.add(name);
            if (failure != null) {
                throw failure;
            }
        };
    }

    @Test
    void theLastResourceOpenedIsTheFirstClosed() throws IOException {
        AutoCloseable first = resource("first", null);
        assertThat(closer.add(first)).isSameAs(first);
        closer.add(resource("second", null));
        closer.close();
        closer.close();
        assertThat(closed).containsExactly("second", "first");
    }

    @Test
    void everyResourceIsClosedAndEveryFailureKept() {
        IOException first = new IOException("first");
        IllegalStateException second = new IllegalStateException("second");
        closer.add(resource("first", first));
        closer.add(resource("second", second));
        closer.add(resource("third", null));
        assertThatThrownBy(closer::close).isSameAs(second);
        assertThat(second.getSuppressed()).containsExactly(first);
        assertThat(closed).containsExactly("third", "second", "first");
    }

    @Test
    void aFailureThatIsAlreadyOnItsWayKeepsThoseOfClosing() {
        IOException closing = new IOException("closing");
        closer.add(resource("only", closing));
        IllegalArgumentException opening = new IllegalArgumentException("opening");
        closer.closeAfter(opening);
        assertThat(opening.getSuppressed()).containsExactly(closing);
        assertThat(closed).containsExactly("only");
        // A failure cannot be suppressed in itself.
        closer.add(resource("same", opening));
        closer.closeAfter(opening);
        assertThat(opening.getSuppressed()).containsExactly(closing);
    }

    @Test
    void checkedExceptionsAreWrappedOnlyWhereTheyMustBe() {
        IOException failure = new IOException("disk");
        closer.add(resource("file", failure));
        assertThatThrownBy(closer::closeUnchecked)
                .isInstanceOf(UncheckedIOException.class)
                .hasCause(failure);
        Exception other = new Exception("other");
        closer.add(resource("other", other));
        assertThatThrownBy(closer::close)
                .isInstanceOf(IllegalStateException.class)
                .hasCause(other);
    }
}
