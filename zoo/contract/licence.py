"""Under which terms weights are given: MIT, unless they were made of what is for research."""

from __future__ import annotations

from dataclasses import dataclass

MIT = """MIT License

Copyright (c) 2026 The pvae-zoo authors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""
"""The licence of the package; a test holds it to the file beside the sources."""

_RESEARCH = """The weights in this folder (the constants of the .onnx files) were trained on
photos that are for research and education, and are for that use alone.

Everything else here is under the licence below.

"""


@dataclass(frozen=True, kw_only=True)
class Licence:
    """The terms of a bundle's weights.

    Attributes:
        spdx: an identifier, as a graph's metadata have it (``model_license``).
        hub: as the front matter of a card has it.
        name: of a licence that the Hub has no identifier for.
        text: of the bundle's ``LICENSE``.
    """

    spdx: str
    hub: str
    name: str | None
    text: str


def licence_of(dataset: str) -> Licence:
    """The terms that follow from what a config says of the data set.

    Where its words leave the data to research, the weights are for nothing else either.
    """
    if "for research" not in dataset:
        return Licence(spdx="MIT", hub="mit", name=None, text=MIT)
    name = "research-and-education"
    return Licence(spdx=f"LicenseRef-{name}", hub="other", name=name, text=_RESEARCH + MIT)
