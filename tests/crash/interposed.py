"""A relay whose calls on its spool can be counted, failed, or made its last: under interpose.so."""

import mmap
import os
import struct
import threading

import harness

ACTIONS = {"count": 0, "kill": 1, "kill-after": 2, "eio": 3, "enospc": 4, "off": 5, "edquot": 6, "erofs": 7, "fault": 8, "ebadf": 9, "enomem": 10}
CHANGES = ["write", "pwrite", "fsync", "linkat", "renameat", "renameat2", "unlinkat", "openat"]
CALLS = CHANGES + ["read", "pread", "syncfs", "flock", "malloc", "close"]


class Control:
    """The page that interpose.c shares with the test: its struct control."""

    HEAD = struct.Struct("=16sIIIIIIq")
    NAMES, NAME_SIZE = 128, 96

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(self.HEAD.size + self.NAMES * self.NAME_SIZE))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 0)
        self.off()

    def off(self):
        self.page[20:24] = struct.pack("=I", ACTIONS["off"])

    def arm(self, role, at, action, calls=None, lasting=False):
        """From now on strike at the at-th call of these kinds (None: any change) that this role makes (None: the supervisor, and
        the command line); lasting: and at all that follow, until it is off."""
        self.off()
        bits = sum(1 << CALLS.index(c) for c in calls or CHANGES)
        self.page[:] = bytes(len(self.page))
        self.page[:self.HEAD.size] = self.HEAD.pack(b"mfd-" + role.encode() if role else b"mfdrelay", bits, ACTIONS["off"], at, 0, 0, lasting, 0)
        self.page[20:24] = struct.pack("=I", ACTIONS[action])

    at = property(lambda self: self.HEAD.unpack_from(self.page)[3])
    count = property(lambda self: self.HEAD.unpack_from(self.page)[4])
    struck = property(lambda self: bool(self.HEAD.unpack_from(self.page)[5]))
    struck_s = property(lambda self: self.HEAD.unpack_from(self.page)[7] / 1e9)

    def names(self):
        """The calls that were counted, as "unlinkat queue/<id>"."""
        first = self.HEAD.size
        starts = [first + i * self.NAME_SIZE for i in range(min(self.count, self.NAMES))]
        return [self.page[s:s + self.NAME_SIZE].split(b"\0")[0].decode(errors="replace") for s in starts]

    def struck_call(self):
        return self.names()[self.at - 1] if self.at <= self.NAMES else "a call whose name is not kept"


_environment = threading.Lock()


class CrashRelay(harness.Relay):
    """A relay under interpose.so; its `control` arms it."""

    def __init__(self, folder, sim=None, **overrides):
        # The library looks where a descriptor leads and who it runs in, which the sandbox would refuse.
        super().__init__(folder, sim, **{"sandbox": "off", **overrides})
        self.control = Control(self.dir / "control")

    def preload(self):
        """What a process's environment needs."""
        return {"LD_PRELOAD": harness.binary("interpose.so"), "CRASH_CONTROL": str(self.control.path),
                "CRASH_SPOOL": str(self.spool)}

    def start(self, wait=True, timeout=30):
        before = len(self.log())
        with _environment:
            os.environ.update(self.preload())
            try:
                super().start(wait=False)
            finally:
                for name in self.preload():
                    del os.environ[name]
        if wait:
            self.wait_started(before, timeout)
        return self

    def leftovers(self):
        """What no start may leave in queue/ and state/ when all is done."""
        return [str(p.relative_to(self.spool)) for f in ("queue", "state") for p in (self.spool / f).iterdir()]
