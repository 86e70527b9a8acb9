package org.smpo.parallel;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/// Messages between two and three processes, and what happens when one of them fails or was not wanted.
@Timeout(120)
final class PeersTest {
    private static final Duration LONG = Duration.ofSeconds(60);
    private static final Duration SHORT = Duration.ofSeconds(2);

    private static byte[] bytes(int length, int value) {
        byte[] all = new byte[length];
        java.util.Arrays.fill(all, (byte) value);
        return all;
    }

    @Test
    void everyProcessHasTheDataOfAll() throws IOException, InterruptedException {
        for (int size : new int[] {2, 3}) {
            for (List<byte[]> all : Ranks.run(size, peers -> {
                int rank = peers.world().rank();
                return peers.exchange(bytes(1000 * rank, rank));
            })) {
                assertThat(all).hasSize(size);
                for (int rank = 0; rank < size; rank++) {
                    assertThat(all.get(rank)).isEqualTo(bytes(1000 * rank, rank));
                }
            }
        }
        assertThat(Peers.alone().exchange(bytes(3, 4))).containsExactly(bytes(3, 4));
    }

    @Test
    void sumsAndDealtItems() throws IOException, InterruptedException {
        for (double[] sums : Ranks.run(3, peers -> peers.sum(1, peers.world().rank() + 0.5))) {
            assertThat(sums).containsExactly(3, 4.5);
        }
        for (int items : new int[] {0, 2, 3, 7}) {
            for (List<byte[]> all : Ranks.run(3, peers -> {
                List<byte[]> own = new ArrayList<>();
                for (int item = 0; item < items; item++) {
                    if (peers.world().has(item)) {
                        own.add(bytes(item, item));
                    }
                }
                return peers.deal(own);
            })) {
                assertThat(all).hasSize(items);
                for (int item = 0; item < items; item++) {
                    assertThat(all.get(item)).isEqualTo(bytes(item, item));
                }
            }
        }
    }

    @Test
    void allLeaveWhereOneIsAskedToStop() throws IOException, InterruptedException {
        List<Ranks.Outcome<Integer>> outcomes = Ranks.outcomes(3, peers -> {
            for (int step = 0; ; step++) {
                if (peers.world().rank() == 1 && step == 4) {
                    peers.stop();
                    return step;
                }
                peers.check();
            }
        });
        assertThat(outcomes.get(1).value()).isEqualTo(4);
        for (int rank : new int[] {0, 2}) {
            assertThat(outcomes.get(rank).failure())
                    .isInstanceOf(PeerStoppedException.class)
                    .hasMessage("rank 1 was asked to stop");
        }
    }

    @Test
    void theOthersLearnWhyOneFails() throws IOException, InterruptedException {
        List<Ranks.Outcome<Void>> outcomes = Ranks.outcomes(3, peers -> {
            peers.check();
            if (peers.world().rank() == 2) {
                IOException failure = new IOException("no space left");
                peers.fail(failure);
                throw failure;
            }
            peers.check();
            return null;
        });
        assertThat(outcomes.get(2).message()).isEqualTo("no space left");
        for (int rank = 0; rank < 2; rank++) {
            assertThat(outcomes.get(rank).failure())
                    .isInstanceOf(PeerException.class)
                    .hasMessageContaining("rank 2 failed: no space left; see the messages of that process");
        }
    }

    @Test
    void differencesAreNamedByTheirLine() throws IOException, InterruptedException {
        for (Ranks.Outcome<Void> outcome : Ranks.<Void>outcomes(2, peers -> {
            String other = peers.world().rank() == 0 ? "seed: 7" : "seed: 8";
            peers.requireSame(Map.of("data", "x"));
            peers.requireSame(Map.of("recipe", "model: a\n" + other + "\nend: b"));
            return null;
        })) {
            assertThat(outcome.failure())
                    .isInstanceOf(PeerException.class)
                    .hasMessageContaining("rank 1: recipe: expected seed: 7, as on rank 0, found seed: 8;");
        }
    }

    private static Callable<Void> opening(World world, String task, Duration join) {
        return () -> {
            try (Peers peers = Peers.open(world, task, join, LONG)) {
                peers.check();
                return null;
            }
        };
    }

    @Test
    void aMissingRankIsNamed() throws IOException, InterruptedException {
        int port = Ranks.freePort();
        List<Ranks.Outcome<Void>> outcomes = Ranks.together(List.of(
                opening(Ranks.world(0, 3, port), "test", SHORT), opening(Ranks.world(2, 3, port), "test", SHORT)));
        assertThat(outcomes.get(0).message())
                .contains("rank 0 of 3 cannot join the others", "no sign of rank 1 within 2000 ms", "were started");
        assertThat(outcomes.get(1).failure()).isInstanceOf(PeerException.class);
    }

    @Test
    void twoProcessesOfOneRankAreRefused() throws IOException, InterruptedException {
        int port = Ranks.freePort();
        List<Ranks.Outcome<Void>> outcomes = Ranks.together(List.of(
                opening(Ranks.world(0, 3, port), "test", LONG),
                opening(Ranks.world(1, 3, port), "test", LONG),
                opening(Ranks.world(1, 3, port), "test", LONG)));
        assertThat(outcomes).allSatisfy(outcome -> assertThat(outcome.failure()).isInstanceOf(PeerException.class));
        assertThat(outcomes.get(0).message()).contains("expected a rank of its own for every process, got 1");
    }

    @Test
    void twoProcessesOfRank0AndAnOccupiedPortAreRefused() throws IOException, InterruptedException {
        try (ServerSocket occupied = new ServerSocket(0)) {
            List<Ranks.Outcome<Void>> outcomes =
                    Ranks.together(List.of(opening(Ranks.world(0, 2, occupied.getLocalPort()), "test", LONG)));
            assertThat(outcomes.getFirst().message()).contains("cannot listen", "the port is free");
        }
    }

    @Test
    void anotherTaskIsRefused() throws IOException, InterruptedException {
        int port = Ranks.freePort();
        for (Ranks.Outcome<Void> outcome : Ranks.together(List.of(
                opening(Ranks.world(0, 2, port), "train", LONG), opening(Ranks.world(1, 2, port), "score", LONG)))) {
            assertThat(outcome.message()).contains("smpo train of version", "smpo score of version");
        }
    }
}
