package org.smpo.reward;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.smpo.data.PairSource;
import org.smpo.io.RgbImage;
import org.smpo.objective.HumanChoice;
import org.smpo.objective.PairAccuracy;

/// Compares a reward with the choices of people.
///
/// @param leads reward of the chosen image minus that of the other, by pair
/// @param without number of readable pairs without a better image
/// @param bad number of pairs that cannot be read
@SuppressWarnings("ArrayRecordComponent") // a result of one call, never compared
public record RewardCheck(double[] leads, int without, int bad) {
    /// Scores the images of every pair with a better image.
    ///
    /// @throws IllegalArgumentException when no pair has a better image
    /// @throws IOException when the data cannot be read, or too much of it is bad
    public static RewardCheck of(Reward reward, PairSource data, FeatureModel.Reading reading) throws IOException {
        List<Double> leads = new ArrayList<>();
        int bad = 0;
        for (int from = 0; from < data.size(); from += reading.batch()) {
            int end = Math.min(from + reading.batch(), data.size());
            List<DecodedPair> readable = new ArrayList<>();
            for (DecodedPair pair : DecodedPair.read(data, from, end)) {
                if (pair.problem() == null) {
                    readable.add(pair);
                } else {
                    bad++;
                }
            }
            addLeads(reward, data, readable, leads);
            reading.progress().done(0, end, data.size());
        }
        reading.requireFewBad(data, bad, "");
        if (leads.isEmpty()) {
            throw new IllegalArgumentException(
                    data.describe() + ": expected pairs with a better image, found none; give pairs with labels");
        }
        return new RewardCheck(
                leads.stream().mapToDouble(Double::doubleValue).toArray(), data.size() - bad - leads.size(), bad);
    }

    private static void addLeads(Reward reward, PairSource data, List<DecodedPair> pairs, List<Double> leads)
            throws IOException {
        List<String> captions = new ArrayList<>();
        List<RgbImage> images = new ArrayList<>();
        for (DecodedPair pair : pairs) {
            HumanChoice choice = data.labels().people(pair.row());
            if (choice.isDecided()) {
                captions.addAll(List.of(pair.caption(), pair.caption()));
                boolean first = choice.winner() == 0;
                images.add(first ? pair.image0() : pair.image1());
                images.add(first ? pair.image1() : pair.image0());
            }
        }
        if (images.isEmpty()) {
            return;
        }
        double[] scores;
        try {
            scores = reward.score(captions, images);
        } catch (ArithmeticException e) {
            throw new IOException(
                    "rows " + pairs.getFirst().row() + " to " + pairs.getLast().row() + ": " + e.getMessage(), e);
        }
        for (int at = 0; at < scores.length; at += 2) {
            leads.add(scores[at] - scores[at + 1]);
        }
    }

    /// Returns the accuracy and the best temperature.
    public PairAccuracy accuracy() {
        return PairAccuracy.of(leads);
    }
}
