package org.smpo.objective;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.smpo.objective.LogisticFit.Group;

/// A reward head fitted to human pairs and to a game of gold images against generated ones, under a
/// guard.
///
/// The game can be won without any knowledge of what people prefer, since a feature that tells real
/// images from generated ones wins it. So the head must keep the accuracy on held-out human pairs that
/// the reward has without a head, less a tolerance. Where it does not, the weight of the game is halved
/// and the head fitted again; after five halvings the game is left out.
///
/// Source: APO, arXiv 2311.08045; the guard is ours.
///
/// @param fit the head
/// @param gameWeight weight of the game in the fit, 0 where it was left out or there is none
/// @param refits number of fits that the guard refused
/// @param base accuracy on the held-out pairs without a head
/// @param heldOut accuracy on the held-out pairs with the head
/// @param game accuracy on the game with the head; empty where there is none
public record GuardedFit(
        LogisticFit fit,
        double gameWeight,
        int refits,
        PairAccuracy base,
        PairAccuracy heldOut,
        Optional<PairAccuracy> game) {
    private static final int HALVINGS = 5;

    /// Pairs of one kind: what the reward without a head says of them, and the features of their
    /// images.
    ///
    /// @param offsets logit of the reward, preferred image minus the other
    /// @param differences features of the preferred image minus those of the other
    @SuppressWarnings("ArrayRecordComponent") // an argument of one call, never compared
    public record Pairs(double[] offsets, double[][] differences) {
        private double[] leads(LogisticFit fit) {
            double[] leads = offsets.clone();
            for (int pair = 0; pair < leads.length; pair++) {
                leads[pair] += fit.logit(differences[pair]);
            }
            return leads;
        }
    }

    /// Fits a head.
    ///
    /// @param human pairs that people chose between
    /// @param held further ones, for the guard
    /// @param game pairs of a gold image and a generated one
    /// @param gameWeight weight of the game, 0 or more; that of the human pairs is 1
    /// @param l2 penalty, > 0
    /// @param tolerance accuracy that the head may lose, such as 0.01
    /// @throws IllegalArgumentException when the human or held-out pairs are none
    /// @throws ArithmeticException when a fit does not converge
    public static GuardedFit of(
            Pairs human, Pairs held, Optional<Pairs> game, double gameWeight, double l2, double tolerance) {
        Require.nonNegative("guard", "game weight", gameWeight);
        Require.unit("guard", "tolerance", tolerance);
        PairAccuracy base = PairAccuracy.of(held.offsets);
        double weight = game.isPresent() ? gameWeight : 0;
        for (int refits = 0; ; refits++) {
            List<Group> groups = new ArrayList<>();
            groups.add(Group.ofPairs(1, human.offsets, human.differences));
            if (weight > 0) {
                groups.add(Group.ofPairs(weight, game.orElseThrow().offsets, game.orElseThrow().differences));
            }
            LogisticFit fit = LogisticFit.ofPairs(groups, l2);
            PairAccuracy heldOut = PairAccuracy.of(held.leads(fit));
            if (weight == 0 || heldOut.accuracy() >= base.accuracy() - tolerance) {
                return new GuardedFit(
                        fit, weight, refits, base, heldOut, game.map(pairs -> PairAccuracy.of(pairs.leads(fit))));
            }
            weight = refits < HALVINGS ? weight / 2 : 0;
        }
    }

    /// A sentence about what the guard did to the weight of the game; empty when it did nothing.
    ///
    /// @param asked weight that was asked for
    public Optional<String> warning(double asked) {
        if (refits == 0) {
            return Optional.empty();
        }
        String outcome = gameWeight == 0
                ? "the game is left out, so the head is fitted to human pairs alone"
                : "its weight is now " + gameWeight;
        return Optional.of("with the game at weight " + asked + " the head forgets what people prefer (accuracy on "
                + "held-out human pairs more than the tolerance below " + base.accuracy() + " without a head): "
                + outcome);
    }
}
