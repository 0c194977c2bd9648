import pytest

from pvae_zoo.base.printable import shown, spelled, spelled_lines


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("encoder.onnx", "encoder.onnx"),
        ("Grüße, 世界", "Grüße, 世界"),
        (None, "None"),
        ([1, "a"], "[1, 'a']"),
        ('it\'s "quoted"', 'it\'s "quoted"'),
        ("a\\b", "a\\b"),
        ("\x1b[2J\r\n\0", "\\x1b[2J\\r\\n\\x00"),
        ("\u202eabc\u200b", "\\u202eabc\\u200b"),
        ("\ud800", "\\ud800"),
        ("a" * 60, "a" * 60),
        ("a" * 61, "a" * 57 + "..."),
        ("\x1b" * 60, "\\x1b" * 14 + "\\..."),
    ],
)
def test_a_value_is_one_short_printable_line_and_stays_it(value, line):
    assert shown(value) == line and line.isprintable() and len(line) <= 60
    assert shown(line) == line


def test_what_has_no_spelling_is_named_by_its_type():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(nested) == "a list that cannot be shown"
    assert shown(10**5000) == "a int that cannot be shown"
    while nested:  # taken apart here, for the interpreter would do it recursively
        nested = nested.pop()


def test_a_long_text_is_cut_before_it_is_spelled():
    assert shown("\x1b" * (1 << 26)) == "\\x1b" * 14 + "\\..."


def test_a_whole_text_is_spelled_and_keeps_its_spaces_or_its_lines():
    text = "\u2066a\u202f1\x07\nb\x9b" * 100
    assert spelled(text) == "\\u2066a\u202f1\\x07\\nb\\x9b" * 100 == spelled(spelled(text))
    assert spelled_lines("a\x1b[2J\n\u200fb\r\n") == "a\\x1b[2J\n\\u200fb\\r\n"
