import json

import pytest

from pvae_zoo.cli.explain import explain_command
from pvae_zoo.explain.guide import guide, guide_text
from pvae_zoo.explain.program import LANGUAGES as ALL
from pvae_zoo.explain.program import program

LANGUAGES = next(option.type.choices for option in explain_command.params if option.name == "lang")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_it_prints_the_program(run, model, eight, lang):
    text = program(eight.bundle.config, lang)
    assert run("explain", model, "--lang", lang).stdout == text
    assert json.loads(run("explain", model, "--lang", lang, "--json").stdout) == {
        "name": "tiny", "lang": lang, "program": text
    }  # fmt: skip


def test_without_a_language_it_says_how_the_graphs_are_driven(run, model, eight):
    assert run("explain", model).stdout == guide_text(eight.bundle.config)
    found = json.loads(run("explain", model, "--json").stdout)
    assert found == {"name": "tiny", "guide": guide(eight.bundle.config)}


@pytest.mark.parametrize("lang", ["c", "go", "java"])
def test_no_program_that_nobody_ran(run, model, lang):
    result = run("explain", model, "--lang", lang)
    assert result.exit_code == 2 and "'python', 'javascript', 'cpp', 'rust'" in result.stderr


def test_every_language_can_be_asked_for(run):
    assert tuple(LANGUAGES) == ALL
    assert all(lang in run("explain", "--help").stdout for lang in LANGUAGES)
