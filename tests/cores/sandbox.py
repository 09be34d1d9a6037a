"""A sandbox: from now on the kernel refuses some calls, to this process and to all it starts."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

NUMBERS = {
    "x86_64": {"memfd_create": 319, "eventfd": 290, "pidfd_open": 434},
    "aarch64": {"memfd_create": 279, "eventfd": 19, "pidfd_open": 434},
}
"""The numbers of system calls, by machine."""

_LOAD_NUMBER = struct.pack("HBBI", 0x20, 0, 0, 0)
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def refuse(*calls: str, code: int = errno.EPERM) -> None:
    """Have the kernel answer these calls with an error (seccomp(2)).

    Raises:
        OSError: The kernel does not let a process do this.
    """
    numbers = NUMBERS[platform.machine()]
    steps = [_LOAD_NUMBER]
    for call in calls:
        steps += [
            struct.pack("HBBI", 0x15, 0, 1, numbers[call]),  # if it is not this call, skip one step
            struct.pack("HBBI", 0x06, 0, 0, _REFUSE | code),
        ]
    steps.append(struct.pack("HBBI", 0x06, 0, 0, _ALLOW))
    text = ctypes.create_string_buffer(b"".join(steps))
    program = _Program(len(steps), ctypes.addressof(text))
    libc = ctypes.CDLL(None, use_errno=True)
    for request in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*request):
            raise OSError(ctypes.get_errno(), "prctl")
