"""What the workers can still do once they are set up, tried from inside each of them (probe.c)."""

import ctypes
import os
import re
import subprocess

import pytest

import harness
from harness import make_mail, wait_until

GRANTED = {
    "listener": {"write-queue", "thread"},
    "sender": {"read-secret", "read-spool-id", "read-by-creating", "write-queue", "write-state", "socket-inet", "thread"},
}
# Granted so far as the call goes: the probe's descriptor is none.
PASSED_ON = {"listener": set(), "sender": {"connect", "connect-by-sendto", "connect-by-sendmsg"}}
BY_LANDLOCK = {"write-outside", "write-secret", "write-state"}
ATTEMPTS = 25

pytestmark = pytest.mark.skipif(harness.is_sanitized(), reason="the sandbox refuses what a sanitizer does; make check has it")


@pytest.fixture
def probe(sim, make_relay, monkeypatch):
    """Starts a relay whose workers try everything, on a kernel without what it `lacks`: (relay, {worker: {attempt: result}})."""
    def started(lacks=""):
        relay = make_relay(sim, sandbox="on", start=False)
        (relay.dir / "secret").write_text("of the tenant\n")
        monkeypatch.setenv("LD_PRELOAD", harness.binary("probe.so"))
        monkeypatch.setenv("PROBE_FOLDER", str(relay.dir))
        monkeypatch.setenv("PROBE_LACKS", lacks)
        relay.start()
        monkeypatch.delenv("LD_PRELOAD")
        return relay, wait_until(lambda: all_attempts(relay), 10, "the last of the attempts")
    return started


def refused(attempts):
    return {attempt for attempt, result in attempts.items() if result in ("EPERM", "EACCES")}


def must_be_refused(worker, attempts):
    return set(attempts) - GRANTED[worker] - PASSED_ON[worker]


with_seccomp = pytest.mark.skipif(not os.path.exists("/proc/sys/kernel/seccomp"),
                                  reason="this kernel has no seccomp (CONFIG_SECCOMP_FILTER)")


def all_attempts(relay):
    """{worker: {attempt: result}}, or None while a worker still tries. ready is said before its first event."""
    attempts = {"listener": {}, "sender": {}}
    for worker, attempt, result in re.findall(r"^probe mfd-(\w+) (\S+) (\w+)$", relay.log(), re.M):
        attempts[worker][attempt] = result
    return attempts if all("chroot" in tried for tried in attempts.values()) else None


def landlock_of_this_kernel():
    """Its version, from the one on that lets a file be linked into another folder (LANDLOCK_ACCESS_FS_REFER); 0: it has none."""
    create_ruleset, ask_version = 444, 1
    version = ctypes.CDLL(None).syscall(create_ruleset, None, ctypes.c_size_t(0), ask_version)
    return version if version >= 2 else 0


@with_seccomp
@pytest.mark.parametrize("worker", ["listener", "sender"])
def test_a_worker_can_do_what_it_must_and_nothing_else(probe, worker):
    relay, attempts = probe()
    said = relay.events("sandbox", worker)[0]
    landlock = landlock_of_this_kernel()
    assert (said["seccomp"], int(said["landlock"])) == ("on", landlock)
    expected = must_be_refused(worker, attempts[worker]) - (set() if landlock else BY_LANDLOCK)
    assert len(attempts[worker]) == ATTEMPTS
    assert refused(attempts[worker]) >= expected, f"allowed beyond its need: {expected - refused(attempts[worker])} ({attempts[worker]})"
    assert {a for a, r in attempts[worker].items() if r == "done"} >= GRANTED[worker], attempts[worker]
    assert all(attempts[worker][a] == "EBADF" for a in PASSED_ON[worker])


@with_seccomp
@pytest.mark.parametrize("lacks, consequence", [("landlock", "file modes alone say which files this process can change"),
                                                ("seccomp", "this process can make any system call that its user may")])
def test_what_the_kernel_lacks_is_said_and_the_rest_holds(probe, sim, lacks, consequence):
    relay, attempts = probe(lacks)
    for worker in ("listener", "sender"):
        warning = next(e for e in relay.events("sandbox-incomplete", worker) if e["without"] == lacks)
        assert warning["consequence"] == consequence and warning["why"]
        said = relay.events("sandbox", worker)[0]
        if lacks == "landlock":
            expected = must_be_refused(worker, attempts[worker]) - BY_LANDLOCK
            assert said["landlock"] == "0" and said["seccomp"] == "on"
            assert refused(attempts[worker]) >= expected, f"allowed beyond its need: {expected - refused(attempts[worker])}"
        else:
            assert said["seccomp"] == "off" and int(said["landlock"]) == landlock_of_this_kernel()
            if landlock_of_this_kernel():
                assert refused(attempts[worker]) >= BY_LANDLOCK - GRANTED[worker]
    relay.send(make_mail())
    sim.wait_messages(1)


def test_mail_goes_through_the_sandboxed_workers(probe, sim):
    relay, _ = probe()
    (relay.spool / "queue/probe").unlink()
    relay.send(make_mail(body="x" * 70 + "\r\n"))
    relay.send(make_mail(body=("x" * 70 + "\r\n") * 20000))
    sim.wait_messages(2)
    relay.wait_empty()


def test_the_sandbox_can_be_switched_off_and_that_is_said(sim, make_relay):
    relay = make_relay(sim, sandbox="off")
    wait_until(lambda: relay.events("sandbox-off"), 10, "the warning")
    relay.send(make_mail())
    sim.wait_messages(1)
    status = {line.split(":")[0]: line.split()[-1] for line in open(f"/proc/{relay.pid('listener')}/status") if ":" in line}
    assert status["Seccomp"] == "0"


def test_no_worker_has_a_capability_that_it_does_not_need(sim, make_relay):
    relay = make_relay(sim, sandbox="on")
    needed = 0b110 if os.geteuid() == 0 else 0  # DAC_OVERRIDE, DAC_READ_SEARCH: root without `user` opens its files
    for worker in ("listener", "sender"):
        status = open(f"/proc/{relay.pid(worker)}/status").read()
        assert int(re.search(r"CapEff:\s*(\w+)", status)[1], 16) == needed
        assert int(re.search(r"CapPrm:\s*(\w+)", status)[1], 16) == needed
        assert int(re.search(r"CapAmb:\s*(\w+)", status)[1], 16) == 0
        assert re.search(r"NoNewPrivs:\s*1", status) and re.search(r"Seccomp:\s*2", status)


def test_no_worker_leaves_a_core_dump_or_can_be_looked_into(sim, make_relay):
    """Both are one thing to the kernel (PR_SET_DUMPABLE), and it shows in what a process of the same user is let see."""
    relay = make_relay(sim)
    without_privilege = ["setpriv", "--bounding-set=-sys_ptrace"] if os.geteuid() == 0 else []

    def is_seen(pid):
        return subprocess.run([*without_privilege, "readlink", f"/proc/{pid}/exe"], capture_output=True).returncode == 0
    with subprocess.Popen([*without_privilege, "cat"], stdin=subprocess.PIPE) as other:
        assert [is_seen(pid) for pid in (other.pid, relay.pid("listener"), relay.pid("sender"))] == [True, False, False]
