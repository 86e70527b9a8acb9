package org.smpo.reward;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.io.Precision;
import org.smpo.network.TinyClip;

final class RewardSourceTest {
    @TempDir
    private Path temporary;

    private Path model(String name) throws IOException {
        return TinyClip.write(temporary.resolve(name), "vit_h", 1);
    }

    @Test
    void nameAndKindAreRead() throws IOException {
        Path model = model("model");
        RewardSource whole = RewardSource.parse("ps=pickscore:" + model);
        assertThat(whole.name()).hasValue("ps");
        assertThat(whole.kind()).isEqualTo(RewardKind.PICKSCORE);
        assertThat(whole.path()).isEqualTo(model);
        assertThat(whole.processor()).isEqualTo(model);
        // An explicit kind is also the name.
        assertThat(RewardSource.parse("pickscore:" + model).name()).hasValue("pickscore");
        // Earlier versions took names without kinds.
        assertThat(RewardSource.parse("mine=" + model).name()).hasValue("mine");
        assertThat(RewardSource.parse("mine=" + model).kind()).isEqualTo(RewardKind.CLIP);
        assertThat(RewardSource.parse(model.toString()).name()).isEmpty();
        // A text that names an existing path is that path.
        Path odd = Files.move(model, temporary.resolve("a=clip:b"));
        assertThat(RewardSource.parse(odd.toString()).path()).isEqualTo(odd);
        assertThat(RewardSource.parse("x=clip:" + odd).path()).isEqualTo(odd);
    }

    /// Files do not tell PickScore from another CLIP model; the published name and shape together do.
    @Test
    void kindIsFoundOnlyWhereItIsCertain() throws IOException {
        assertThat(RewardSource.parse(model("model").toString()).kind()).isEqualTo(RewardKind.CLIP);
        Path named = model("PickScore_v1");
        assertThat(RewardSource.parse(named.toString()).kind()).isEqualTo(RewardKind.CLIP);
        Path published = Files.createDirectories(temporary.resolve(
                "hub/models--yuvalkirstain--PickScore_v1/snapshots/a4e4367c6dfa7288a00c550414478f865b875800"));
        Files.writeString(published.resolve("config.json"), """
            {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 1024,
             "text_config": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
               "num_hidden_layers": 24, "hidden_act": "gelu"},
             "vision_config": {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16,
               "num_hidden_layers": 32, "patch_size": 14, "hidden_act": "gelu"}}
            """);
        assertThat(RewardSource.parse(published.toString()).kind()).isEqualTo(RewardKind.PICKSCORE);
        Path elsewhere = Files.createDirectories(temporary.resolve("elsewhere"));
        Files.copy(published.resolve("config.json"), elsewhere.resolve("config.json"));
        assertThat(RewardSource.parse(elsewhere.toString()).kind()).isEqualTo(RewardKind.CLIP);
    }

    @Test
    void otherFilesAndUnknownKindsAreRefused() throws IOException {
        Path model = model("model");
        assertThatThrownBy(() -> RewardSource.parse("hps:" + model))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining(
                        "expected one of the kinds pickscore, hpsv2, imagereward, aesthetic, head, clip, found hps");
        assertThatThrownBy(() -> RewardSource.parse("a=clip:" + temporary.resolve("none")))
                .hasMessageContaining("found nothing");
        assertThatThrownBy(() -> RewardSource.parse("clip:")).hasMessageContaining("found nothing");
        assertThatThrownBy(() -> RewardSource.parse("clip:no-such-owner/reward"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("download it with: hf download no-such-owner/reward");
        Path empty = Files.createDirectories(temporary.resolve("empty"));
        assertThatThrownBy(() -> RewardSource.parse(empty.toString()))
                .hasMessageContaining("name the kind as KIND:PATH");
    }

    @Test
    void digestAndPreprocessingNeedNoLoading() throws IOException {
        RewardSource source = RewardSource.parse("clip:" + model("model"));
        String digest = source.digest();
        String preprocessing = source.preprocessing(Precision.FP32);
        try (Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1));
                Reward reward = Rewards.open(engine, source.path().toString())) {
            assertThat(reward.kind()).isEqualTo("clip");
            assertThat(reward.digest()).isEqualTo(digest);
            assertThat(reward.preprocessing()).isEqualTo(preprocessing);
            assertThat(reward.metadata()).containsKey("logit_scale");
            assertThat(reward.score(List.of(), List.of())).isEmpty();
        }
    }
}
