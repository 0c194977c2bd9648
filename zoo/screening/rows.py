"""What became of one image that was screened, and the verdict on it once the rate is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How strange one image is.

    Attributes:
        p_value: of the image being like the calibration images.
        strangeness: the combined score that was ranked; larger is stranger.
        spoke: the score that is farthest from where it usually is.
        deviation: how far, in widths of the calibration's middle half, with its sign.
        scores: every score by its name.
        region: top row, left column and side of the strangest window, in pixels.
    """

    p_value: float
    strangeness: float
    spoke: str
    deviation: float
    scores: dict[str, float]
    region: tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """What became of one file: what was found, or the reason why nothing was; a note of what was converted."""

    path: str
    finding: Finding | None
    reason: str | None = None
    note: str | None = None

    @property
    def failed(self) -> bool:
        return self.finding is None

    def as_dict(self) -> dict[str, Any]:
        """The row as reports and part files have it."""
        found = self.finding
        if found is None:
            return {"path": self.path, "status": "error", "reason": self.reason}
        note = {} if self.note is None else {"note": self.note}
        row: dict[str, Any] = {"path": self.path, "status": "ok"} | note
        row |= {"p_value": found.p_value, "strangeness": found.strangeness}
        return row | {
            "spoke": found.spoke,
            "deviation": found.deviation,
            "scores": found.scores,
            "region": list(found.region),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Row:
        """The row that `as_dict` gave, to the last bit, after JSON too.

        Raises:
            KeyError, TypeError: if it is none.
        """
        if data["status"] != "ok":
            return cls(data["path"], None, reason=data["reason"])
        top, left, side = data["region"]
        finding = Finding(
            p_value=data["p_value"],
            strangeness=data["strangeness"],
            spoke=data["spoke"],
            deviation=data["deviation"],
            scores=dict(data["scores"]),
            region=(top, left, side),
        )
        return cls(data["path"], finding, note=data.get("note"))
