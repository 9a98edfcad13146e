import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.config.expand import expand

SET = {"A": "a", "EMPTY": "", "B_1": "${A} $$", "_x": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("${A}", "a"),
        ("-${A}-${_x}-", "-a-x-"),
        ("${B_1}", "${A} $$"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$$$", "$$"),
        ("$$${A}", "$a"),
        ("$", "$"),
        ("$A $(x) $1", "$A $(x) $1"),
        ("${EMPTY}", ""),
        ("${A:-x}", "a"),
        ("${EMPTY:-x}", "x"),
        ("${NONE:-}", ""),
        ("${NONE:-a b:-c}", "a b:-c"),
    ],
)
def test_what_is_expanded(text: str, expected: str) -> None:
    """Three forms mean something, once; everything else stays as it is."""
    assert expand(text, SET.get) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${NONE}", "needs the variable NONE, which is not set"),
        ("${A", 'without a "}"'),
        ("${}", 'holds "${}"; allowed: '),
        ("${1A}", 'holds "${1A}"; allowed: '),
        ("${A-x}", 'holds "${A-x}"; allowed: '),
        ("${A:=x}", 'holds "${A:=x}"; allowed: '),
        ("${:-x}", 'holds "${:-x}"; allowed: '),
        ("${\u00c4}", "allowed: "),
        ("${A:-${_x}}", "a default is not expanded"),
    ],
)
def test_what_cannot_be_expanded(text: str, why: str) -> None:
    """A variable that is not set, and every form of a shell that is not ours, is refused."""
    with pytest.raises(ValueError, match=r"^(needs|holds) ") as caught:
        expand(text, SET.get)
    assert why in str(caught.value)


@given(st.text())
def test_doubled_dollars_protect_any_text(text: str) -> None:
    """Any text can be written: with each dollar doubled it comes out as it was."""
    assert expand(text.replace("$", "$$"), SET.get) == text
