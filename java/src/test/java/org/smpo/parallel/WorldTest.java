package org.smpo.parallel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/// Places from options and from the environments of launchers.
final class WorldTest {
    private static World environment(String... namesAndValues) {
        return World.of(Optional.empty(), map(namesAndValues));
    }

    private static Map<String, String> map(String... namesAndValues) {
        Map<String, String> all = new HashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            all.put(namesAndValues[i], namesAndValues[i + 1]);
        }
        return all;
    }

    @Test
    void aProcessWithoutALauncherIsAlone() {
        assertThat(environment()).isEqualTo(World.ALONE);
        assertThat(environment("RANK", "0", "WORLD_SIZE", "1")).isEqualTo(World.ALONE);
        // A batch script has the variables of its job, but is one process.
        assertThat(environment("SLURM_PROCID", "0", "SLURM_NTASKS", "8")).isEqualTo(World.ALONE);
        assertThat(environment("RANK", "3")).isEqualTo(World.ALONE);
    }

    @Test
    void torchrunHoldsTheStoreItself() {
        assertThat(environment(
                        "RANK",
                        "5",
                        "WORLD_SIZE",
                        "16",
                        "LOCAL_RANK",
                        "1",
                        "LOCAL_WORLD_SIZE",
                        "4",
                        "MASTER_ADDR",
                        "node7",
                        "MASTER_PORT",
                        "29500",
                        "TORCHELASTIC_USE_AGENT_STORE",
                        "True",
                        "TORCHELASTIC_RESTART_COUNT",
                        "2"))
                .isEqualTo(new World(5, 16, 1, 4, "node7", 29500, true, 2));
        assertThat(environment("RANK", "1", "WORLD_SIZE", "2", "MASTER_ADDR", "a", "MASTER_PORT", "7"))
                .isEqualTo(new World(1, 2, 0, 1, "a", 7, false, 0));
    }

    @Test
    void slurmNamesItsFirstNode() {
        World world = environment(
                "SLURM_PROCID",
                "9",
                "SLURM_STEP_NUM_TASKS",
                "12",
                "SLURM_LOCALID",
                "1",
                "SLURM_NODEID",
                "2",
                "SLURM_STEP_TASKS_PER_NODE",
                "4(x2),3,1",
                "SLURM_STEP_NODELIST",
                "gpu[003-005,010],login1",
                "SLURM_JOB_ID",
                "1000",
                "SLURM_STEP_ID",
                "3");
        assertThat(world).isEqualTo(new World(9, 12, 1, 3, "gpu003", 20_000 + 31 * 1000 % 10_000 + 3, false, 0));
        assertThat(environment(
                                "SLURM_PROCID",
                                "1",
                                "SLURM_STEP_NUM_TASKS",
                                "2",
                                "SLURM_JOB_NODELIST",
                                "solo",
                                "MASTER_PORT",
                                "1234")
                        .host())
                .isEqualTo("solo");
        assertThat(environment(
                                "SLURM_PROCID",
                                "1",
                                "SLURM_STEP_NUM_TASKS",
                                "2",
                                "SLURM_JOB_NODELIST",
                                "a,b",
                                "MASTER_ADDR",
                                "10.0.0.1")
                        .host())
                .isEqualTo("10.0.0.1");
    }

    @Test
    void theOptionDecides() {
        Map<String, String> launched = map("RANK", "0", "WORLD_SIZE", "4", "MASTER_ADDR", "a", "MASTER_PORT", "7");
        assertThat(World.of(Optional.of("1/3@127.0.0.1:29500"), launched))
                .isEqualTo(new World(1, 3, 1, 3, "127.0.0.1", 29500, false, 0));
        assertThat(World.of(Optional.of("1/3@host:29500"), launched))
                .isEqualTo(new World(1, 3, 0, 1, "host", 29500, false, 0));
        assertThat(World.of(Optional.of("0/1@host:29500"), launched)).isEqualTo(World.ALONE);
    }

    @Test
    void contradictionsAreRefused() {
        refused("--world: expected RANK/SIZE@HOST:PORT", Optional.of("2"));
        refused("--world: rank: expected 0 to 1 of 2 processes, got 2", Optional.of("2/2@127.0.0.1:1"));
        refused("--world: port: expected 1 to 65535, got 99999", Optional.of("0/2@127.0.0.1:99999"));
        refused("expected MASTER_ADDR and MASTER_PORT", Optional.empty(), "RANK", "0", "WORLD_SIZE", "2");
        refused(
                "MASTER_ADDR: expected a name",
                Optional.empty(),
                "RANK",
                "0",
                "WORLD_SIZE",
                "2",
                "MASTER_ADDR",
                " ",
                "MASTER_PORT",
                "7");
        refused(
                "MASTER_PORT: expected a number, found x",
                Optional.empty(),
                "RANK",
                "0",
                "WORLD_SIZE",
                "2",
                "MASTER_ADDR",
                "a",
                "MASTER_PORT",
                "x");
        refused("start all processes with srun", Optional.empty(), "SLURM_PROCID", "0", "SLURM_STEP_NUM_TASKS", "2");
    }

    private static void refused(String message, Optional<String> option, String... environment) {
        assertThatIllegalArgumentException()
                .isThrownBy(() -> World.of(option, map(environment)))
                .withMessageContaining(message);
    }
}
