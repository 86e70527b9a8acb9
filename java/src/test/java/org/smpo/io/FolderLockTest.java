package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FolderLockTest {
    @TempDir
    private Path temporary;

    private final List<String> warnings = new ArrayList<>();

    @Test
    void oneHolderAtATime() throws IOException {
        Path folder = temporary.resolve("new/run");
        try (FolderLock lock = FolderLock.acquire(folder, "a run", warnings::add)) {
            assertThat(lock).isNotNull();
            assertThatThrownBy(() -> FolderLock.acquire(folder, "a run", warnings::add))
                    .hasMessageContaining(folder.toString())
                    .hasMessageContaining("in use for a run; wait");
        }
        FolderLock.acquire(folder, "a run", warnings::add).close();
        assertThat(warnings).isEmpty();
    }

    @Test
    void aFileIsNotAFolder() throws IOException {
        Path file = Files.writeString(temporary.resolve("file"), "x");
        assertThatThrownBy(() -> FolderLock.acquire(file, "a run", warnings::add))
                .hasMessage(file + ": expected a folder for a run, found a file; choose another folder");
    }

    /// Lustre without flock, NFS without lockd and some FUSE file systems fail like this.
    @Test
    void aFileSystemWithoutLocksIsUsedWithAWarning() throws IOException {
        FolderLock.acquire(temporary, "a run", warnings::add, channel -> {
                    throw new IOException("No locks available");
                })
                .close();
        assertThat(warnings)
                .containsExactly(temporary
                        + ": cannot be locked (No locks available); make sure that no other process writes there");
    }
}
