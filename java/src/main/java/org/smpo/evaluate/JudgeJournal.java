package org.smpo.evaluate;

import java.io.Closeable;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.smpo.io.AppendedFile;
import org.smpo.io.Digest;
import org.smpo.io.Json;
import org.smpo.io.JsonException;
import org.smpo.io.JsonObject;
import tools.jackson.databind.json.JsonMapper;

/// The answers of a judge, so that no question is asked twice: a file with one JSON object per line, which
/// grows by each answer and is locked while it is open. A last line without an end, which a killed process
/// left, is dropped.
///
/// The key of a question is a digest of the judge's command, the prompt, and the content of both images in their order.
/// So other runs, with other seeds or other pairs of the same images, reuse the answers.
final class JudgeJournal implements Closeable {
    private static final int LONGEST = 1 << 30;

    private final AppendedFile file;
    private final Map<String, Judge.Answer> answers = new HashMap<>();
    private final Map<Path, String> digests = new HashMap<>();
    private final List<String> command;

    private JudgeJournal(AppendedFile file, List<String> command) {
        this.file = file;
        this.command = command;
    }

    /// Opens a journal, or creates it.
    ///
    /// @param command the judge's program and arguments
    /// @param warnings told when the file system has no locks
    /// @throws IOException when the file is in use, or is no journal
    static JudgeJournal open(Path path, List<String> command, Consumer<String> warnings) throws IOException {
        AppendedFile file = AppendedFile.openLocked(path, warnings);
        try {
            JudgeJournal journal = new JudgeJournal(file, command);
            if (file.length() > LONGEST) {
                throw new IOException(path + ": expected at most " + LONGEST + " bytes of answers, found "
                        + file.length() + "; choose another journal");
            }
            byte[] bytes = file.read(0, (int) file.length());
            int start = 0;
            int number = 1;
            for (int at = 0; at < bytes.length; at++) {
                if (bytes[at] == '\n') {
                    journal.read(
                            path + ": line " + number++, new String(bytes, start, at - start, StandardCharsets.UTF_8));
                    start = at + 1;
                }
            }
            file.cut(start);
            return journal;
        } catch (IOException | RuntimeException e) {
            file.close();
            throw e;
        }
    }

    private void read(String where, String line) throws IOException {
        try {
            JsonObject answer = Json.parseObject(where, line);
            answers.put(answer.string("key"), new Judge.Answer(answer.number("p"), answer.bool("vote")));
        } catch (JsonException | IllegalArgumentException e) {
            throw new IOException(
                    where + ": expected an answer that smpo data pairs wrote, found another line (" + e.getMessage()
                            + "); choose another journal, or remove the line",
                    e);
        }
    }

    /// Returns the key of a question.
    ///
    /// @throws IOException when an image cannot be read
    String key(Judge.Question question) throws IOException {
        Map<String, Object> asked = new LinkedHashMap<>();
        asked.put("command", command);
        asked.put("prompt", question.group().caption());
        asked.put("image_0", digest(question.firstFile()));
        asked.put("image_1", digest(question.secondFile()));
        return Digest.sha256(Json.canonical(asked).getBytes(StandardCharsets.UTF_8));
    }

    private String digest(Path image) throws IOException {
        String known = digests.get(image);
        if (known == null) {
            known = Digest.sha256(image);
            digests.put(image, known);
        }
        return known;
    }

    /// Returns the answer to the question of a key, if there is one.
    Optional<Judge.Answer> find(String key) {
        return Optional.ofNullable(answers.get(key));
    }

    /// Records an answer.
    void add(String key, Judge.Answer answer) throws IOException {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("key", key);
        line.put("p", answer.probability());
        line.put("vote", answer.isVote());
        file.append((JsonMapper.shared().writeValueAsString(line) + "\n").getBytes(StandardCharsets.UTF_8));
        answers.put(key, answer);
    }

    @Override
    public void close() throws IOException {
        file.close();
    }
}
