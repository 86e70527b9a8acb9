package org.smpo.evaluate;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.smpo.io.Json;
import org.smpo.io.JsonObject;

/// A judge program that prefers the image file with the larger number in it. Every question is noted in a file, so that
/// a test sees what was asked.
final class FakeJudge {
    private FakeJudge() {}

    /// Answers until standard input ends.
    ///
    /// @param arguments the file of the questions, and a way to behave
    public static void main(String[] arguments) throws IOException, InterruptedException {
        Path asked = Path.of(arguments[0]);
        String mode = arguments[1];
        int number = 0;
        List<String> held = new ArrayList<>();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.err.println("the judge starts");
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            JsonObject question = Json.parseObject("question", line);
            Files.writeString(
                    asked,
                    question.string("prompt") + " " + value(question, 0) + " " + value(question, 1) + "\n",
                    StandardOpenOption.CREATE,
                    StandardOpenOption.APPEND);
            double lead = value(question, 0) - value(question, 1);
            String id = question.string("id");
            String choice = lead > 0 ? "0" : lead < 0 ? "1" : "\"tie\"";
            String p = "{\"id\": \"" + id + "\", \"p\": " + 1 / (1 + Math.exp(-lead)) + "}";
            switch (mode) {
                case "p" -> print(p);
                case "choice" -> print("{\"id\": \"" + id + "\", \"choice\": " + choice + "}");
                case "first" -> print("{\"id\": " + id + ", \"choice\": 0}");
                case "backwards" -> held.add(p);
                case "garbage" -> {
                    print("Loading the model ...");
                    print(p);
                }
                case "nan" -> print("{\"id\": \"" + id + "\", \"p\": NaN}");
                case "range" -> print("{\"id\": \"" + id + "\", \"p\": 1.5}");
                case "both" -> print("{\"id\": \"" + id + "\", \"p\": 0.5, \"choice\": 1}");
                case "mute" -> {
                    print("Loading the model ...");
                    Thread.sleep(60_000);
                }
                case "silent" -> Thread.sleep(60_000);
                case "dies" -> {
                    if (number++ == Integer.parseInt(arguments[2])) {
                        System.exit(3);
                    }
                    print(p);
                }
                default -> throw new IllegalArgumentException(mode);
            }
            if (mode.equals("backwards") && !input.ready()) {
                Collections.reverse(held);
                held.forEach(FakeJudge::print);
                held.clear();
            }
        }
    }

    private static double value(JsonObject question, int image) throws IOException {
        return Double.parseDouble(
                Files.readString(Path.of(question.string("image_" + image))).replaceAll("\\D", ""));
    }

    private static void print(String line) {
        System.out.println(line);
        System.out.flush();
    }
}
