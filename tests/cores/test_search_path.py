"""The module search path of core processes, and which module a name means there."""

from __future__ import annotations

import os
import sys
import zipfile

import pytest
import scripts

MODULE = "def twice(n):\n    return 2 * n\n"


@pytest.fixture
def folder(tmp_path):
    """A directory with a module, a directory `lib` with another, and an empty directory `out`."""
    for name, directory in (("geometry_here", tmp_path), ("geometry_lib", tmp_path / "lib")):
        directory.mkdir(exist_ok=True)
        (directory / f"{name}.py").write_text(MODULE, "utf-8")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "geometry_out.py").write_text(MODULE, "utf-8")
    return tmp_path


USE = """
with TokenGateExecutor(1) as executor:
    print(*executor.map({module}.twice, range(3)))
"""


@pytest.mark.parametrize(
    ("begin", "module"),
    [
        ("import geometry_here; os.chdir('out')", "geometry_here"),
        ("sys.path.insert(0, 'lib'); import geometry_lib; os.chdir('out')", "geometry_lib"),
        ("sys.path[:0] = ['out', './lib']; import geometry_lib; os.chdir('out')", "geometry_lib"),
        ("os.chdir('out'); import geometry_out", "geometry_out"),
        ("os.chdir('out'); sys.path[:0] = ['../lib']; import geometry_lib", "geometry_lib"),
    ],
)
def test_relative_entries_mean_what_they_meant(folder, begin, module):
    """A module that was found by a relative entry is found in a core process, after chdir too."""
    code = f"import os, sys\nfrom tokengate_mp import TokenGateExecutor\n{begin}\n"
    python, warnings, _ = scripts.command(folder / "unused.py", "")
    done = scripts.run([python, warnings, "-c", code + USE.format(module=module)], cwd=folder)
    assert (done.stdout, done.stderr) == ("0 2 4\n", "")


def test_relative_entries_of_an_archive(folder):
    """A program in a zip file that is started by a relative name changes its directory."""
    with zipfile.ZipFile(folder / "program.pyz", "w") as archive:
        archive.writestr("geometry_zip.py", MODULE)
        archive.writestr(
            "__main__.py",
            "import os\nimport geometry_zip\nfrom tokengate_mp import TokenGateExecutor\n"
            "os.chdir('out')\n" + USE.format(module="geometry_zip"),
        )
    python, warnings, _ = scripts.command(folder / "unused.py", "")
    done = scripts.run([python, warnings, "program.pyz"], cwd=folder)
    assert (done.stdout, done.stderr) == ("0 2 4\n", "")


def test_entries_of_any_kind_and_number(tmp_path):
    """What Python ignores is ignored, and the path may be longer than a command line."""
    code = r"""
        import sys
        from pathlib import Path
        from tokengate_mp import TokenGateExecutor

        class Entry(str):
            def __str__(self):
                raise ValueError

        odd = [None, 3, b"/bytes", "/zero\0byte"]
        kept = ["/surrogate\udcff", "__editable__.there.finder.__path_hook__", "/a:b"]
        many = [f"/store/{n:050}/lib/python/site-packages" for n in range(5000)]
        before = list(sys.path)
        sys.path += [*odd, *kept, Entry("/entry"), Path("/path"), *many]
        with TokenGateExecutor(1) as executor:
            there = executor.submit(eval, "__import__('sys').path").result(15)
        assert there == [*before, *kept, "/entry", "/path", *many], there[:20]
        sys.path = tuple(before)
        with TokenGateExecutor(1) as executor:
            print(executor.submit(abs, -1).result(15))
    """
    assert scripts.output(tmp_path / "entries.py", code) == "1\n"


def test_a_later_process_has_the_path_whatever_comes_into_it(tmp_path):
    """A core process that is replaced starts although something odd was added meanwhile."""
    code = """
        import os
        import sys
        from tokengate_mp import OperationsCoordinator

        with OperationsCoordinator(cores=1) as coordinator:
            pid = coordinator.submit(os.getpid).get(15)
            sys.path += [None, "x" * 200_000]
            os.kill(pid, 9)
            print(coordinator.submit(os.getpid).get(15) != pid)
    """
    assert "True\n" in scripts.run(scripts.command(tmp_path / "later.py", code)).stdout


@pytest.mark.skipif(
    (3, 13) <= sys.version_info < (3, 13, 3),
    reason="no `python -c` can import socket there: CPython's gh-130932",
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_directory_that_was_deleted(tmp_path, when):
    """Core processes start in a working directory that is gone, before the program or after."""
    code = "import os\n"
    leave = f"os.mkdir({str(tmp_path / 'gone')!r}); os.chdir({str(tmp_path / 'gone')!r}); "
    leave += f"os.rmdir({str(tmp_path / 'gone')!r})\n"
    load = "from tokengate_mp import TokenGateExecutor\n"
    code += leave + load if when == "before" else load + leave
    code += "with TokenGateExecutor(1) as executor: print(executor.submit(abs, -1).result(15))\n"
    assert scripts.output(tmp_path / "gone.py", code, cwd=tmp_path) == "1\n"


def test_a_module_that_another_one_hides(tmp_path):
    """Where a core process would find another module of the name, the call says so."""
    for letter in "ab":
        (tmp_path / letter).mkdir()
        (tmp_path / letter / "hidden_module.py").write_text(
            f"def which():\n    return {letter!r}\n", "utf-8"
        )
    code = """
        import sys
        from tokengate_mp import PayloadError, TokenGateExecutor

        sys.path.insert(0, "a")
        import hidden_module
        sys.path.insert(0, "b")
        with TokenGateExecutor(1) as executor:
            for attempt in executor.submit(hidden_module.which), executor.submit(abs, -1):
                try:
                    print(attempt.result(15))
                except PayloadError as error:
                    print(error)
    """
    error, other = scripts.output(tmp_path / "hides.py", code, cwd=tmp_path).splitlines()
    for part in ("'hidden_module'", os.path.join("a", "hidden_module.py"), "sys.path"):  # noqa: PTH118
        assert part in error
    assert other == "1"


def test_a_module_by_two_ways_is_one(tmp_path):
    """A module that a core process finds through a link, or the other way round, is the same."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "linked_module.py").write_text(MODULE, "utf-8")
    (tmp_path / "link").symlink_to("real")
    code = """
        import sys
        from tokengate_mp import TokenGateExecutor

        sys.path.insert(0, "link")
        import linked_module
        sys.path[0] = "real"
        with TokenGateExecutor(1) as executor:
            print(executor.submit(linked_module.twice, 2).result(15))
    """
    assert scripts.output(tmp_path / "ways.py", code, cwd=tmp_path) == "4\n"
