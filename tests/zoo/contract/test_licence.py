from pathlib import Path

from pvae_zoo.contract.licence import MIT, licence_of

ROOT = Path(__file__).parents[3]


def test_the_licence_is_that_of_the_package():
    assert (ROOT / "LICENSE").read_text("utf-8") == MIT == licence_of("Digits").text


def test_weights_made_of_what_is_for_research_are_for_research():
    licence = licence_of("Photos (for research and education)")
    assert licence.spdx == "LicenseRef-research-and-education" and licence.hub == "other"
    assert "for research and education, and are for that use alone" in licence.text and licence.text.endswith(MIT)
