"""How core processes are started: the interpreter, its options and arguments, frozen programs."""

from __future__ import annotations

import sys

import pytest
import scripts

REPORT = """
    import sys

    def report():
        flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if name[0] != "_"}
        del flags["count"], flags["index"]  # of the tuple
        return flags, sys._xoptions, sys.warnoptions, __debug__

    from tokengate_mp import TokenGateExecutor
    with TokenGateExecutor(1) as executor:
        there, here = executor.submit(report).result(15), report()
    print("the same" if there == here else (there, here))
"""

OPTIONS = [
    ["-Xint_max_str_digits=0"],
    ["-Xwarn_default_encoding"],
    ["-Xutf8", "-Xno_debug_ranges", "-Xfrozen_modules=off"],
    ["-Xdev", "-bb", "-Wignore::DeprecationWarning"],
    ["-Xfaulthandler", "-Xtracemalloc=3", "-Xcpu_count=1"],
    ["-OO", "-B"],
    ["-I"],
    ["-E", "-s", "-P"],
    ["-b", "-Wdefault"],
]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_options_are_the_same(tmp_path, options):
    """Every option of the command line holds in a core process, and none makes its start fail."""
    python, warnings, path = scripts.command(tmp_path / "options.py", REPORT)
    done = scripts.run([python, warnings, *options, path])
    assert (done.stdout, done.returncode) == ("the same\n", 0), done.stderr
    # (-Xdev has the event loop say what takes long, which is no error.)
    assert "Error" not in done.stderr


def test_arguments_of_any_length_and_kind(tmp_path):
    """`sys.argv` may be longer than a command line, hold what is no text, or be missing."""
    code = """
        import sys
        from pathlib import Path
        from tokengate_mp import TokenGateExecutor

        def arguments():
            import sys
            return sys.argv[1:]

        sys.argv[1:] = ["x" * (1 << 20), b"bytes", Path("path"), 3, None, "", "a\\0b", "\\udcff"]
        with TokenGateExecutor(1) as executor:
            long, *others = executor.submit(arguments).result(15)
        assert len(long) == 1 << 20
        print(ascii(others))
        del sys.argv
        with TokenGateExecutor(1) as executor:
            print(executor.submit(arguments).result(15))
    """
    said = scripts.output(tmp_path / "arguments.py", code).splitlines()
    assert said == [r"['bytes', 'path', '3', 'None', '', 'a\x00b', '\udcff']", "[]"]


EMBEDDED = """
    import multiprocessing
    import os
    import sys
    from tokengate_mp import CoreStartError, TokenGateExecutor

    python, sys.executable = sys.executable, {executable!r}
    with TokenGateExecutor(1) as executor:
        try:
            executor.submit(abs, -1)
        except CoreStartError as error:
            print(error)
    wrapper = os.path.abspath("wrapper")
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write('#!/bin/sh\\nWRAPPED=1 exec "' + python + '" "$@"\\n')
    os.chmod(wrapper, 0o700)
    multiprocessing.set_executable(wrapper)
    with TokenGateExecutor(1) as executor:
        print(executor.submit(os.getenv, "WRAPPED").result(15))
"""


@pytest.mark.parametrize(
    ("executable", "said"), [(None, "set_executable"), ("", "set_executable"), ("/no", "'/no'")]
)
def test_an_embedded_interpreter_is_named(tmp_path, executable, said):
    """Without a Python to start, the error says what to do, and what it says to do works."""
    code = EMBEDDED.format(executable=executable)
    error, answer = scripts.output(tmp_path / "embedded.py", code, cwd=tmp_path).splitlines()
    assert said in error
    assert answer == "1"


APPLICATION = """
    import os
    import sys

    with open("starts", "a", encoding="utf-8") as file:
        file.write("x")
    sys.executable = os.path.abspath("application")
    {beginning}
    import tokengate_mp
    from tokengate_mp import TokenGateExecutor

    class Thing:
        def __init__(self, size):
            self.size = size

    def twice(thing):
        return Thing(2 * thing.size)

    with TokenGateExecutor(1) as executor:
        try:
            print(executor.submit(twice, Thing(4)).result(15).size)
            print(executor.submit(os.path.basename, "a/b").result(15))
        except Exception as error:
            print(type(error).__name__, error)
"""


def application(tmp_path, beginning):
    """Run a program that is its own interpreter; what it printed, and how often it was started."""
    file = tmp_path / "application"
    _, warnings, _ = scripts.command(file, APPLICATION.format(beginning=beginning))
    file.write_text(f"#!{sys.executable} {warnings}\n{file.read_text('utf-8')}", "utf-8")
    file.chmod(0o700)
    done = scripts.run([str(file)], cwd=tmp_path)
    return done, len((tmp_path / "starts").read_text("utf-8"))


def test_a_frozen_application_is_not_started_for_a_core(tmp_path):
    """Without `freeze_support` the error says that it is missing, and nothing was started."""
    done, starts = application(tmp_path, "sys.frozen = True")
    assert (starts, done.stderr) == (1, "")
    assert done.stdout.startswith("CoreStartError ")
    assert "tokengate_mp.freeze_support()" in done.stdout


def test_a_frozen_application_serves_its_cores(tmp_path):
    """With `freeze_support` the application becomes a core process where it is started as one."""
    beginning = "sys.frozen = True; from tokengate_mp import freeze_support; freeze_support()"
    done, starts = application(tmp_path, beginning)
    assert (done.stdout, done.stderr, starts) == ("8\nb\n", "", 2)


def test_an_application_in_place_of_a_python_starts_nothing(tmp_path):
    """A program that takes the place of the interpreter is told so, and starts no cores itself."""
    done, starts = application(tmp_path, "pass")
    assert done.stdout.count("has run the application anew") == starts - 1
    assert starts <= 5  # each try to replace the first core process is a start
    assert "CoreStartError no core process can be started" in done.stdout


def test_freeze_support_does_nothing_elsewhere(tmp_path):
    """In a program that is not frozen, and in any other process, it returns."""
    code = """
        import sys
        import tokengate_mp
        from tokengate_mp import TokenGateExecutor

        tokengate_mp.freeze_support()
        before = list(sys.path)
        tokengate_mp.freeze_support()
        assert sys.path == before
        with TokenGateExecutor(1) as executor:
            print(executor.submit(abs, -3).result(15))
    """
    assert scripts.output(tmp_path / "elsewhere.py", code) == "3\n"


def test_cores_start_no_application(tmp_path):
    """What marks a process that is to become a core is gone when its first token runs."""
    code = """
        import os
        from tokengate_mp import TokenGateExecutor

        with TokenGateExecutor(1) as executor:
            print(executor.submit(os.getenv, "TOKENGATE_MP_BOOT").result(15))
            print(executor.submit(os.system, 'test -z "$TOKENGATE_MP_BOOT"').result(15))
    """
    assert scripts.output(tmp_path / "marks.py", code) == "None\n0\n"
