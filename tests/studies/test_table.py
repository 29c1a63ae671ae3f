"""Every study says in its configuration what the table of the documentation says of it."""

from __future__ import annotations

import pytest

import doc_pages

studies = doc_pages.tool("studies")


@pytest.mark.parametrize("name", studies.names())
def test_a_study_has_its_row(name: str) -> None:
    found = studies.row(name)
    assert f"study={name} " in f"{found.command} "
    assert found.merit
    assert found.reference
    assert found.command in studies.table()
