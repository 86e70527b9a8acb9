package org.smpo.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.SQLException;
import java.time.Instant;

/// DuckDB's native library of 70 MB, which its driver unpacks into the temporary folder for every
/// process and deletes only when the virtual machine ends by itself, not after Ctrl-C or a kill.
///
/// Once the library is loaded, its file is not needed, so it is deleted at once. A process that is
/// killed while it unpacks leaves the file. The next process deletes it when it is abandoned
/// ([UnpackedFiles]).
final class DuckDbLibrary {
    /// Name that the driver gives the file; the rest is random.
    private static final String FILES = "libduckdb_java*.so";

    private static final Path MAPPED = Path.of("/proc/self/maps");

    private static boolean loaded;

    private DuckDbLibrary() {}

    /// Opens a connection.
    @FunctionalInterface
    interface Connector {
        Connection connect() throws SQLException;
    }

    /// Opens a connection, which loads the library if it is not.
    ///
    /// @throws IOException when the library cannot be unpacked or loaded, with the folder and what to do
    static synchronized Connection using(Connector connector) throws SQLException, IOException {
        if (loaded) {
            return connector.connect();
        }
        Path folder = folder();
        Instant start = Instant.now().minusSeconds(1);
        UnpackedFiles.deleteAbandoned(folder, FILES);
        try {
            Connection connection = connector.connect();
            loaded = true;
            deleteLoaded(folder);
            return connection;
        } catch (LinkageError e) {
            UnpackedFiles.deleteNewer(folder, FILES, start);
            throw new IOException(
                    folder + ": expected room for DuckDB's library (70 MB) and permission to run it, found "
                            + room(folder) + " and: " + Causes.rootMessage(e)
                            + "; free space, or choose another folder with "
                            + "SMPO_JAVA_OPTIONS=-Djava.io.tmpdir=FOLDER",
                    e);
        }
    }

    private static String room(Path folder) {
        try {
            return Files.getFileStore(folder).getUsableSpace() + " bytes free";
        } catch (IOException e) {
            return "no such folder";
        }
    }

    /// The temporary folder of this virtual machine.
    static Path folder() {
        return Path.of(System.getProperty("java.io.tmpdir"));
    }

    /// Deletes the file of the library that is loaded. Linux alone tells which one it is; elsewhere it
    /// stays until the virtual machine ends.
    private static void deleteLoaded(Path folder) {
        try {
            String prefix = folder.toRealPath() + "/libduckdb_java";
            for (String line : Files.readAllLines(MAPPED)) {
                int path = line.indexOf('/');
                if (path >= 0 && line.startsWith(prefix, path)) {
                    Files.deleteIfExists(Path.of(line.substring(path)));
                }
            }
        } catch (IOException e) {
            return;
        }
    }
}
