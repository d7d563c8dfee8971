"""Names from outside never lead out of the cache, by POSIX or Windows rules, on any system."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry_core import FetchError, HubFile, Url
from registry_core.fetch import location
from registry_core.path_safety import checked_name, inside, objection

CACHE = Path("/the/cache")
DEVICES = ["CON", "prn", "Aux", "NUL", "COM1", "com9", "LPT1", "lpt¹", "COM²", "CONIN$", "conout$"]
parts = st.text(st.characters(exclude_categories=()), max_size=260)


def is_one_name(name):
    """Whether a name is one path component on POSIX and Windows, by the rules in Python's path classes."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return (
        posix.parts == (name,)
        and windows.parts == (name,)
        and not windows.drive
        and not windows.root
        and name not in {".", ".."}
        and "\0" not in name
    )


@given(parts)
@example("..")
@example("C:")
@example("D:x")
@example("a:stream")
@example("\\\\host\\share")
@example("//host/share")
@example("nul.safetensors")
@example("a\0b")
@example("x" * 300)
@example("\ud800")
def test_an_accepted_name_is_one_name_on_every_system(name):
    if not objection(name):
        assert is_one_name(name)
        assert len(name.encode()) <= 200
        assert not PureWindowsPath(name).is_reserved()


@given(st.lists(parts, min_size=1, max_size=4))
def test_joined_names_stay_inside_the_folder(names):
    try:
        path = inside(CACHE, *names, what="x")
    except FetchError:
        return
    assert path.is_relative_to(CACHE)
    assert path != CACHE
    assert ".." not in path.parts


@given(
    st.one_of(
        st.sampled_from(
            ["..", ".", "", "/etc/passwd", "C:\\x", "C:x", "\\\\host\\share\\x", "//host/x", "a\\..\\b", "a|b"]
        ),
        st.sampled_from(DEVICES).flatmap(
            lambda name: st.sampled_from([name, f"{name}.bin", f"{name} .x", f"{name}..."])
        ),
        st.tuples(st.text(max_size=5), st.sampled_from("\0\n\x1f\x7f"), st.text(max_size=5)).map("".join),
        st.integers(201, 400).map(lambda size: "x" * size),
        st.sampled_from(["a.record", "a.PART", "a.note", "a.lock", "a.", "a ", " a"]),
    )
)
def test_a_name_that_leads_elsewhere_is_refused_with_a_reason(name):
    with pytest.raises(FetchError) as caught:
        checked_name(name, "It")
    assert caught.value.name == name
    assert caught.value.found == objection(name) != ""


def test_the_message_states_the_name_the_reason_and_what_to_do():
    with pytest.raises(
        FetchError,
        match=r"^The end of x 'con\.pt' cannot be a name in the cache: it is the name of a device on Windows\. Nothing "
        r"was fetched\. If you want this file anyway, download it by hand and give its path as pretrained=\.$",
    ):
        checked_name("con.pt", "The end of x")


def test_a_long_name_is_shortened_in_the_message():
    with pytest.raises(FetchError, match=r"'x{80}\.\.\.' cannot"):
        checked_name("x" * 300, "It")


@pytest.mark.parametrize(
    "name", ["open_clip_model.safetensors", "RN50.pt", "a b (1).pt", "Gewichte-ü.pt", ".gitattributes"]
)
def test_ordinary_names_are_accepted(name):
    assert checked_name(name, "It") == name


@given(parts, parts, parts)
@example("a/b", "main", "../../../escaped")
@example("..", "main", "w")
@example("a/..", "main", "w")
@example("a/b", "..", "w")
@example("a/b", "../..", "w")
@example("a/b", "main", "C:\\w")
def test_hub_files_stay_in_their_folder(repo, revision, name):
    try:
        paths = location(HubFile(repo, (name,), revision), CACHE)
    except FetchError:
        return
    assert all(path.is_relative_to(CACHE / "hub") and ".." not in path.parts for path in paths)


@pytest.mark.parametrize("repo", ["a/b/c", "a--b/c", "/", "a/", "../x"])
def test_odd_repositories_are_refused(repo):
    with pytest.raises(FetchError, match="Nothing was fetched"):
        location(HubFile(repo, ("w",)), CACHE)


@given(st.text(max_size=300), st.text(max_size=300))
@example("host", "/a/..")
@example("host", "/%2e%2e")
@example("host", "/..%2f..%2fescaped")
@example("host", "/..%5c..%5cescaped")
@example("..", "/w")
@example("host", "/con")
@example("host", "/" + "x" * 300)
def test_urls_stay_in_their_folder(host, end):
    try:
        paths = location(Url(f"https://{host}/{end}"), CACHE)
    except FetchError:
        return
    assert all(path.is_relative_to(CACHE / "url") and ".." not in path.parts for path in paths)
    assert len(paths[0].relative_to(CACHE).parts) == 4


@given(st.tuples(parts, parts, parts), st.tuples(parts, parts, parts))
@example(("a/b", "main", "w"), ("a", "b/main", "w"))
@example(("a/b", "x/y", "w"), ("a/b", "x", "y/w"))
@example(("a/b", "x%2Fy", "w"), ("a/b", "x/y", "w"))
def test_two_files_have_two_paths(one, other):
    try:
        paths = [location(HubFile(repo, (name,), revision), CACHE) for repo, revision, name in (one, other)]
    except FetchError:
        return
    assert (paths[0] == paths[1]) == (one == other)


def test_urls_with_one_file_name_have_two_paths():
    one, other = (location(Url(f"https://host/{folder}/w.pt"), CACHE)[0] for folder in "ab")
    assert (one.name, one.parent.parent) == (other.name, other.parent.parent)
    assert one != other
    assert one.parent.name == hashlib.sha256(b"https://host/a/w.pt").hexdigest()[:16]
