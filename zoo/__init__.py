"""A zoo of PixelVAEs: samples, latent codes and a likelihood for every image, over onnxruntime.

    import pvae_zoo
    model = pvae_zoo.load("mnist")
    images = model.sample(16, seed=0)       # uint8 (16, 1, 28, 28)
    bits = model.nll(images).bits_per_dim   # (16,)
    screen = pvae_zoo.calibrate(model, known)
    p = screen.p_values(images)             # (16,): small where an image is not like the known ones

Names resolve when they are used, so that importing the package imports neither NumPy nor onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pvae_zoo.base.errors import PvaeZooError

if TYPE_CHECKING:
    from pvae_zoo.base.devices import Device
    from pvae_zoo.runtime.model import Model
    from pvae_zoo.runtime.networks import Images
    from pvae_zoo.screening.screen import Screen

__all__ = ["PvaeZooError", "__version__", "calibrate", "list_models", "load"]
__version__ = "0.1.0"


def load(model: str = "mnist", *, device: Device = "auto", threads: int | None = None, trust: bool = False) -> Model:
    """A model of the zoo by name, one that was pulled by its repository, or any bundle by its folder.

    Args:
        model: a name from `list_models`, ``ORG/REPO[@REVISION]``, or the path of a bundle.
        device: "cpu", "cuda", "cuda:1", or "auto" for CUDA where it loads and the CPU elsewhere.
        threads: CPU threads; all cores of this process by default.
        trust: do not check the graphs of a bundle that the zoo does not vouch for.

    Raises:
        PvaeZooError: if there is no such model, its graphs are not admitted, or onnxruntime or the device is missing.

    Example:
        >>> load("mnist").image
        ImageShape(channels=1, height=28, width=28, levels=2)
    """
    from pvae_zoo.runtime.model import Model
    from pvae_zoo.sources.registry import open_bundle
    from pvae_zoo.trust.admission import admit

    bundle = open_bundle(model)
    admit(bundle, trust=trust)
    return Model(bundle, device, threads)


def calibrate(model: Model, images: Images, *, seed: int = 0) -> Screen:
    """Learn from images what belongs; the screen tells of others whether they do.

    A part of the images, drawn at random, shapes the scores, and the others are ranked, so that of images that belong
    at most the share a has a p-value of a or less.

    Args:
        model: scores them. Images that it was trained on are closer to it than new ones: with them more new images are
            flagged than was asked for.
        images: uint8 ``(N, C, H, W)``, 40 or more.
        seed: of the draw.

    Raises:
        PvaeZooError: if there are too few, or they do not suit the model.

    Example:
        >>> screen = calibrate(model, known)
        >>> screen.p_values(images).shape
        (2,)
    """
    from pvae_zoo.screening.screen import calibrate

    return calibrate(model, images, seed=seed)


def list_models() -> list[str]:
    """Names of the models that ship with the package.

    Example:
        >>> "mnist" in list_models()
        True
    """
    from pvae_zoo.sources.registry import model_names

    return model_names()
