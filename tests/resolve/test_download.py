"""The file of a tag. tests/fetch tests the downloads themselves, tests/cli/test_cache.py the command."""

from __future__ import annotations

import pytest

from registry_core import OverrideError


@pytest.mark.parametrize("tag", [None, ""])
def test_a_tag_is_needed(registry, tag):
    with pytest.raises(OverrideError, match=rf"^download needs a tag of tiny, got {tag!r}\.$") as caught:
        registry.download("tiny", tag)
    assert (caught.value.argument, caught.value.found) == ("tag", tag)
