"""Run a command that is killed when it, or a process it starts, opens a socket to a network.

    python ci/sanitize/offline.py COMMAND [ARGUMENT …]

Linux's seccomp filter sees every system call, also of native code, and every child inherits it. It
allows only sockets within the machine: between processes (AF_UNIX) and to the kernel (AF_NETLINK).
io_uring, which opens sockets without that call, is reported as missing. The filter needs no
privileges.

The exit status is the command's; 3 where there is no such filter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import NoReturn

ABSENT = 3
# By machine: AUDIT_ARCH_… of linux/audit.h, the numbers of socket and io_uring_setup
_MACHINES = {"x86_64": (0xC000003E, 41, 425), "aarch64": (0xC00000B7, 198, 425)}
_LOCAL_FAMILIES = (1, 16)  # AF_UNIX, AF_NETLINK
_X32 = 0x40000000  # flag in the system calls of x86-64's other ABI
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_KILL, _ALLOW, _ERROR = 0x80000000, 0x7FFF0000, 0x00050000  # linux/seccomp.h
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2  # linux/prctl.h


class _Program(ctypes.Structure):
    """C's ``struct sock_fprog``."""

    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def _filter(architecture: int, socket: int, io_uring: int) -> bytes:
    """Return seccomp's program, which kills a process that opens a socket to another machine.

    It is in the form of ``struct sock_filter``: code, jumps if true and if not, operand.
    """
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, io_uring),
        (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
        (_EQUAL, 1, 0, socket),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 1, 0, _LOCAL_FAMILIES[0]),
        (_EQUAL, 0, 1, _LOCAL_FAMILIES[1]),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def go_offline() -> None:
    """Filter this process and its children from now on; raise ``OSError`` if that fails."""
    if sys.platform != "linux" or platform.machine() not in _MACHINES:
        raise OSError(f"no filter for {sys.platform} on {platform.machine()}")
    code = _filter(*_MACHINES[platform.machine()])
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        (_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*arguments):
            raise OSError(ctypes.get_errno(), "prctl refuses the filter")


def main(command: list[str]) -> NoReturn:
    """Replace this process by the command, without a network."""
    if not command:
        sys.exit(__doc__)
    try:
        go_offline()
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(ABSENT)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
