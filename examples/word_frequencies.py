"""The most frequent words of the text files under a folder: one token a file, counts merged.

    python examples/word_frequencies.py ~/texts
    python examples/word_frequencies.py . --suffix .md --top 20

Without a folder it reads the modules that Python itself comes with. A plain script without an
event loop: the coordinator runs its own, and `get` waits for a result.
"""

import argparse
import re
import sysconfig
from collections import Counter
from pathlib import Path

from tokengate_mp import OperationsCoordinator, task_token_guard

WORD = re.compile(r"[^\W\d_]{2,}")


@task_token_guard(operation_type="count_words", weight="heavy")
def count_words(path: Path) -> Counter[str]:
    """Count the words of one file, in small letters."""
    return Counter(WORD.findall(path.read_text(encoding="utf-8", errors="replace").lower()))


def main() -> None:
    """Count every file of the folder, and show what comes up most."""
    parser = argparse.ArgumentParser(description="Count the words of all files under a folder.")
    standard_library = Path(sysconfig.get_path("stdlib"))
    parser.add_argument("folder", type=Path, nargs="?", default=standard_library)
    parser.add_argument("--suffix", help="of the files (default: .txt, or .py without a folder)")
    parser.add_argument("--top", type=int, default=10, help="how many words to show")
    asked = parser.parse_args()
    suffix = asked.suffix or (".py" if asked.folder == standard_library else ".txt")
    found = sorted(asked.folder.rglob(f"*{suffix}"))
    files = [path for path in found if path.is_file() and "site-packages" not in path.parts]

    total: Counter[str] = Counter()
    with OperationsCoordinator():
        # Every token is under way before the first result is waited for.
        tokens = [count_words(path) for path in files]
        for path, token in zip(files, tokens, strict=True):
            try:
                total.update(token.get())
            except OSError as error:
                print(f"skipped {path}: {error}")

    print(f"{len(files):,} files, {total.total():,} words, {len(total):,} different ones")
    for word, count in total.most_common(asked.top):
        print(f"{count:12,}  {word}")


main()
