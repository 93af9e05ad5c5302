"""The system runs short of descriptors, memory or processes: the daemon refuses politely or lets devices wait, a worker that
dies of it is started again, and when there is enough again all goes on. What was acknowledged arrives, once."""

import contextlib
import os
import re
import resource
import subprocess
import tempfile
import threading

import pytest

import harness
import needs
from harness import expect, make_mail, wait_until

NOBODY = 65534


def subjects(sim):
    return [re.search(rb"\r\nSubject: (\S+)", m.content)[1].decode() for m in sim.messages()]


@contextlib.contextmanager
def limited(pid, what, soft):
    """The process's soft limit is so low, until the end or until lift() is called."""
    old = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, old[1]))

    def lift():
        if harness.alive(pid):
            resource.prlimit(pid, what, old)
    try:
        yield lift
    finally:
        lift()


def files_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def send(relay, acknowledged, subject, timeout=30, recipients=1):
    """As a device; the reply's code, or None when there was none."""
    try:
        with relay.smtp(timeout) as client:
            client.helo("printer")
            client.mail("printer@contoso.com")
            for i in range(recipients):
                client.rcpt(f"boss{i}@contoso.com")
            code, text = client.docmd("DATA")
            if code == 354:
                client.send(make_mail(subject=subject) + b".\r\n")
                code, text = client.getreply()
    except (OSError, harness.smtplib.SMTPException):
        return None
    if code == 250:
        acknowledged.append(subject)
    return code if code > 0 else None


def check_end(relay, sim, acknowledged, timeout=45):
    relay.wait_empty(timeout)
    assert sorted(subjects(sim)) == sorted(acknowledged)


@pytest.fixture
def relay(make_relay, sim):
    return make_relay(sim)


# --- descriptors --------------------------------------------------------------------------------------------------------

@needs.root("counting the descriptors of a worker, which nobody may look into,")
def test_without_descriptors_sessions_are_told_and_new_ones_wait(sim, relay):
    acknowledged, listener = [], relay.pid("listener")
    idle = [relay.smtp() for _ in range(3)]
    with limited(listener, resource.RLIMIT_NOFILE, files_of(listener)) as lift:
        # One that is in has no file to write to.
        client = idle[0]
        client.helo("printer")
        client.mail("printer@contoso.com")
        client.rcpt("boss@contoso.com")
        expect(client.docmd("DATA"), 354)
        client.send(make_mail(subject="refused.") + b".\r\n")
        code, text = client.getreply()
        assert code == 451 and b"Too many open files" in text
        # One that comes is not refused either: it waits until there is room.
        answers = []
        waiting = threading.Thread(target=lambda: answers.append(send(relay, acknowledged, "waited.")))
        waiting.start()
        event = relay.wait_event("accept-failed")[0]
        assert "LimitNOFILE" in event["remedy"]
        assert answers == []
        lift()
        waiting.join(30)
        assert answers == [250]
    for client in idle:
        client.close()
    check_end(relay, sim, acknowledged)
    assert relay.pid("listener") == listener, "it did not live through it"


@needs.root("counting the descriptors of a worker, which nobody may look into,")
def test_a_sender_without_descriptors_keeps_its_mail_and_sends_it_later(sim, make_relay):
    relay = make_relay(sim, clock=True)
    acknowledged, sender = [], relay.pid("sender")
    with limited(sender, resource.RLIMIT_NOFILE, files_of(sender)) as lift:
        for i in range(5):
            assert send(relay, acknowledged, f"n{i}.") == 250
        relay.wait_log("Too many open files")
        assert sim.messages() == []
        lift()
    relay.clock.forward(11)
    check_end(relay, sim, acknowledged)
    assert relay.queue_ids("failed") == [] and relay.pid("sender") == sender


def test_a_supervisor_without_descriptors_starts_its_worker_when_it_has_some(sim, relay):
    acknowledged = []
    with limited(relay.pid("supervisor"), resource.RLIMIT_NOFILE, 1) as lift:  # it gets none, not even those that the dead one leaves
        relay.kill("listener")
        relay.wait_event("fork-failed")
        lift()
        wait_until(lambda: send(relay, acknowledged, "after."), 20, "a new listener")
    check_end(relay, sim, acknowledged)


# --- memory -------------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(harness.is_sanitized(), reason="a sanitizer's shadow memory has no room below such a limit; make crash has it")
@pytest.mark.parametrize("role", ["listener", "sender"])
def test_a_worker_out_of_memory_is_started_again(role, sim, make_relay):
    relay = make_relay(sim, limits={"sessions": 400, "sessions_per_address": 400, "recipients": 2000}, retry={"first": "1s", "max": "1s"})
    acknowledged, pid = [], relay.pid(role)
    assert send(relay, acknowledged, "before.") == 250
    relay.wait_empty()
    size = int(re.search(r"^VmData:\s+(\d+)", harness.read_text(f"/proc/{pid}/status"), re.M)[1]) * 1024
    sessions, relay.may_die = [], True
    # All that is private and writable; RLIMIT_AS would count address space that malloc has set aside and may still use.
    with limited(pid, resource.RLIMIT_DATA, size if role == "listener" else 1):
        if role == "listener":
            # Each content under way has a buffer of 64 KiB.
            for i in range(300):
                with contextlib.suppress(OSError, harness.smtplib.SMTPException):
                    sessions.append(begin_data(relay))
                if not harness.alive(pid):
                    break
        else:
            # A thousand messages cost it nothing; an envelope is read as a whole.
            assert send(relay, acknowledged, "many.", recipients=2000) == 250
        relay.wait_replaced(role, pid)
    relay.wait_log(r"out of memory: this process ends \(a worker is started again\); give")
    assert relay.events("worker-died")[0]["exit"] == "70"
    for client in sessions:
        client.close()
    wait_until(lambda: send(relay, acknowledged, "after.") == 250, 20, "a 250 again")
    relay.wait_empty(45)
    assert set(subjects(sim)) == set(acknowledged)
    recipients = [r for m in sim.messages() for r in m["rcpt"]]
    assert len(recipients) == (2002 if role == "sender" else 2)


def begin_data(relay):
    client = relay.smtp(10)
    client.helo("printer")
    client.mail("printer@contoso.com")
    client.rcpt("boss@contoso.com")
    expect(client.docmd("DATA"), 354)
    client.send(b"X: y\r\n" * 100)
    return client


# --- processes ----------------------------------------------------------------------------------------------------------

def try_one_by_one(relay, acknowledged, lift, event):
    """The listener is gone and cannot be started: a device that comes waits at the socket, which the supervisor has."""
    answers, relay.may_die = [], True
    relay.kill("listener")
    relay.wait_event(event)
    waiting = threading.Thread(target=lambda: answers.append(send(relay, acknowledged, "waited.", timeout=60)))
    waiting.start()
    relay.wait_event(event, 2)
    assert answers == []
    lift()
    waiting.join(60)
    assert answers == [250]


@contextlib.contextmanager
def nobodys_relay(under=(), **settings):
    """In a folder that is nobody's, and that others can enter: each start of pytest closes the one of tmp_path again."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        sim = harness.Sim(f"{name}/sim").start()
        relay = harness.Relay(f"{name}/relay", sim, **settings)
        relay.under = list(under)
        if os.geteuid() == 0:
            for path in (relay.dir, relay.dir / "client-secret"):
                os.chown(path, NOBODY, NOBODY)
        try:
            relay.start()
            yield relay
        finally:
            harness.stop_all(relay, sim)


@needs.root("changing to another user")
def test_a_user_without_processes_left_has_its_worker_back_when_there_are():
    acknowledged = []
    with nobodys_relay(user="nobody") as relay:
        # Root's forks are not counted, the worker's own threads are.
        with limited(relay.pid("supervisor"), resource.RLIMIT_NPROC, 1) as lift:
            try_one_by_one(relay, acknowledged, lift, "thread-failed")
        assert "TasksMax" in relay.events("thread-failed")[0]["remedy"]
        check_end(relay, relay.sim, acknowledged)


# Root's processes are never too many, and another's limits take a capability.
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if os.geteuid() == 0 else ()
# The program may lie where nobody cannot go, so it is opened before.
UNDER = ("sh", "-c", f'exec 9<"$0" {" ".join(AS_NOBODY)} /proc/self/fd/9 "$@"')


def allow_processes(pid, number):
    """The process can fork while its user has fewer of them."""
    soft = "unlimited" if number == resource.RLIM_INFINITY else number
    subprocess.run([*AS_NOBODY, "prlimit", f"--pid={pid}", f"--nproc={soft}:"], check=True)


def test_a_supervisor_that_cannot_fork_does_so_when_it_can():
    acknowledged, before = [], resource.getrlimit(resource.RLIMIT_NPROC)[0]
    with nobodys_relay(under=UNDER) as relay:
        allow_processes(relay.pid("supervisor"), 1)
        try_one_by_one(relay, acknowledged, lambda: allow_processes(relay.pid("supervisor"), before), "fork-failed")
        check_end(relay, relay.sim, acknowledged)
