"""make bench: mfdrelay and Debian's Postfix side by side on one file system, alternating; medians, ratios, goals.

The generators are Postfix's smtp-source and probe.c, the upstream is sink.c; all of it runs on this machine, so that they take
their share of the CPU from both. Postfix's settings are in postfix/. Figures, not a test: it fails only when mail is missing."""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import harness  # noqa: E402
import measure  # noqa: E402
import servers  # noqa: E402
import workloads  # noqa: E402

# Workload, what it is, the function, how often it is run (None: as --runs says).
WORKLOADS = (
    ("A", "2 KB, 50 sessions, one message a connection", workloads.one_a_connection, None),
    ("S", "syncs a message, as A", workloads.syncs, 1),
    ("B", "2 KB, 50 sessions, 20 messages a connection", workloads.many_a_connection, None),
    ("C", "scans of 5 MB, 20 sessions", workloads.scans, None),
    ("D", "idle sessions, and messages beside them", workloads.idle_sessions, None),
    ("E", "a backlog: upstream down, restart, up again", workloads.backlog, None),
    ("G", "as B, upstream with STARTTLS and AUTH", workloads.with_tls, None),
    ("H", "as G, final dot answered after 100 ms, 20 connections", workloads.slow_upstream, None),
    ("I", "empty and idle", workloads.empty_and_idle, 1),
)

LOOP_BYTES = 8 << 30

# What a figure is called, and its format.
FIGURES = {
    "accepts": ("accepted, messages/s", "{:,.0f}"),
    "delivers": ("delivered, messages/s", "{:,.0f}"),
    "cpu": ("CPU s for 1,000", "{:.2f}"),
    "connections": ("connections upstream at a time", "{:.0f}"),
    "connections_new": ("new connections upstream", "{:,.0f}"),
    "p99_ms": ("final 250, 99th percentile, ms", "{:.1f}"),
    "syncs_1": ("syncs a message, 1 session", "{:.2f}"),
    "syncs_8": ("syncs a message, 8 sessions", "{:.2f}"),
    "syncs_50": ("syncs a message, 50 sessions", "{:.2f}"),
    "written": ("bytes written a byte, by the daemon", "{:.3f}"),
    "device": ("bytes written a byte, device", "{:.3f}"),
    "kb_few": ("KB an idle session, first 1,000", "{:,.1f}"),
    "kb": ("KB an idle session, to 5,000", "{:,.1f}"),
    "alone": ("accepted, none idle, messages/s", "{:,.0f}"),
    "share_few": ("accept rate beside 1,000 idle", "{:.0%}"),
    "share": ("share of what could be", "{:.0%}"),
    "first_220_s": ("s to the first 220, all queued", "{:.3f}"),
    "mb": ("memory, MB", "{:,.1f}"),
    "wakeups": ("wake-ups/s", "{:.2f}"),
}
TITLES = {("D", "share"): "accept rate beside 5,000 idle", ("H", "share"): "share of connections x 10/s",
          ("E", "mb"): "memory at most, MB"}

# (workload, figure): how it is compared, and what to reach. "ratio" is mfdrelay's figure by Postfix's.
GOALS = {
    ("A", "accepts"): ("ratio", ">=", 3), ("A", "delivers"): ("ratio", ">=", 4), ("A", "cpu"): ("ratio", "<=", 1 / 8),
    ("A", "p99_ms"): ("value", "<=", 25), ("S", "syncs_50"): ("value", "<=", 1.1),
    ("B", "accepts"): ("ratio", ">=", 3), ("B", "delivers"): ("ratio", ">=", 4), ("B", "cpu"): ("ratio", "<=", 1 / 8),
    ("C", "accepts"): ("ratio", ">=", 2), ("C", "delivers"): ("ratio", ">=", 2), ("C", "cpu"): ("ratio", "<=", 1 / 3),
    ("C", "device"): ("value", "<=", 1.05),
    ("D", "kb_few"): ("value", "<=", 3), ("D", "kb"): ("value", "<=", 3),
    ("D", "share_few"): ("value", ">=", 0.9), ("D", "share"): ("value", ">=", 0.9),
    ("E", "accepts"): ("ratio", ">=", 3), ("E", "delivers"): ("ratio", ">=", 3), ("E", "mb"): ("value", "<=", 32),
    ("E", "first_220_s"): ("value", "<=", 0.1),
    ("G", "accepts"): ("ratio", ">=", 4), ("G", "delivers"): ("ratio", ">=", 4), ("G", "cpu"): ("ratio", "<=", 1 / 6),
    ("G", "connections"): ("value", "<=", 10),
    ("H", "share"): ("value", ">=", 0.95),
    ("I", "mb"): ("value", "<=", 20), ("I", "wakeups"): ("value", "<=", 1),
}


class Bench:
    """Where it runs, and how much."""

    def __init__(self, base, scale):
        self.base = base
        self.scale = scale

    def count(self, full):
        return max(1, round(full * self.scale))

    @contextlib.contextmanager
    def folder(self):
        path = pathlib.Path(tempfile.mkdtemp(dir=self.base, prefix="bench-"))
        path.chmod(0o755)
        try:
            yield path
        finally:
            shutil.rmtree(path)
            os.sync()  # so that the next one does not pay for it


def parse_arguments():
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.split("\n")[0])
    parser.add_argument("--only", metavar="LETTERS", default="".join(w[0] for w in WORKLOADS), help="these workloads, as ABG")
    parser.add_argument("--runs", type=int, help="runs of each workload and daemon (5)")
    parser.add_argument("--scale", type=float, help="multiplies the counts of messages (1.0)")
    parser.add_argument("--quick", action="store_true", help="one run at a scale of 0.1: rough figures")
    parser.add_argument("--without-postfix", action="store_true", help="mfdrelay alone; ratios are left out")
    parser.add_argument("--loop", action="store_true", help="on an ext4 with a journal, made in an image there; needs root")
    parser.add_argument("--json", metavar="FILE", help="write every run's figures there too")
    arguments = parser.parse_args()
    arguments.runs = arguments.runs or (1 if arguments.quick else 5)
    arguments.scale = arguments.scale or (0.1 if arguments.quick else 1.0)
    return arguments


def run_workload(bench, function, classes, runs):
    """{server's name: [figures of each run]}; the servers take turns."""
    found = {c.name: [] for c in classes}
    for run_number in range(runs):
        for server_class in classes if run_number % 2 == 0 else classes[::-1]:
            found[server_class.name].append(function(bench, server_class))
    return found


def medians(runs):
    """None for what could not be measured here."""
    return {name: statistics.median(run[name] for run in runs) if runs[0][name] is not None else None for name in runs[0]}


def reached(goal, ours, ratio):
    """The goal in words, and yes, no or -."""
    kind, relation, limit = goal
    value = ratio if kind == "ratio" else ours
    text = f"{relation} {limit:.3g}" + ("x" if kind == "ratio" else "")
    if value is None:
        return text, "-"
    return text, "yes" if (value >= limit if relation == ">=" else value <= limit) else "NO"


def rows(letter, found):
    """One for each figure: name, mfdrelay, Postfix, ratio, goal, reached."""
    ours, theirs = medians(found["mfdrelay"]), medians(found["Postfix"]) if "Postfix" in found else {}
    for name, value in ours.items():
        title, form = FIGURES[name]
        other = theirs.get(name)
        ratio = value / other if other and value is not None else None
        goal, verdict = reached(GOALS[letter, name], value, ratio) if (letter, name) in GOALS else ("", "")
        yield (TITLES.get((letter, name), title), form.format(value) if value is not None else "-",
               form.format(other) if other is not None else "",
               f"{ratio:.3g}" if ratio is not None else "", goal, verdict)


def disk_limit(bench):
    """What one thread gets done by the spool's writes and syncs alone: the way ("unnamed" or "renamed"), {batch: messages/s}."""
    with bench.folder() as folder:
        output = measure.output(servers.TOOLS / "disk_limit", folder, bench.count(10000), workloads.SMALL)
    way, *lines = output.splitlines()
    limit = {int(line.split()[0]): float(line.split()[1]) for line in lines}
    print(f"The disk's limit, one thread, {workloads.SMALL} bytes, files {way} until they are durable, in messages/s: " +
          ", ".join(f"{rate:,.0f} in batches of {batch}" for batch, rate in limit.items()))
    if way == "renamed":
        print("This file system has no journal that would keep unnamed files, as machines in offices have: see --loop.")
    return way, limit


def surroundings(bench, classes):
    """What was compared, and where: printed, and returned for the report."""
    kind = measure.output("stat", "-f", "-c", "%T", bench.base).strip()  # works in a chroot, where no mount leads to it
    found = {"versions": {c.name: c.version() for c in classes}, "linux": os.uname().release, "processors": os.cpu_count(),
             "file_system": "ext2, 3 or 4" if kind == "ext2/ext3" else kind}
    print(" and ".join(f"{name} {version}" for name, version in found["versions"].items()) +
          f" on {found['file_system']}, Linux {found['linux']}, {found['processors']} processors")
    return found


@contextlib.contextmanager
def loop_mount(base):
    """An ext4 with a journal, in an image on a loop device."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=base, prefix="bench-loop-"))
    image, mounted = folder / "image", folder / "mnt"
    mounted.mkdir()
    try:
        with open(image, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, LOOP_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
        subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True)
        try:
            folder.chmod(0o755)
            yield mounted
        finally:
            subprocess.run(["umount", str(mounted)], check=True)
    finally:
        shutil.rmtree(folder)


def run(bench, arguments, classes):
    watch = measure.Stopwatch()
    way, limit = disk_limit(bench)
    result = {"runs": arguments.runs, "scale": arguments.scale, "files": way, "disk_limit": limit, **surroundings(bench, classes)}
    print(f"\n{'':38}{'mfdrelay':>12}{'Postfix':>12}{'ratio':>9}  {'goal':<9} reached", flush=True)
    for letter, title, function, runs in WORKLOADS:
        if letter not in arguments.only:
            continue
        found = run_workload(bench, function, classes, runs or arguments.runs)
        result[letter] = found
        print(f"{letter}  {title}" + (f" ({runs} run)" if runs else ""))
        for row in rows(letter, found):
            print("   {:35}{:>12}{:>12}{:>9}  {:<9} {}".format(*row), flush=True)
    result["seconds"] = watch.s()
    print(f"\nMedians of {arguments.runs}, scale {arguments.scale:g}, {watch.s() / 60:.1f} minutes.")
    return result


def main():
    arguments = parse_arguments()
    classes = [servers.Mfdrelay]
    if not workloads.SOURCE.exists():
        sys.exit(f"{workloads.SOURCE} is missing: run sh contrib/setup.sh")
    if not arguments.without_postfix and servers.Postfix.missing():
        print(f"without Postfix: {servers.Postfix.missing()}")
    elif not arguments.without_postfix:
        classes.append(servers.Postfix)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))

    base = pathlib.Path(os.environ.get("BENCH_DIR", harness.BUILD))
    with loop_mount(base) if arguments.loop else contextlib.nullcontext(base) as base:
        result = run(Bench(base, arguments.scale), arguments, classes)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
