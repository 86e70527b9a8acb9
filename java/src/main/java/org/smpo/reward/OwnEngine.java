package org.smpo.reward;

import java.util.List;
import java.util.Map;
import org.smpo.ffi.Engine;
import org.smpo.io.Closer;
import org.smpo.io.RgbImage;

/// A reward that closes its engine with itself.
final class OwnEngine implements Reward {
    private final Reward reward;
    private final Closer parts = new Closer();

    OwnEngine(Reward reward, Engine engine) {
        this.reward = reward;
        parts.add(engine);
        parts.add(reward);
    }

    @Override
    public String kind() {
        return reward.kind();
    }

    @Override
    public String digest() {
        return reward.digest();
    }

    @Override
    public String preprocessing() {
        return reward.preprocessing();
    }

    @Override
    public Map<String, String> metadata() {
        return reward.metadata();
    }

    @Override
    public double[] score(List<String> captions, List<RgbImage> images) {
        return reward.score(captions, images);
    }

    @Override
    public void close() {
        parts.closeUnchecked();
    }
}
