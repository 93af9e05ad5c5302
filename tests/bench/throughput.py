"""make bench: how fast mail goes in and out, and what it costs. Prints figures; fails only when mail is missing.

Generator: Postfix's smtp-source (contrib/setup.sh). Upstream: the simulator with STARTTLS and XOAUTH2, on the same machine and
the same two or more processors, so that generator and upstream take their share of the CPU."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "system"))

import harness  # noqa: E402

SOURCE = harness.ROOT / ".tools" / "bin" / "smtp-source"
WORKERS = ("listener", "sender")


def memory_kb(pid, field):
    return int(re.search(rf"^{field}:\s+(\d+) kB", harness.read_text(f"/proc/{pid}/status"), re.M)[1])


def cpu_s(pid):
    stat = harness.read_text(f"/proc/{pid}/stat")
    fields = stat[stat.rfind(")") + 2:].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(title, count, size, sessions, folder):
    sim = harness.Sim(folder / "sim").start()
    relay = harness.Relay(folder / "relay", sim).start()
    pids = {role: relay.pid(role) for role in WORKERS}
    before = {role: memory_kb(pid, "VmRSS") for role, pid in pids.items()}
    begun = time.monotonic()
    subprocess.run([str(SOURCE), "-s", str(sessions), "-m", str(count), "-l", str(size), "-f", "load@contoso.com", "-t",
                    "boss@contoso.com", f"127.0.0.1:{relay.port}"], check=True)
    accepted = time.monotonic() - begun
    sim.wait_messages(count, 300)
    relay.wait_empty(60)
    delivered = time.monotonic() - begun
    print(f"{title}: {count} messages of {size} bytes over {sessions} connections")
    print(f"  accepted   {count / accepted:8.0f} /s   {count * size / accepted / 1e6:8.1f} MB/s   {accepted:.2f} s")
    print(f"  delivered  {count / delivered:8.0f} /s   {count * size / delivered / 1e6:8.1f} MB/s   {delivered:.2f} s")
    for role, pid in pids.items():
        print(f"  {role:9} memory before {before[role]} KB, peak {memory_kb(pid, 'VmHWM')} KB; CPU {cpu_s(pid):.2f} s")
    relay.stop()
    sim.stop()


def syncs(count, size, sessions, folder):
    """fsync and fdatasync calls of both workers, counted by strace in a run of its own."""
    sim = harness.Sim(folder / "sim").start()
    relay = harness.Relay(folder / "relay", sim).start()
    trace = folder / "trace"
    command = ["strace", "-f", "-q", "-e", "trace=fsync,fdatasync,sync_file_range,syncfs", "-o", str(trace)]
    for role in WORKERS:
        command += ["-p", str(relay.pid(role))]
    with subprocess.Popen(command) as strace:
        time.sleep(1)
        subprocess.run([str(SOURCE), "-s", str(sessions), "-m", str(count), "-l", str(size), "-f", "load@contoso.com", "-t",
                        "boss@contoso.com", f"127.0.0.1:{relay.port}"], check=True)
        sim.wait_messages(count, 300)
        relay.wait_empty(60)
        time.sleep(0.5)
        strace.terminate()
    calls = len(re.findall(r"\b(?:fsync|fdatasync|syncfs)\(", harness.read_text(trace)))
    print(f"syncs: {calls} fsync and fdatasync calls for {count} messages over {sessions} connections: {calls / count:.2f} a message")
    relay.stop()
    sim.stop()


def main():
    if not SOURCE.exists():
        sys.exit(f"{SOURCE} is missing: run sh contrib/setup.sh")
    base = os.environ.get("BENCH_DIR", str(harness.BUILD))
    for number, what in enumerate((
            lambda folder: run("small", 1000, 20480, 20, folder),
            lambda folder: run("scans", 50, 10_000_000, 10, folder),
            lambda folder: syncs(1000, 20480, 20, folder),
            lambda folder: syncs(200, 20480, 1, folder))):
        with tempfile.TemporaryDirectory(dir=base, prefix=f"bench{number}-") as folder:
            what(pathlib.Path(folder))


if __name__ == "__main__":
    main()
