package gallery;

import java.nio.file.Path;
import java.util.List;
import org.smpo.checkpoint.ModelFiles;
import org.smpo.ffi.DeviceTensor;
import org.smpo.ffi.Engine;
import org.smpo.ffi.EngineConfig;
import org.smpo.ffi.ModelOptions;
import org.smpo.ffi.UNetInputs;
import org.smpo.generate.GenerationConfig;
import org.smpo.generate.ImageRequest;
import org.smpo.generate.TextToImage;
import org.smpo.io.DType;
import org.smpo.io.Precision;
import org.smpo.io.RgbImage;
import org.smpo.network.UNet;

/** A program that embeds smpo: a UNet's prediction, then an image, on a shared engine and on an engine of the model's own. */
public final class Gallery {
    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        ImageRequest request =
                ImageRequest.of("a cat", 3, GenerationConfig.standard().withSize(64, 64));
        RgbImage first;
        try (ModelFiles files = ModelFiles.open(folder);
                Engine engine = Engine.open(EngineConfig.onCpu().withThreads(1))) {
            try (UNet unet = UNet.load(engine, files.component("unet"), ModelOptions.frozen(DType.F32));
                    DeviceTensor sample = engine.zeros(DType.F32, 1, 4, 8, 8);
                    DeviceTensor timesteps = engine.fromHost(new float[] {500}, 1);
                    DeviceTensor text =
                            engine.zeros(DType.F32, 1, 77, unet.config().crossAttentionDim());
                    DeviceTensor prediction = unet.network().forward(UNetInputs.of(sample, timesteps, text))) {
                System.out.println("prediction "
                        + List.of(prediction.shape()[1], prediction.shape()[2]));
            }
            try (TextToImage model = TextToImage.open(files, engine, Precision.FP32)) {
                first = model.generate(request).getFirst().image();
            }
        }
        try (TextToImage model = TextToImage.open(folder, "cpu", Precision.FP32, 1)) {
            System.out.println(
                    "same " + model.generate(request).getFirst().image().equals(first));
        }
        System.out.println("module " + Gallery.class.getModule().getName() + " uses "
                + Engine.class.getModule().getName());
    }
}
