"""What we install: pinned with hashes, from nowhere in particular, under licences that we accept."""

import re
from pathlib import Path

import pytest

import licences
from licences import FOR_TOOLS, PERMISSIVE, REQUIREMENTS, all_packages, pinned, problems, refused, terms_of

FILES = sorted(REQUIREMENTS.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_requirement_is_pinned_with_hashes(path: Path) -> None:
    entries = re.split(r"\n(?=\S)", path.read_text().strip())
    assert len(entries) > 2
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", entry), entry.splitlines()[0]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]
    assert "://" not in path.read_text()
    assert "--index-url" not in path.read_text()


def test_every_source_is_compiled() -> None:
    assert {path.stem for path in FILES} == {path.stem for path in REQUIREMENTS.glob("*.in")}


def test_all_licences_are_accepted() -> None:
    """Of what is shipped only permissive ones; tools may have the MPL too."""
    assert pinned("runtime") <= all_packages().keys()
    assert problems(all_packages()) == []


def test_what_is_shipped_is_held_to_more() -> None:
    assert {name for name in pinned("runtime") if refused(name, PERMISSIVE)} == set(licences.NAMED)
    assert all_packages()["redis"] == PERMISSIVE
    assert all_packages()["hypothesis"] == FOR_TOOLS
    assert refused("hypothesis", PERMISSIVE) == "hypothesis has the licence MPL-2.0"
    assert refused("hypothesis", FOR_TOOLS) is None


@pytest.mark.parametrize(
    ("expression", "classifiers", "free", "accepted"),
    [
        ("MIT", [], None, True),
        ("Apache-2.0 OR GPL-3.0-only", [], None, True),
        ("Apache-2.0 AND GPL-3.0-only", [], None, False),
        ("(MIT OR GPL-2.0-only) AND BSD-3-Clause", [], None, True),
        (None, ["License :: OSI Approved :: MIT License"], "whatever", True),
        (None, ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"], None, False),
        (None, ["Topic :: System"], "Apache", True),
        (None, [], "Proprietary", False),
    ],
)
def test_how_a_licence_is_read(
    expression: str | None, classifiers: list[str], free: str | None, accepted: bool
) -> None:
    terms = terms_of(expression, classifiers, free)
    assert all(choice & licences.PERMISSIVE for choice in terms) is accepted
    assert terms


def test_a_package_that_says_nothing_is_not_accepted() -> None:
    assert terms_of(None, [], None) == terms_of(None, [], "a whole\nlicence text") == []
