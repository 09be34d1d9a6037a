"""`python -m tokengate_mp`: the same as the script `tokengate-mp`."""

from __future__ import annotations

import sys

from tokengate_mp.cli import main

if __name__ == "__main__":
    sys.exit(main())
