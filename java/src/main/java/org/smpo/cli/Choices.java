package org.smpo.cli;

import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import org.smpo.checkpoint.Family;
import org.smpo.evaluate.PairsRequest;
import org.smpo.generate.NegativeCondition;
import org.smpo.io.Precision;
import org.smpo.objective.HeadFeatures;
import org.smpo.objective.PairRule;
import org.smpo.objective.RewardEnsemble;
import org.smpo.objective.TournamentLoser;
import org.smpo.recipe.IterateRecipe;
import org.smpo.reward.RewardKind;
import org.smpo.schedule.Inversion;
import org.smpo.schedule.PredictionType;
import org.smpo.schedule.Sampler;

/// Values of options that name one constant of a type. Help texts list the names through picocli's
/// `${COMPLETION-CANDIDATES}`, which reads them from here.
final class Choices {
    static final List<Sampler.Kind> SAMPLERS = List.of(Sampler.Kind.values());
    static final List<Precision> PRECISIONS = List.of(Precision.values());
    static final List<Family> FAMILIES = List.of(Family.values());
    static final List<Inversion.Semantics> INVERSION_SEMANTICS = List.of(Inversion.Semantics.values());
    static final List<Inversion.Renoise> RENOISES = List.of(Inversion.Renoise.values());
    static final List<NegativeCondition> NEGATIVE_CONDITIONS = List.of(NegativeCondition.values());
    /// No published checkpoint predicts the sample.
    static final List<PredictionType> PREDICTION_TYPES = List.of(PredictionType.EPSILON, PredictionType.V_PREDICTION);

    static final List<PairRule> PAIR_RULES = List.of(PairRule.values());
    static final List<TournamentLoser> LOSERS = List.of(TournamentLoser.values());
    static final List<HeadFeatures> HEAD_FEATURES = List.of(HeadFeatures.values());
    static final List<RewardEnsemble.Combination> COMBINATIONS = List.of(RewardEnsemble.Combination.values());

    private Choices() {}

    /// The constant with a name.
    ///
    /// @throws IllegalArgumentException naming the option and every constant when there is no such name
    static <E> E parse(String option, List<E> choices, Function<E, String> id, String value) {
        return choices.stream()
                .filter(choice -> id.apply(choice).equals(value))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        option + ": expected one of " + String.join(", ", names(choices, id)) + ", got " + value));
    }

    /// The name of a constant whose type gives it none.
    static String lowerCase(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }

    private static <E> List<String> names(List<E> choices, Function<E, String> id) {
        return choices.stream().map(id).toList();
    }

    /// Names of `--sampler`.
    static final class Samplers implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(SAMPLERS, Sampler.Kind::id).iterator();
        }
    }

    /// Names of `--negative-condition`.
    static final class NegativeConditions implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(NEGATIVE_CONDITIONS, NegativeCondition::id).iterator();
        }
    }

    /// Names of `--precision`.
    static final class Precisions implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(PRECISIONS, Precision::id).iterator();
        }
    }

    /// Names of `--prediction-type`.
    static final class PredictionTypes implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(PREDICTION_TYPES, PredictionType::configName).iterator();
        }
    }

    /// Names of `--base`.
    static final class Families implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(FAMILIES, Family::id).iterator();
        }
    }

    /// Names of `--inversion`.
    static final class InversionSemantics implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(INVERSION_SEMANTICS, Choices::lowerCase).iterator();
        }
    }

    /// Names of `--select`.
    static final class PairRules implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(PAIR_RULES, PairRule::id).iterator();
        }
    }

    /// Names of `--loser`.
    static final class Losers implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(LOSERS, TournamentLoser::id).iterator();
        }
    }

    /// Names of `--combine`.
    static final class Combinations implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(COMBINATIONS, PairsRequest::id).iterator();
        }
    }

    /// Names of `--renoise`.
    static final class Renoises implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(RENOISES, Choices::lowerCase).iterator();
        }
    }

    /// Names of the built-in recipes with rounds.
    static final class IterateRecipes implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return IterateRecipe.builtInNames().iterator();
        }
    }

    /// Names of `--features`.
    static final class Features implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(HEAD_FEATURES, HeadFeatures::id).iterator();
        }
    }

    /// Kinds of reward models.
    static final class RewardKinds implements Iterable<String> {
        @Override
        public Iterator<String> iterator() {
            return names(List.of(RewardKind.values()), RewardKind::id).iterator();
        }
    }
}
