"""Programs that use a ProcessPoolExecutor give what they give on it, word for word."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.timeout(120)  # two runs of a program that takes seconds to load

_INSTEAD = Path(__file__).with_name("instead_of_pool.py")

_CODE = """
import os, sys
def area( width,height ):
    unused = 1
    return width*height
class shape:
    def sides(self): return   {index}
"""


def needs(package):
    """Skip a test whose program is not installed; the program is not loaded here."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def run(arguments, directory, *instead):
    """Run a program of Python in a directory; its exit code, output, and words of errors."""
    done = subprocess.run(
        [sys.executable, *instead, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    return done.returncode, done.stdout, done.stderr


def run_both(arguments, make, tmp_path):
    """Run a program on the standard executor and on core processes, in equal directories.

    Gives of both what `run` gives, and the content of the files that are there then.
    """
    found = []
    directory, count = tmp_path / "work", tmp_path / "count"
    for instead in ([], [str(_INSTEAD), str(count)]):
        directory.mkdir()
        make(directory)
        code, out, err = run(arguments, directory, *instead)
        files = {
            str(path.relative_to(directory)): path.read_bytes()
            for path in sorted(directory.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }
        found.append((code, out, err, files))
        shutil.rmtree(directory)
        if instead:
            assert int(count.read_text(encoding="utf-8")) >= 2, "no calls were made: " + err
    return found


def modules(directory):
    """Write modules that a formatter and a linter have something to say of."""
    for index in range(6):
        (directory / f"part_{index}.py").write_text(_CODE.format(index=index), encoding="utf-8")


@pytest.mark.parametrize("options", [(), ("--diff",), ("--check",)], ids=["write", "diff", "check"])
def test_black(options, tmp_path):
    """It formats files side by side; under a manager's lock where it prints differences."""
    needs("black")
    code = ["--workers", "2", *options, "."]
    standard, instead = run_both(["-m", "black", *code], modules, tmp_path)

    def words(text):
        # In whichever order the files are done, and at whatever time.
        return sorted(re.sub(r"\d{4}-\d\d-\d\d [\d:.]+", "", text).splitlines())

    assert instead[0] == standard[0]
    assert words(instead[1]) == words(standard[1])
    assert words(instead[2]) == words(standard[2])
    assert instead[3] == standard[3]
    assert ("part_0.py" in instead[1]) == (options == ("--diff",))


def test_pylint(tmp_path):
    """It gives its workers what they check with by an initializer."""
    needs("pylint")
    arguments = ["-m", "pylint", "-j", "2", "--persistent=n", "--reports=y", *PARTS]
    standard, instead = run_both(arguments, modules, tmp_path)
    assert instead == standard
    assert "unused-variable" in instead[1]
    assert instead[0] != 0


PARTS = [f"part_{index}.py" for index in range(6)]


def test_cythonize(tmp_path):
    """It translates modules to C in processes that it has prepared by an initializer."""
    needs("Cython")

    def make(directory):
        for name in ("one", "two", "three"):
            text = f"def {name}(int n):\n    cdef int k = n * 2\n    return k\n"
            (directory / f"{name}.pyx").write_text(text, encoding="utf-8")
        (directory / "build.py").write_text(
            dedent("""
            from Cython.Build import cythonize
            if __name__ == "__main__":
                made = cythonize("*.pyx", nthreads=2, language_level=3)
                print(sorted(each.name for each in made))
            """),
            encoding="utf-8",
        )

    standard, instead = run_both(["build.py"], make, tmp_path)

    def words(text):
        # By whichever process is done first; and forked workers print into each other's lines.
        return sorted(re.sub(r"\[\d/\d\]", " ", text).split())

    assert instead[0] == standard[0] == 0, instead
    assert words(instead[1]) == words(standard[1])
    assert words(instead[2]) == words(standard[2])
    assert instead[3] == standard[3]
    assert {"one.c", "two.c", "three.c"} <= instead[3].keys()


def test_process_map_of_tqdm(tmp_path):
    """It hands its lock to the workers by initargs, and maps in chunks."""
    needs("tqdm")

    def make(directory):
        (directory / "squares.py").write_text(
            dedent("""
            from tqdm.contrib.concurrent import process_map
            def square(n):
                return n * n
            if __name__ == "__main__":
                print(process_map(square, range(200), max_workers=2, chunksize=7, mininterval=60))
                try:
                    process_map(divmod, range(3), [1, 1, 0], max_workers=2, mininterval=60)
                except ZeroDivisionError as error:
                    print(error)
            """),
            encoding="utf-8",
        )

    standard, instead = run_both(["squares.py"], make, tmp_path)

    def bars(text):
        # How long it took is left out, and how often the bar was drawn meanwhile.
        lines = re.sub(r"\d\d:\d\d|[ \d.?]+(it/s|s/it)", "", text).split("\n")
        return [line.rpartition("\r")[2] for line in lines]

    assert instead[:2] == standard[:2]
    assert instead[0] == 0, instead
    assert bars(instead[2]) == bars(standard[2])
    assert "100%" in instead[2]


def test_grid_search_of_scikit_learn(tmp_path):
    """It finds the same on core processes, by joblib's backend, as on loky's."""
    needs("sklearn")
    (tmp_path / "search.py").write_text(
        dedent("""
        import sys
        import joblib, numpy, tokengate_mp
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        if __name__ == "__main__":
            tokengate_mp.register_joblib_backend()
            X, y = load_iris(return_X_y=True)
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=20, tol=0.1))
            grid = {"logisticregression__C": [0.01, 1.0, -1.0]}
            with joblib.parallel_config(sys.argv[1], n_jobs=2):
                search = GridSearchCV(model, grid, cv=3, verbose=1, error_score=0.0)
                search.fit(X, y)
            print(search.best_params_)
            for name, value in sorted(search.cv_results_.items()):
                if "time" not in name:
                    print(name, numpy.asarray(value).tolist())
        """),
        encoding="utf-8",
    )

    def words(found):
        code, out, err = found
        # A warning of a core process is printed once in each, and of which is chance.
        return code, out, set(err.splitlines())

    arguments = ["-W", "ignore", "search.py"]
    standard = run([*arguments, "loky"], tmp_path)
    assert words(run([*arguments, "tokengate"], tmp_path)) == words(standard)
    assert "best" not in standard[2]
    assert standard[0] == 0, standard
