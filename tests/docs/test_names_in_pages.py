"""What README.md and docs/ name of the source is there under that name.

A page is read long after it was written, by somebody who goes on from the file that it names. So
every `folder/module.py` has to exist, below the root or below `tokengate_mp/`; every dotted name
of a module, class or function of the package, and every constant, has to be found; and every link
to a file has to lead somewhere.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "tokengate_mp"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCED = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1[`~]*\s*$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?<![\w./~-])(?:\w+/)*\w+\.py\b")
_QUOTED = re.compile(r"`([a-z_]+(?:\.\w+)+)`")
_CONSTANT = re.compile(r"`([A-Z][A-Z0-9_]{3,})`")
_MEMBER = re.compile(r"`([A-Z][a-z]\w+)\.(\w+)`")
_LINK = re.compile(r"\]\((?![a-z]+:)([^)#]+)")

LOGGERS = {"tokengate_mp.worker.voice"}
"""Names of loggers look like names of modules, and are none: users filter by them."""

OBJECTS = {"coordinator", "executor"}
"""Names of packages that stand for an object of the user's in a page, as in `coordinator.map`."""

SYSTEM = {"SCHED_IDLE"}
"""Constants of the system that a page names, and the package does not use."""

OTHERS = {"Pool"}
"""Classes of others, whose members a page names."""


def files_in(text):
    """Return the source files that a text names, without those in blocks of code."""
    return _FILE.findall(_FENCED.sub("", text))


def names_in(text):
    """Return the dotted names of the package that a text quotes."""
    packages = {path.stem for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    names = _QUOTED.findall(_FENCED.sub("", text))
    return [
        name if name.startswith("tokengate_mp.") else f"tokengate_mp.{name}"
        for name in names
        if name not in LOGGERS
        and not name.endswith((".py", ".md"))
        and name.partition(".")[0] in {"tokengate_mp", *packages, *modules} - OBJECTS
    ]


def is_there(name):
    """Return whether a dotted name is that of a module, or of an attribute of a module or class."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def has_member(kind, member, sources):
    """Return whether a class, or what it derives from, is in a source that defines the member."""
    for source in sources:
        head = re.search(rf"^class {kind}\b([^:]*):", source, re.MULTILINE)
        if head is None:
            continue
        if re.search(rf"\bdef {member}\b|\b{member}:|\bself\.{member}\b", source):
            return True
        if any(has_member(base, member, sources) for base in re.findall(r"\w+", head[1])):
            return True
    return False


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request):
    """One page after the other."""
    return request.param


def test_every_file_that_a_page_names_is_there(page):
    """A name that is one of several in a sentence is written out too, so that it can be found."""
    named = set(files_in(page.read_text("utf-8")))
    assert sorted(n for n in named if not (ROOT / n).exists() and not (PACKAGE / n).exists()) == []


def test_every_dotted_name_of_a_page_is_found(page):
    """By importing it as it is written, below `tokengate_mp` or from there on."""
    named = set(names_in(page.read_text("utf-8")))
    assert sorted(name for name in named if not is_there(name)) == []


def test_every_constant_of_a_page_is_found(page):
    """By its name, somewhere in the source of the package."""
    source = " ".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    named = set(_CONSTANT.findall(_FENCED.sub("", page.read_text("utf-8")))) - SYSTEM
    assert sorted(named.difference(re.findall(r"\w+", source))) == []


def test_every_member_of_a_class_is_found(page):
    """The class, or a base, is defined in a module that defines the name of the member too."""
    sources = [path.read_text("utf-8") for path in PACKAGE.rglob("*.py")]
    named = set(_MEMBER.findall(_FENCED.sub("", page.read_text("utf-8"))))
    missing = [
        f"{kind}.{member}"
        for kind, member in named
        if kind not in OTHERS and not has_member(kind, member, sources)
    ]
    assert sorted(missing) == []


def test_every_link_to_a_file_leads_somewhere(page):
    """From the folder that the page is in."""
    links = set(_LINK.findall(page.read_text("utf-8")))
    assert sorted(link for link in links if not (page.parent / link).exists()) == []


def test_what_counts_as_a_name():
    """Paths and dotted names in prose; blocks of code, addresses and others' files do not."""
    text = (
        "The ring (`wire/channel/ring.py`, `dispatch.py`), and\n"
        "`worker.main.main` of `tokengate_mp.errors`, not `os.path.join`, `coordinator.map`;\n"
        "h11's `x/_state.py`.\n"
        "```bash\nspin ~/no/such.py\n```\n"
        "See ~/some/where.py and `tokengate_mp.worker.voice`."
    )
    assert files_in(text) == [
        "wire/channel/ring.py",
        "dispatch.py",
        "x/_state.py",
    ]
    assert names_in(text) == ["tokengate_mp.worker.main.main", "tokengate_mp.errors"]
    assert is_there("tokengate_mp.errors.TokenGateError.args")
    assert not is_there("tokengate_mp.errors.Nobody")


def test_what_counts_as_a_member():
    """A name that the module of the class defines, or that of a class above."""
    sources = [
        "class Low(Middle[int], other.Base):\n    def own(self): ...",
        "class Base:\n    x: int",
    ]
    assert has_member("Low", "own", sources)
    assert has_member("Low", "x", sources)
    assert not has_member("Base", "own", sources)
    assert not has_member("Nobody", "x", sources)
    assert not is_there("tokengate_mp.no.such.module")
