package org.smpo.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.smpo.schedule.Inversion;

class PlanBenchTest {
    private final PlanBench bench = new PlanBench();

    @ParameterizedTest
    @EnumSource(Inversion.Semantics.class)
    void batchesAreChecked(Inversion.Semantics semantics) {
        PlanBench.Batch batch = new PlanBench.Batch();
        batch.semantics = semantics;
        batch.prepare();
        assertThat(bench.drawTimesteps(batch)).hasSize(1024);
        assertThat(bench.planInversion(batch).rows()).isEqualTo(1024);
    }

    @ParameterizedTest
    @ValueSource(strings = {"DDIM", "EULER", "DPM_SOLVER", "PNDM"})
    void runsAreChecked(String rule) {
        PlanBench.Run run = new PlanBench.Run();
        run.rule = rule;
        run.prepare();
        assertThat(bench.planSampler(run).steps()).isBetween(50, 51);
    }

    @Test
    void unknownRulesAreRefused() {
        PlanBench.Run run = new PlanBench.Run();
        run.rule = "HEUN";
        assertThatThrownBy(run::prepare).hasMessageContaining("HEUN");
    }
}
