from pathlib import Path

import pytest

from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.sources.names import FolderName, HubName, ZooName, parse_name

KNOWN = ("mnist", "lsun")
COMMIT = "a" * 40


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("lsun", ZooName("lsun")),
        ("lsun@v1", ZooName("lsun", "v1")),
        ("org/repo", HubName("org/repo")),
        ("org/repo@v1.0", HubName("org/repo", "v1.0")),
        (f"org/repo@{COMMIT}", HubName("org/repo", COMMIT)),
        ("org/repo@feature/x", HubName("org/repo", "feature/x")),
        ("hf://org/repo", HubName("org/repo")),
        ("hf://org/repo@main", HubName("org/repo", "main")),
        ("./lsun", FolderName(Path("lsun"))),
        ("../org/repo", FolderName(Path("../org/repo"))),
        ("/data/lsun", FolderName(Path("/data/lsun"))),
        ("lsun/", FolderName(Path("lsun"))),
        (".", FolderName(Path())),
        ("C:\\models\\lsun", FolderName(Path("C:\\models\\lsun"))),
        ("nothing", None),
        ("a/b/c", None),
        ("nothing@v1", None),
        ("", None),
    ],
)
def test_a_spelling_means_one_thing(text, meant):
    assert parse_name(text, KNOWN) == meant


def test_a_home_is_found():
    assert parse_name("~/lsun", KNOWN) == FolderName(Path.home() / "lsun")


@pytest.mark.parametrize(
    "text",
    ["hf://", "hf://repo", "hf://a/b/c", "hf:///etc/passwd", "hf://../x", "hf://o/..", "hf://o/a--b", "hf://o/r\n", "hf://ö/r"],
)  # fmt: skip
def test_what_names_no_repository_is_refused(text):
    with pytest.raises(PvaeZooError, match="names no repository: write hf://ORG/REPO"):
        parse_name(text, KNOWN)


@pytest.mark.parametrize("text", ["lsun@", "org/repo@", "org/repo@a..b", "org/repo@../x", "hf://o/r@v 1", "lsun@-x"])
def test_what_names_no_revision_is_refused(text):
    with pytest.raises(PvaeZooError, match="names no revision: write NAME@REVISION"):
        parse_name(text, KNOWN)


def test_a_repository_is_shown_as_it_is_written():
    assert str(HubName("org/repo", "v1")) == "org/repo@v1" and str(HubName("org/repo")) == "org/repo"
