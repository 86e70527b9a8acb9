package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CacheFolderTest {
    @TempDir
    private Path folder;

    private final List<String> warnings = new ArrayList<>();

    @Test
    void theVariablesAreReadInOrder() {
        String own = folder.resolve("own").toString();
        String xdg = folder.resolve("xdg").toString();
        String home = folder.resolve("home").toString();
        assertThat(find(Map.of("SMPO_CACHE", own, "XDG_CACHE_HOME", xdg, "HOME", home), home))
                .isEqualTo(folder.resolve("own"));
        assertThat(find(Map.of("XDG_CACHE_HOME", xdg, "HOME", home), home)).isEqualTo(folder.resolve("xdg/smpo"));
        assertThat(find(Map.of("HOME", home), "/elsewhere")).isEqualTo(folder.resolve("home/.cache/smpo"));
        assertThat(find(Map.of(), home)).isEqualTo(folder.resolve("home/.cache/smpo"));
        assertThat(warnings).isEmpty();
    }

    @Test
    void aHomeThatCannotBeWrittenIsReplacedWithAWarning() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "not a folder");
        assertThat(find(Map.of("HOME", file.toString()), file.toString())).hasParentRaw(folder.resolve("tmp"));
        assertThat(warnings).singleElement().asString().contains("cannot be written", "SMPO_CACHE");
    }

    @Test
    void anUnknownUserGetsNoFolderNamedAQuestionMark() {
        assertThat(find(Map.of(), "?")).hasParentRaw(folder.resolve("tmp"));
        assertThat(warnings).singleElement().asString().contains("no home folder");
    }

    private Path find(Map<String, String> environment, String userHome) {
        return CacheFolder.find(environment, userHome, folder.resolve("tmp"), warnings::add);
    }
}
