"""Licences of everything that requirements/*.txt install, against what we accept: `python -m licences`.

Asks the packages that are installed, so it works offline. What is shipped in an image must be permissive; a tool that
is not shipped may have the MPL too, whose conditions end at its own files.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"
PERMISSIVE = frozenset({"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0"})
FOR_TOOLS = PERMISSIVE | {"MPL-2.0"}
NAMED = {"certifi": frozenset({"MPL-2.0"})}
"""Shipped under a licence that is accepted for this package alone. certifi is a file of CAs, passed on as it is."""
_SAME = {
    "Apache": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Names from before SPDX (PEP 639); a bare BSD has two or three clauses, both of which are accepted."""
_NO_LICENCE = frozenset({"DFSG approved", "OSI Approved"})


def pinned(name: str) -> set[str]:
    """Names in requirements/<name>.txt."""
    return set(re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", (REQUIREMENTS / f"{name}.txt").read_text(), re.MULTILINE))


def terms_of(expression: str | None, classifiers: Iterable[str], free: str | None) -> list[frozenset[str]]:
    """The licences as choices: each of the sets must be accepted by one of its members. Empty: nothing is said."""
    if expression:
        parts = re.split(r"\s+AND\s+", expression.replace("(", "").replace(")", ""))
        return [frozenset(re.split(r"\s+OR\s+", part)) for part in parts]
    named = {text.split(" :: ")[-1] for text in classifiers if text.startswith("License ::")} - _NO_LICENCE
    if not named and free and "\n" not in free:
        named = {free}
    return [frozenset(_SAME.get(name, name) for name in named)] if named else []


def refused(package: str, accepted: frozenset[str]) -> str | None:
    """Why a package's licence is not accepted; None when it is."""
    try:
        metadata = distribution(package).metadata
    except PackageNotFoundError:
        return None  # for another platform or Python: nothing of it is used here

    def said(field: str) -> str | None:
        return next(iter(metadata.get_all(field) or ()), None)

    terms = terms_of(said("License-Expression"), metadata.get_all("Classifier") or (), said("License"))
    if not terms:
        return f"{package} does not say which licence it has"
    bad = [" or ".join(sorted(choice)) for choice in terms if not choice & accepted]
    return f"{package} has the licence {', '.join(bad)}" if bad else None


def problems(packages: Mapping[str, frozenset[str]]) -> list[str]:
    return [why for package, accepted in sorted(packages.items()) if (why := refused(package, accepted))]


def all_packages() -> dict[str, frozenset[str]]:
    """What is installed for development, by what may be accepted for it."""
    shipped = pinned("runtime")
    accepted = {name: PERMISSIVE if name in shipped else FOR_TOOLS for name in pinned("dev") | shipped}
    return accepted | {name: PERMISSIVE | more for name, more in NAMED.items()}


if __name__ == "__main__":
    packages = all_packages()
    found = problems(packages)
    for problem in found:
        print(f"carom: {problem}, which is not on the list of scripts/licences.py", file=sys.stderr)
    if not found:
        print(f"licences: {len(packages)} packages, all accepted")
    sys.exit(bool(found))
