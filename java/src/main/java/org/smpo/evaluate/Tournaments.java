package org.smpo.evaluate;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.function.Function;
import org.smpo.objective.Tournament;
import org.smpo.objective.TournamentLoser;
import org.smpo.random.Philox;
import org.smpo.random.PhiloxStream;
import org.smpo.random.Purpose;

/// The tournaments of all groups, which run side by side, so that a judge is asked many questions at once.
///
/// The champion of a group meets a loser: a random other image, or the champion of a second tournament for the worst
/// one. This final comparison gives the pair's label. A judge whose answers may depend on the order of the
/// images is asked in both orders, and a pair on which they disagree is a tie.
final class Tournaments {
    private final PairsRequest request;
    private final Judge judge;
    private final Philox philox;
    private final List<ScoredGroup> groups;

    private long comparisons;
    private long inconsistent;
    private long reversals;

    /// @param groups groups of two or more images
    Tournaments(PairsRequest request, Judge judge, List<ScoredGroup> groups) {
        this.request = request;
        this.judge = judge;
        this.philox = new Philox(request.seed());
        this.groups = groups;
    }

    /// Runs all of them.
    ///
    /// @return the pair of each group; null for a tie
    /// @throws IOException when the judge fails
    List<PairChoice> run() throws IOException, InterruptedException {
        List<Tournament> tournaments = new ArrayList<>();
        for (ScoredGroup group : groups) {
            tournaments.add(new Tournament(order(group)));
        }
        play(tournaments, 0, Function.identity());
        List<Integer> losers = losers(tournaments);
        return finals(tournaments.stream().map(Tournament::champion).toList(), losers);
    }

    /// A random order of a group's images.
    private int[] order(ScoredGroup group) {
        PhiloxStream random = philox.stream(Purpose.TOURNAMENT, 0, group.prompt());
        int[] order = new int[group.images().size()];
        for (int i = 0; i < order.length; i++) {
            int at = random.nextInt(i + 1);
            order[i] = order[at];
            order[at] = i;
        }
        return order;
    }

    private List<Integer> losers(List<Tournament> tournaments) throws IOException, InterruptedException {
        List<Integer> losers = new ArrayList<>();
        List<Tournament> reverse = new ArrayList<>();
        for (int i = 0; i < groups.size(); i++) {
            int champion = tournaments.get(i).champion();
            int[] others = Arrays.stream(order(groups.get(i)))
                    .filter(image -> image != champion)
                    .toArray();
            if (request.loser() == TournamentLoser.RANDOM) {
                losers.add(others[
                        philox.stream(Purpose.TOURNAMENT, 1, groups.get(i).prompt())
                                .nextInt(others.length)]);
            } else {
                reverse.add(new Tournament(others));
            }
        }
        if (request.loser() == TournamentLoser.WORST) {
            play(reverse, 1 << 16, Judge.Answer::turned);
            reverse.forEach(tournament -> losers.add(tournament.champion()));
        }
        return losers;
    }

    /// Plays tournaments to their end, one comparison of each at a time.
    ///
    /// @param firstStep step of the random numbers of the first comparison
    /// @param view what an answer means for the challenger
    private void play(List<Tournament> tournaments, int firstStep, Function<Judge.Answer, Judge.Answer> view)
            throws IOException, InterruptedException {
        for (int step = firstStep; ; step++) {
            List<Tournament> playing = new ArrayList<>();
            List<Judge.Question> questions = new ArrayList<>();
            List<Boolean> turned = new ArrayList<>();
            for (int i = 0; i < tournaments.size(); i++) {
                Tournament tournament = tournaments.get(i);
                if (tournament.isOver()) {
                    continue;
                }
                ScoredGroup group = groups.get(i);
                boolean challengerSecond =
                        philox.stream(Purpose.JUDGE_ORDER, step, group.prompt()).nextInt(2) == 1;
                int challenger = tournament.challenger();
                int champion = tournament.champion();
                questions.add(new Judge.Question(
                        group, challengerSecond ? champion : challenger, challengerSecond ? challenger : champion));
                turned.add(challengerSecond);
                playing.add(tournament);
            }
            if (playing.isEmpty()) {
                for (Tournament tournament : tournaments) {
                    comparisons += tournament.comparisons().size();
                }
                return;
            }
            List<Judge.Answer> answers = judge.ask(questions);
            for (int i = 0; i < playing.size(); i++) {
                Judge.Answer ofFirst = view.apply(answers.get(i));
                playing.get(i).decide((turned.get(i) ? ofFirst.turned() : ofFirst).probability());
            }
        }
    }

    /// Compares champions with losers, in both orders where that can matter.
    private List<PairChoice> finals(List<Integer> champions, List<Integer> losers)
            throws IOException, InterruptedException {
        List<Judge.Question> questions = new ArrayList<>();
        for (int i = 0; i < groups.size(); i++) {
            questions.add(new Judge.Question(groups.get(i), champions.get(i), losers.get(i)));
        }
        boolean both = judge.dependsOnOrder();
        if (both) {
            for (int i = 0; i < groups.size(); i++) {
                questions.add(new Judge.Question(groups.get(i), losers.get(i), champions.get(i)));
            }
        }
        List<Judge.Answer> answers = judge.ask(questions);
        comparisons += questions.size();
        List<PairChoice> pairs = new ArrayList<>();
        for (int i = 0; i < groups.size(); i++) {
            Judge.Answer answer = answers.get(i);
            Judge.Answer again = both ? answers.get(groups.size() + i).turned() : answer;
            pairs.add(pair(champions.get(i), losers.get(i), answer, again));
        }
        return pairs;
    }

    private PairChoice pair(int champion, int loser, Judge.Answer answer, Judge.Answer again) {
        if (answer.preferred() * again.preferred() < 0) {
            inconsistent++;
            return null;
        }
        double p = answer.with(again);
        reversals += p < 0.5 ? 1 : 0;
        PairChoice pair = p > 0.5
                ? new PairChoice(champion, loser, OptionalDouble.of(p))
                : new PairChoice(loser, champion, OptionalDouble.of(1 - p));
        return p != 0.5 && pair.isPreferred(request.minPreference()) ? pair : null;
    }

    /// Returns what happened, for the record of the pairs.
    Map<String, Object> counts() {
        Map<String, Object> counts = new LinkedHashMap<>(judge.counts());
        counts.put("comparisons", comparisons);
        counts.put("inconsistent", inconsistent);
        counts.put("reversals", reversals);
        return counts;
    }
}
