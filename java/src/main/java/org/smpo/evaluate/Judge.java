package org.smpo.evaluate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.smpo.objective.SmoothedLabel;

/// A judge of a tournament: it tells which of two images of a prompt is the better one. Belongs to one thread.
interface Judge extends AutoCloseable {
    /// A comparison of two images of a group.
    ///
    /// @param group the group
    /// @param first index of the image that the judge sees first
    /// @param second index of the other image
    record Question(ScoredGroup group, int first, int second) {
        Path firstFile() {
            return group.images().get(first).file();
        }

        Path secondFile() {
            return group.images().get(second).file();
        }
    }

    /// An answer to a question.
    ///
    /// @param probability probability that the first image is the better one
    /// @param isVote whether the judge named one image, or a tie, without a probability
    record Answer(double probability, boolean isVote) {
        /// @throws IllegalArgumentException when the probability is not within 0 to 1
        public Answer {
            if (!(probability >= 0 && probability <= 1)) {
                throw new IllegalArgumentException("p: expected a number from 0 to 1, found " + probability);
            }
        }

        /// Returns the answer that prefers the first image (0), the second one (1), or neither (2).
        static Answer vote(int choice) {
            return new Answer(choice == 0 ? 1 : choice == 1 ? 0 : 0.5, true);
        }

        /// Returns the same answer for the images in the other order.
        Answer turned() {
            return new Answer(1 - probability, isVote);
        }

        /// Returns whether one image is preferred and which: −1 the second, 1 the first, 0 neither.
        int preferred() {
            return Double.compare(probability, 0.5);
        }

        /// Returns the probability that the first image is better after it was shown first and second. Two votes that
        /// agree count as two of two, with a prior of one vote for either image: p = ¾.
        ///
        /// @param again answer to the same question with the images in the other order, turned
        double with(Answer again) {
            if (isVote && again.isVote && preferred() == again.preferred() && preferred() != 0) {
                double p = SmoothedLabel.ofVotes(2, 0, 1).orElseThrow().probability();
                return preferred() > 0 ? p : 1 - p;
            }
            return (probability + again.probability) / 2;
        }
    }

    /// Answers questions.
    ///
    /// @return an answer per question, in their order
    /// @throws IOException when the judge fails; answers until then are kept where the judge keeps them
    List<Answer> ask(List<Question> questions) throws IOException, InterruptedException;

    /// Returns whether the answer can depend on the order of the images, so that the final comparison is made in both.
    boolean dependsOnOrder();

    /// Returns what the judge counted, for the record of the pairs.
    default Map<String, Object> counts() {
        return Map.of();
    }

    @Override
    default void close() throws IOException {}
}
