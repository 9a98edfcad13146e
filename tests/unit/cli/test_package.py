"""What the commands' package brings for all of them."""

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd.cli import cleandoc


@given(st.text(alphabet=" \t\nab.", max_size=40))
def test_indentation_goes_as_by_the_standard_library(doc: str) -> None:
    """Line by line the same, whatever is indented how, blank or empty."""
    assert cleandoc(doc) == inspect.cleandoc(doc)


@pytest.mark.parametrize("doc", ["", "One.", "One.\n\n    Two.\n      Three.\n    ", "\n  a\n b\n\n"])
def test_texts_as_they_are_written(doc: str) -> None:
    """A docstring of a line, one of several, none."""
    assert cleandoc(doc) == inspect.cleandoc(doc)
