"""The licence in a card's front matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry_core.export.licences import front_matter


@given(st.text())
def test_takes_any_licence(licence):
    keys = front_matter(licence)
    assert keys.keys() <= {"license", "license_name"}
    assert ("license" in keys) == bool(licence.strip())
