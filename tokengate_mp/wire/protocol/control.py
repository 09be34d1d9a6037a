"""The control socket of a core process, and what both of its ends have agreed on.

Control messages have a socket of their own, apart from the mailbox, so that a crew which is busy,
or stuck, can still be told something. A message is one byte; that of `end_message` goes on with the
number of a token.

Besides the messages, both ends know the exit codes by which a core process says why it ended, and
how long it may put off ringing for its outcomes.
"""

from __future__ import annotations

import struct
from typing import Final

STOP: Final = b"s"
"""End, whatever is running."""

LEAVE: Final = b"l"
"""End; nothing is running, though a thread may not have said so yet."""

RECALL: Final = b"r"
"""Give back what has not been begun."""

END: Final = b"e"
"""End a token, whether it runs or not. Its number follows."""

_NUMBER: Final = struct.Struct("=Q")

NUMBER_BYTES: Final = _NUMBER.size
"""How many bytes follow `END`."""

ORPHANED: Final = 70
"""Exit code of a core process whose parent is gone."""

BROKEN: Final = 71
"""Exit code of a core process that found itself in a state that should not be."""

UNINITIALIZED: Final = 72
"""Exit code of a core process whose initializer raised."""

PATIENT_NS: Final = 48_000_000
"""How long outcomes may wait for the bell while a core process has ample work ahead, ns.

So the parent, as long as nobody rings, looks at the outcome rings this often by itself.
"""


def end_message(number: int) -> bytes:
    """Encode the message that ends the token of that number."""
    return END + _NUMBER.pack(number)


def token_number(data: bytes) -> int:
    """Decode the `NUMBER_BYTES` bytes that follow `END`."""
    number: int
    (number,) = _NUMBER.unpack(data)
    return number
