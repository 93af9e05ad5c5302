"""What processes cost: CPU, memory, wake-ups, bytes and syncs, of a whole tree of them; and what commands print."""

import os
import re
import subprocess
import threading
import time

import harness

TICKS = os.sysconf("SC_CLK_TCK")


def output(*command, **options):
    """What a command prints."""
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def stat_fields(pid):
    """Of /proc/PID/stat, from the state on: [1] is the parent, [11] to [14] the times."""
    stat = harness.read_text(f"/proc/{pid}/stat")
    return stat[stat.rfind(")") + 2:].split()


def tree(root):
    """root and all its descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = stat_fields(entry)
            if len(fields) > 1:
                children.setdefault(int(fields[1]), []).append(int(entry))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_s(root):
    """User and system time of the tree, of those that have ended too: a parent has the times of children it waited for."""
    return sum(sum(map(int, stat_fields(pid)[11:15])) for pid in tree(root) if stat_fields(pid)) / TICKS


def pss_kb(root):
    """Memory of the tree, what is shared counted once."""
    found = 0
    for pid in tree(root):
        try:
            match = re.search(r"^Pss:\s+(\d+)", harness.read_text(f"/proc/{pid}/smaps_rollup"), re.M)
        except OSError:  # it ended as we looked
            continue
        found += int(match[1]) if match else 0
    return found


def written_bytes(root):
    """Bytes the tree has caused to be written to disk, those of ended children included."""
    texts = (harness.read_text(f"/proc/{pid}/io") for pid in tree(root))
    return sum(int(match[1]) for match in (re.search(r"^write_bytes: (\d+)", text, re.M) for text in texts) if match)


def device_bytes(folder):
    """Bytes written so far to the device under folder, by everybody; None where it has no counts (tmpfs, overlay)."""
    device = os.stat(folder).st_dev
    text = harness.read_text(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").split()
    return int(text[6]) * 512 if text else None


def wakeups(root):
    """Times that threads of the tree have waited for something and got it."""
    count = 0
    for pid in tree(root):
        for task in os.listdir(f"/proc/{pid}/task"):
            match = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", harness.read_text(f"/proc/{pid}/task/{task}/status"), re.M)
            count += int(match[1]) if match else 0
    return count


class PeakMemory:
    """The largest of pss_kb(root) while the block runs and at its end: kb. It is looked at every three seconds, as a look at a
    hundred processes costs."""

    def __init__(self, root):
        self.root, self.kb = root, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        over = False
        while not over:
            over = self._over.wait(3)
            self.kb = max(self.kb, pss_kb(self.root))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


SYNC_CALLS = "fsync,fdatasync,sync,syncfs,msync"


def strace_prefix(report):
    """Put before a daemon's command: its syncs are counted into report. Other calls are not stopped at, so it stays fast."""
    return ["strace", "-f", "--seccomp-bpf", "-qq", "-c", "-e", f"trace={SYNC_CALLS}", "-o", str(report)]


def counted_syncs(report):
    """Once strace has ended."""
    calls = 0
    for line in harness.read_text(report).splitlines():
        words = line.split()
        if words and words[-1] in SYNC_CALLS.split(","):
            calls += int(words[3])
    return calls


class Stopwatch:
    def __init__(self):
        self.begun = time.monotonic()

    def s(self):
        return time.monotonic() - self.begun
