package org.smpo.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HubCacheTest {
    @TempDir
    private Path temporary;

    @Test
    void itsPlaceIsThatOfHuggingFacesLibraries() {
        assertThat(root(Map.of("HF_HUB_CACHE", "/a", "HF_HOME", "/b"))).isEqualTo("/a");
        assertThat(root(Map.of("HF_HOME", "/b", "XDG_CACHE_HOME", "/c"))).isEqualTo("/b/hub");
        assertThat(root(Map.of("XDG_CACHE_HOME", "/c", "HOME", "/d"))).isEqualTo("/c/huggingface/hub");
        assertThat(root(Map.of("HOME", "/d"))).isEqualTo("/d/.cache/huggingface/hub");
        assertThat(root(Map.of())).isEqualTo("/user/.cache/huggingface/hub");
    }

    private static String root(Map<String, String> environment) {
        return HubCache.of(environment, "/user").root().toString();
    }

    @Test
    void aRepositoryIsItsMainSnapshot() throws IOException {
        HubCache cache = new HubCache(temporary.resolve("hub"));
        Path repository = temporary.resolve("hub/models--some--model-1.5");
        Path main = Files.createDirectories(repository.resolve("snapshots/abc"));
        Path id = Path.of("some/model-1.5");
        assertThat(cache.find(id, HubCache.Kind.MODEL)).as("the only one").isEqualTo(main);
        Files.createDirectories(repository.resolve("snapshots/def"));
        assertThatThrownBy(() -> cache.find(id, HubCache.Kind.MODEL)).isInstanceOf(IOException.class);
        Files.createDirectories(repository.resolve("refs"));
        Files.writeString(repository.resolve("refs/main"), "abc\n");
        assertThat(cache.find(id, HubCache.Kind.MODEL)).isEqualTo(main);
        assertThatThrownBy(() -> cache.find(id, HubCache.Kind.DATASET))
                .hasMessage(
                        "some/model-1.5: expected a file or folder of this name, or a repository in the Hugging Face"
                                + " cache (" + temporary.resolve("hub")
                                + "), found neither; check the path, or download it with:"
                                + " hf download some/model-1.5 --repo-type dataset");
    }

    @Test
    void pathsAreTakenAsTheyAre() throws IOException {
        HubCache cache = new HubCache(temporary);
        for (String path : new String[] {"/absent/model", "one", "a/b/c", "../model", temporary.toString()}) {
            assertThat(cache.find(Path.of(path), HubCache.Kind.MODEL)).hasToString(path);
        }
    }
}
