"""Options that several commands share."""

from __future__ import annotations

import pytest

from cifarlab.cli.options import split_names


@pytest.mark.parametrize(
    ("text", "names"),
    [(None, None), ("", []), ("deer", ["deer"]), ("deer,dog", ["deer", "dog"]), (" sea lion , dog ,", ["sea lion", "dog"])],
)
def test_names_are_divided_at_commas(text: str | None, names: list[str] | None) -> None:
    assert split_names(text) == names
