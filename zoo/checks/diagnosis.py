"""What is installed on this machine, what really loads, and what stands in the way of sampling and scoring."""

from __future__ import annotations

import ctypes
import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass

from pvae_zoo import __version__
from pvae_zoo.base.devices import Device
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.sessions import (
    CPU,
    CUDA,
    cores,
    import_onnxruntime,
    installed_distributions,
    open_session,
)
from pvae_zoo.sources.hub.cache import cache_folder, cached_bundles
from pvae_zoo.sources.hub.errors import endpoint, reachability
from pvae_zoo.sources.hub.fetch import check_cached
from pvae_zoo.sources.names import HubName
from pvae_zoo.sources.registry import model_names, open_bundle

_CUDA_LIBRARIES = {
    "the NVIDIA driver (libcuda.so.1)": ("libcuda.so.1",),
    "cuDNN 9 (libcudnn.so.9)": ("libcudnn.so.9",),
    "cuBLAS of CUDA 12 or 13 (libcublas.so)": ("libcublas.so.12", "libcublas.so.13"),
}


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found.

    Attributes:
        onnxruntime: version that loads, None if none does.
        distributions: onnxruntime distributions by name, with versions; two of them are a conflict.
        providers: what became of each provider that this package uses or onnxruntime lists.
        torch: version, None if it is not installed; it is not imported.
        models: shipped models, "ok" or what is wrong.
        huggingface_hub: version, None if it is not installed.
        cache: where pulled models are kept.
        cache_bytes: what the pulled bundles take there.
        cache_free_bytes: what is left on that disk.
        pulled: pulled models, "ok" or what is wrong, by repository and commit.
        hub: which Hub is asked, and whether it answers.
        problems: what keeps models from running, with the remedy.
    """

    pvae_zoo: str
    python: str
    executable: str
    platform: str
    cores: int
    numpy: str | None
    onnxruntime: str | None
    distributions: dict[str, str]
    providers: dict[str, str]
    torch: str | None
    models: dict[str, str]
    huggingface_hub: str | None
    cache: str
    cache_bytes: int
    cache_free_bytes: int
    pulled: dict[str, str]
    hub: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def diagnose(*, ask_hub: bool = True) -> Diagnosis:
    """Look at everything; what is broken is reported, not raised.

    Args:
        ask_hub: whether to try the network. A Hub that does not answer is no problem: nothing but pulling needs it.
    """
    problems: list[str] = []
    numpy = _numpy(problems)
    models, sound = _models(problems)
    onnxruntime, providers = _onnxruntime(sound, problems)
    cache = cache_folder()
    pulled, size = _pulled(problems)
    return Diagnosis(
        pvae_zoo=__version__,
        python=platform.python_version(),
        executable=sys.executable,
        platform=platform.platform(),
        cores=cores(),
        numpy=numpy,
        onnxruntime=onnxruntime,
        distributions=installed_distributions(),
        providers=providers,
        torch=_installed("torch"),
        models=models,
        huggingface_hub=_installed("huggingface-hub"),
        cache=str(cache),
        cache_bytes=size,
        cache_free_bytes=shutil.disk_usage(next(p for p in (cache, *cache.parents) if p.exists())).free,
        pulled=pulled,
        hub=reachability() if ask_hub else f"{endpoint()}, not asked",
        problems=tuple(problems),
    )


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numpy(problems: list[str]) -> str | None:
    try:
        import numpy
    except Exception as error:  # a broken NumPy fails in many ways
        problems.append(f"numpy does not load ({_line(error)}): run pip install --force-reinstall numpy")
        return None
    return numpy.__version__


def _models(problems: list[str]) -> tuple[dict[str, str], Bundle | None]:
    """What is wrong with each shipped model, and one with which nothing is."""
    found: dict[str, str] = {}
    sound = None
    for name in model_names():
        try:
            bundle = open_bundle(name)
            for spec in bundle.files():
                bundle.read(spec)
        except PvaeZooError as error:
            found[name] = str(error)
            problems.append(f"the model {name}: {error}")
        else:
            found[name] = "ok"
            sound = sound or bundle
    if not found:
        problems.append("no models came with the package: install it again")
    return found, sound


def _pulled(problems: list[str]) -> tuple[dict[str, str], int]:
    """What is wrong with each bundle of the cache, and the bytes of all."""
    found, size = {}, 0
    for repo, folder in cached_bundles():
        name = HubName(repo, folder.name)
        try:
            bundle = Bundle(folder)
            check_cached(bundle, name)
        except PvaeZooError as error:
            found[str(name)] = str(error)
            problems.append(str(error))
        else:
            found[str(name)] = "ok"
            size += sum(spec.size for spec in bundle.files())
    return found, size


def _onnxruntime(bundle: Bundle | None, problems: list[str]) -> tuple[str | None, dict[str, str]]:
    try:
        ort = import_onnxruntime()
    except PvaeZooError as error:
        problems.append(str(error))
        return None, {}
    listed: list[str] = ort.get_available_providers()
    providers = dict.fromkeys(listed, "listed; not used by this package")
    providers[CPU] = _try_provider(bundle, "cpu")
    providers[CUDA] = _try_provider(bundle, "cuda") if CUDA in listed else "not in this onnxruntime"
    if bundle is not None and providers[CPU] != "loads":
        problems.append(f"{CPU}: {providers[CPU]}")
    return str(ort.__version__), providers


def _try_provider(bundle: Bundle | None, device: Device) -> str:
    """Whether the smallest graph opens there."""
    if bundle is None:
        return "not tried: there is no sound model"
    try:
        open_session(bundle.read_graph("prior"), device)
    except Exception as error:  # onnxruntime's own errors too
        missing = _missing_cuda_libraries() if device == "cuda" else []
        return f"does not load: {', '.join(missing)} missing" if missing else f"does not load: {_line(error)}"
    return "loads"


def _missing_cuda_libraries() -> list[str]:
    """What the CUDA provider needs and the loader does not find."""
    if sys.platform != "linux":
        return []
    return [what for what, names in _CUDA_LIBRARIES.items() if not any(map(_loads, names))]


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
