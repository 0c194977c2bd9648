"""The bundle: a folder of ONNX graphs and the contract that says how to drive them, read and verified.

config.json            the contract (`pvae_zoo.contract.config`)
encoder.onnx           image -> mean and log standard deviation of each latent level
prior.onnx             one level: standard normal noise -> z1; two levels: z1, context -> the Gaussian p(z1|z2)
prior_context.onnx     two levels only: z2 -> context, once an image
prior_step.onnx        two levels only: positions, context, noise, canvases -> z1 at these, canvases updated
decoder_context.onnx   z1 -> context, once an image
decoder.onnx           image, context -> log-probability of every value, teacher-forced
decoder_step.onnx      positions, context, uniforms, canvases -> the pixels at these positions, canvases updated
golden.npz             inputs and outputs to check a runtime with
evaluation.json        measured figures, written by ``pvae-zoo evaluate --save``
conversion.json        what a conversion changed, measured; written by ``pvae-zoo convert``
conformance.json       what other runtimes make of the graphs, written by ``pvae-zoo conformance --save``
README.md              the model card, with the loops that drive the graphs
pictures/              what the card shows
LICENSE                of the weights
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import dacite

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.base.printable import shown
from pvae_zoo.base.regular_files import open_regular
from pvae_zoo.contract.config import FORMAT, BundleConfig, FileSpec
from pvae_zoo.contract.precision import PRECISIONS
from pvae_zoo.contract.stated import odd_statement

CONFIG = "config.json"
GOLDEN = "golden.npz"
WEIGHTS = "weights.safetensors"
EVALUATION = "evaluation.json"
CONFORMANCE = "conformance.json"
CONVERSION = "conversion.json"
CARD = "README.md"
LICENSE = "LICENSE"
PICTURES = tuple(f"pictures/*-{what}.png" for what in ("samples*", "levels", "reconstructions"))
"""Patterns of the pictures that a card shows."""
CONFIG_BYTES = 1 << 20
"""A config is a few thousand bytes; one of more than this is not looked into."""
MEASURED = {
    EVALUATION: ("results", "pvae-zoo evaluate --save"),
    CONFORMANCE: ("runtimes", "pvae-zoo conformance --save"),
    CONVERSION: ("differences", "pvae-zoo convert"),
}
"""The files that measuring leaves in a bundle, where it did: the list that each holds, and what writes it."""


class Bundle:
    """A bundle on disk, its files verified against the config before anyone uses them.

    Every file has one name that it must have, so that no config leads anywhere else.

    Args:
        folder: holds ``config.json`` and the files that it names.

    Attributes:
        config: the contract.
        config_sha256: SHA-256 of the bytes that the config was read from.

    Raises:
        PvaeZooError: if the config is missing, of another format or not valid.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / CONFIG
        try:
            data = _read_capped(path)
            stated = json.loads(data.decode("utf-8"), parse_constant=_no_json)
        except FileNotFoundError:
            raise PvaeZooError(f"{folder} is no bundle: it has no {CONFIG}") from None
        except (OSError, ValueError, RecursionError) as error:
            raise PvaeZooError(f"{path} cannot be read: {error}; pull or export the bundle again") from error
        self.config_sha256 = hashlib.sha256(data).hexdigest()
        if not isinstance(stated, dict) or stated.get("format") != FORMAT:
            found = stated.get("format") if isinstance(stated, dict) else None
            raise PvaeZooError(f"{path} has bundle format {shown(found)}; this version reads format {FORMAT}")
        try:
            self.config = dacite.from_dict(BundleConfig, stated, dacite.Config(strict=True, cast=[tuple]))
        except (dacite.DaciteError, ValueError, TypeError) as error:
            problem = shown(error, 200)
            raise PvaeZooError(f"{path} is not valid: {problem}; pull or export the bundle again") from error
        _check_names(path, self.config)
        odd = odd_statement(stated)
        if odd is not None:
            raise PvaeZooError(f"{path} is not valid: {odd}; pull or export the bundle again")

    @classmethod
    def unfinished(cls, folder: Path, config: BundleConfig) -> Bundle:
        """A bundle that is being made: its graphs lie in the folder, its config is not yet written."""
        bundle = cls.__new__(cls)
        bundle.folder, bundle.config, bundle.config_sha256 = folder, config, ""
        return bundle

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def digest(self) -> str:
        """One hash for the whole model: SHA-256 over the hashes of its graphs, in the order of their roles."""
        joined = "".join(self.config.graphs[role].sha256 for role in self.config.roles)
        return hashlib.sha256(joined.encode()).hexdigest()

    def read(self, spec: FileSpec) -> bytes:
        """A file's bytes, once size and hash hold: what was hashed is what is used.

        Raises:
            PvaeZooError: if the file is missing, of another size or altered.
        """
        path = self.folder / spec.file
        try:
            with open_regular(path) as file:
                size = os.fstat(file.fileno()).st_size
                data = file.read(size) if size == spec.size else b""
        except OSError as error:
            raise PvaeZooError(f"{path} cannot be read ({error.strerror}); pull or export the bundle again") from error
        if size != spec.size:
            raise PvaeZooError(f"{path} has {size} bytes, expected {spec.size}: pull or export the bundle again")
        if hashlib.sha256(data).hexdigest() != spec.sha256:
            raise PvaeZooError(f"{path} is not what was published (SHA-256 differs): pull or export the bundle again")
        return data

    def read_graph(self, role: str) -> bytes:
        """The ONNX bytes of a role, verified."""
        return self.read(self.config.graphs[role])

    def files(self) -> list[FileSpec]:
        """Every file whose hash the config states."""
        config = self.config
        return [*(config.graphs[role] for role in config.roles), config.golden, *filter(None, [config.weights])]

    def evaluation(self) -> dict[str, Any] | None:
        """The measured figures, where ``evaluate --save`` has left some."""
        return self.measured(EVALUATION)

    def measured(self, name: str) -> dict[str, Any] | None:
        """What measuring has left in one of the files of `MEASURED`, None where there is none.

        Raises:
            PvaeZooError: if the file is damaged.
        """
        path, (rows, command) = self.folder / name, MEASURED[name]
        if not path.is_file():
            return None
        try:
            figures: dict[str, Any] = json.loads(_read_capped(path))
        except (OSError, ValueError, RecursionError) as error:
            raise PvaeZooError(f"{path} is not valid JSON: run {command} again") from error
        results = figures.get(rows) if isinstance(figures, dict) else None
        if not isinstance(results, list) or not all(isinstance(row, dict) for row in results):
            raise PvaeZooError(f"{path} holds no list of {rows}: remove it and run {command} again")
        return figures


def _read_capped(path: Path) -> bytes:
    with open_regular(path) as file:
        data = file.read(CONFIG_BYTES + 1)
    if len(data) > CONFIG_BYTES:
        raise ValueError(f"it is larger than {CONFIG_BYTES >> 20} MiB")
    return data


def _check_names(path: Path, config: BundleConfig) -> None:
    """Each graph has its role's entries, and every file its own name."""
    roles = config.roles
    missing = [role for role in roles if role not in config.graphs]
    if missing:
        raise PvaeZooError(f"{path} names no graph for {', '.join(missing)}; export the bundle again")
    unknown = [role for role in config.graphs if role not in roles]
    if unknown:
        raise PvaeZooError(f"{path} names a graph for '{shown(unknown[0])}', which is no role; export the bundle again")
    missing = [role for role in roles if role.endswith("_step") and role not in config.steps]
    if missing:
        raise PvaeZooError(f"{path} does not say how to drive {', '.join(missing)}; export the bundle again")
    names = {f"{role}.onnx": spec.file for role, spec in config.graphs.items()}
    names[GOLDEN] = config.golden.file
    if config.weights is not None:
        names[WEIGHTS] = config.weights.file
    if config.conversion is not None and config.conversion.precision not in PRECISIONS:
        precision = shown(config.conversion.precision)
        raise PvaeZooError(f"{path} has the precision '{precision}'; this version reads {', '.join(PRECISIONS)}")
    for name, stated in names.items():
        if stated != name:
            raise PvaeZooError(f"{path} calls {name} '{shown(stated)}'; pull or export the bundle again")


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def file_spec(path: Path) -> FileSpec:
    """Size and hash of a file that was just written."""
    data = path.read_bytes()
    return FileSpec(file=path.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
