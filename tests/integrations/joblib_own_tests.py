"""Runs joblib's own tests of `Parallel` with this project's backend in the place of loky's.

    python tests/integrations/joblib_own_tests.py [ARGUMENTS OF PYTEST]

The tests come with joblib (`joblib.test.test_parallel`) and take some minutes. Those in `REASONS`
ask for what is loky's own; the exit code is 0 if no other fails.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

REASONS = {
    "test_parallel_pickling": "loky's words; here the PicklingError names function and argument",
    "test_error_capture[loky]": "asks for a new pool after an error, which is not needed here",
    "test_parallel_with_interactively_defined_bound_method_loky": "loky's words on standard error",
    "test_nested_parallelism_limit[parallel_config-loky]": "the name LokyBackend",
    "test_nested_parallelism_limit[parallel_backend-loky]": "the name LokyBackend",
    "test_auto_memmap_on_arrays_from_generator[loky]": "large arrays are not mapped to files",
    "test_memmapping_leaks[loky]": "large arrays are not mapped to files",
    **{
        f"test_multiple_generator_call_separated_gc[{first}-{second}-loky-True]": (
            "an error under loky; here the second Parallel works"
        )
        for first in ("generator", "generator_unordered")
        for second in ("generator", "generator_unordered")
    },
}
"""Tests that fail, each with the reason."""

_CUSTOM = '''
import sys
from importlib.util import find_spec

class Instead:
    """Puts the backend in the place of loky's when joblib is loaded, in every process."""

    def find_spec(self, name, path=None, target=None):
        if name != "joblib.parallel":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        load = spec.loader.exec_module
        def replace(module):
            load(module)
            import joblib._parallel_backends as backends
            from tokengate_mp.integrations.joblib_backend import TokenGateBackend
            module.BACKENDS["loky"] = module.LokyBackend = backends.LokyBackend = TokenGateBackend
        spec.loader.exec_module = replace
        return spec

sys.meta_path.insert(0, Instead())
'''


def main():
    """Run the tests, and judge which of them have failed."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "sitecustomize.py").write_text(_CUSTOM, encoding="utf-8")
        words = ["-q", "-p", "no:cacheprovider", "--rootdir", directory, "-rfE", "--timeout=60"]
        command = [sys.executable, "-m", "pytest", *words, "--pyargs", "joblib.test.test_parallel"]
        paths = os.pathsep.join(filter(None, [directory, os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": paths}
        done = subprocess.run(
            [*command, *sys.argv[1:]],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    failed = re.findall(r"^(?:FAILED|ERROR) \S*::(\S+)", done.stdout, re.MULTILINE)
    for name in failed:
        sys.stdout.write(f"{name}: {REASONS.get(name, 'NOT EXPECTED')}\n")
    sys.stdout.write(done.stdout.strip().splitlines()[-1] + "\n")
    return 0 if done.returncode < 2 and REASONS.keys() >= set(failed) else 1


sys.exit(main())
