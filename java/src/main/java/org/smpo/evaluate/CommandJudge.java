package org.smpo.evaluate;

import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.smpo.io.Json;
import org.smpo.io.JsonException;
import org.smpo.io.JsonObject;
import tools.jackson.databind.json.JsonMapper;

/// A judge that asks an external program, such as a vision-language model behind any script.
///
/// The program reads one JSON object per line from its standard input, `{"id", "prompt", "image_0", "image_1"}` with
/// absolute paths, and writes one per answer to its standard output, in any order: `{"id", "p"}` with the probability
/// that image 0 is the better one, or `{"id", "choice"}` with 0, 1 or `"tie"`. Its standard error is appended to a log.
/// It starts at the first question that the journal cannot answer, and its input ends when the judge is closed.
final class CommandJudge implements Judge {
    /// The largest tolerated share of lines that are no answers: one in a hundred.
    private static final int LINES_PER_STRAY = 100;

    private static final Duration PATIENCE = Duration.ofSeconds(10);

    private final PairsRequest.ExternalJudge spec;
    private final JudgeJournal journal;
    private final Path log;
    private final LinkedBlockingQueue<Optional<String>> lines = new LinkedBlockingQueue<>();

    private Process process;
    private long asked;
    private long answered;
    private long read;
    private long strays;
    private String firstStray = "";

    /// @param journal keeps the answers; closed with the judge
    /// @param log file that the program's standard error is appended to
    CommandJudge(PairsRequest.ExternalJudge spec, JudgeJournal journal, Path log) {
        this.spec = spec;
        this.journal = journal;
        this.log = log;
    }

    @Override
    public List<Answer> ask(List<Question> questions) throws IOException, InterruptedException {
        List<String> keys = new ArrayList<>();
        for (Question question : questions) {
            keys.add(journal.key(question));
        }
        Map<String, String> open = new LinkedHashMap<>();
        Set<String> isOpen = new HashSet<>();
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < keys.size(); i++) {
            if (journal.find(keys.get(i)).isEmpty() && isOpen.add(keys.get(i))) {
                String id = Long.toString(++asked);
                open.put(id, keys.get(i));
                text.append(line(id, questions.get(i))).append('\n');
            }
        }
        if (!open.isEmpty()) {
            start();
            // Written beside, since a program may answer before it has read all questions.
            Thread writer = Thread.ofVirtual().name("smpo-judge-input").start(() -> write(text.toString()));
            receive(open);
            writer.join();
            requireFewStrays();
        }
        return keys.stream().map(key -> journal.find(key).orElseThrow()).toList();
    }

    private static String line(String id, Question question) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("id", id);
        line.put("prompt", question.group().caption());
        line.put("image_0", question.firstFile().toAbsolutePath().normalize().toString());
        line.put("image_1", question.secondFile().toAbsolutePath().normalize().toString());
        return JsonMapper.shared().writeValueAsString(line);
    }

    private void start() throws IOException {
        if (process != null) {
            return;
        }
        try {
            process = new ProcessBuilder(spec.words())
                    .redirectError(ProcessBuilder.Redirect.appendTo(log.toFile()))
                    .start();
        } catch (IOException e) {
            throw new IOException(
                    "judge: " + spec.words().getFirst() + ": expected a program that can be started, found none ("
                            + e.getMessage() + "); give its path",
                    e);
        }
        BufferedReader output =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
        Thread.ofVirtual().name("smpo-judge-output").start(() -> {
            try {
                for (String line = output.readLine(); line != null; line = output.readLine()) {
                    lines.add(Optional.of(line));
                }
            } catch (IOException e) {
                // The process is gone, which its exit code tells.
            } finally {
                lines.add(Optional.empty());
            }
        });
    }

    /// Writes questions. A program that ended takes none, which its missing answers tell.
    private void write(String text) {
        try {
            Writer input =
                    new BufferedWriter(new OutputStreamWriter(process.getOutputStream(), StandardCharsets.UTF_8));
            input.write(text);
            input.flush();
        } catch (IOException e) {
            // The program reads no more. What it has answered is still to be read, and its end tells the rest.
        }
    }

    /// Reads lines until every question has its answer.
    ///
    /// @param keys keys of the journal by the ids of the questions; emptied
    private void receive(Map<String, String> keys) throws IOException, InterruptedException {
        while (!keys.isEmpty()) {
            Optional<String> line = lines.poll(spec.timeout().toMillis(), TimeUnit.MILLISECONDS);
            if (line == null) {
                throw new IOException("judge: expected an answer within "
                        + spec.timeout().toSeconds() + " seconds, found none to " + keys.size()
                        + " questions; see " + log + ", or allow more time" + strayNote()
                        + ". Rerun the same command to ask the rest");
            }
            if (line.isEmpty()) {
                throw ended(keys.size());
            }
            take(line.get(), keys);
        }
    }

    private IOException ended(int open) throws InterruptedException {
        boolean exited = process.waitFor(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        return new IOException("judge: expected answers to " + open + " more questions, found the end of "
                + spec.words().getFirst() + (exited ? " (exit code " + process.exitValue() + ")" : "") + " after "
                + answered + " answers; see " + log + strayNote() + ". Rerun the same command to ask the rest");
    }

    private String strayNote() {
        return strays == 0 ? "" : "; " + strays + " lines were no answers, the first: " + firstStray;
    }

    /// Takes an answer, or counts a line that is none.
    private void take(String line, Map<String, String> keys) throws IOException {
        read++;
        JsonObject object;
        String id;
        try {
            object = Json.parseObject("answer", line);
            Object given = object.asMap().get("id");
            id = given == null ? "" : given.toString();
        } catch (JsonException e) {
            stray(line);
            return;
        }
        if (!keys.containsKey(id)) {
            stray(line);
            return;
        }
        journal.add(keys.get(id), answer(object, line));
        keys.remove(id);
        answered++;
    }

    private static Answer answer(JsonObject object, String line) throws IOException {
        Object p = object.asMap().get("p");
        Object choice = object.asMap().get("choice");
        if (p instanceof Number number && choice == null) {
            try {
                return new Answer(number.doubleValue(), false);
            } catch (IllegalArgumentException e) {
                throw new IOException("judge: " + line + ": " + e.getMessage(), e);
            }
        }
        if (p == null && choice != null) {
            int vote = List.of("0", "1", "tie").indexOf(choice.toString());
            if (vote >= 0) {
                return Answer.vote(vote);
            }
        }
        throw new IOException("judge: expected {\"id\", \"p\": a number from 0 to 1} or {\"id\", \"choice\": 0, 1 or "
                + "\"tie\"}, found " + line);
    }

    private void stray(String line) throws IOException {
        if (strays++ == 0) {
            firstStray = line.length() > 200 ? line.substring(0, 200) + "..." : line;
        }
        if (read >= LINES_PER_STRAY) {
            requireFewStrays();
        }
    }

    private void requireFewStrays() throws IOException {
        if (strays * LINES_PER_STRAY > read) {
            throw new IOException("judge: expected an answer in each line, found " + strays + " of " + read
                    + " lines that are none, the first: " + firstStray
                    + "; print everything but answers to standard error. Rerun the same command to ask the rest");
        }
    }

    @Override
    public boolean dependsOnOrder() {
        return true;
    }

    @Override
    public Map<String, Object> counts() {
        Map<String, Object> counts = new LinkedHashMap<>();
        counts.put("asked", asked);
        counts.put("stray_lines", strays);
        return counts;
    }

    @Override
    public void close() throws IOException {
        try {
            stop();
        } finally {
            journal.close();
        }
    }

    /// Ends the program's input, waits for it to end, and ends it if it does not, or if answers are missing.
    private void stop() {
        if (process == null) {
            return;
        }
        if (answered < asked) {
            process.destroyForcibly();
            return;
        }
        try {
            process.getOutputStream().close();
        } catch (IOException e) {
            // It has ended already.
            process.destroy();
        }
        try {
            if (!process.waitFor(PATIENCE.toMillis(), TimeUnit.MILLISECONDS)) {
                process.destroyForcibly();
            }
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }
}
