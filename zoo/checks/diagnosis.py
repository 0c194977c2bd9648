"""What is installed on this machine, what really loads, and what stands in the way of sampling and scoring."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass

from pvae_zoo import __version__
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.checks.cuda import CudaDiagnosis, diagnose_cuda
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


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found.

    Attributes:
        onnxruntime: version that loads, None if none does.
        distributions: onnxruntime distributions by name, with versions; two of them are a conflict.
        providers: what became of each provider that this package uses or onnxruntime lists.
        cuda: the driver, its GPUs, versions that fit or do not; None if no onnxruntime loads.
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
    cuda: CudaDiagnosis | None
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
    onnxruntime, providers, cuda = _onnxruntime(sound, problems)
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
        cuda=cuda,
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


def _models(problems: list[str]) -> tuple[dict[str, str], list[Bundle]]:
    """What is wrong with each shipped model, and those with which nothing is."""
    found: dict[str, str] = {}
    sound = []
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
            sound.append(bundle)
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


def _onnxruntime(sound: list[Bundle], problems: list[str]) -> tuple[str | None, dict[str, str], CudaDiagnosis | None]:
    try:
        ort = import_onnxruntime()
    except PvaeZooError as error:
        problems.append(str(error))
        return None, {}, None
    listed: list[str] = ort.get_available_providers()
    providers = dict.fromkeys(listed, "listed; not used by this package")
    providers[CPU] = _on_cpu(sound)
    cuda = diagnose_cuda(ort, sound)
    providers[CUDA] = cuda.state
    problems += cuda.problems
    if sound and providers[CPU] != "loads":
        problems.append(f"{CPU}: {providers[CPU]}")
    return str(ort.__version__), providers, cuda


def _on_cpu(bundles: list[Bundle]) -> str:
    """Whether the smallest graph opens on the CPU."""
    if not bundles:
        return "not tried: there is no sound model"
    try:
        open_session(bundles[0].read_graph("prior"), "cpu")
    except Exception as error:  # onnxruntime's own errors too
        return f"does not load: {_line(error)}"
    return "loads"


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
