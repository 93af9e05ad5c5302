"""A disk that refuses: the device hears a 4xx with the reason, the log and the status say it, and within half a minute of the
cure all goes on by itself. What was acknowledged arrives, once; what was refused does not."""

import concurrent.futures
import contextlib
import itertools
import json
import os
import re
import shutil
import time

import pytest

import harness
import interposed
import mounts
import needs
from harness import make_mail, wait_until

RESUMES_S = 30
NOBODY = 65534
WRITES = ["write", "pwrite"]


class Trouble:
    """One relay and what its devices were told; the end is checked against that."""

    def __init__(self, relay, sim):
        self.relay, self.sim = relay, sim
        self.acknowledged, self.numbers = set(), itertools.count(1)

    def send(self, size=0, recipient="boss@contoso.com"):
        """(code, text) of what ended it: the 250, or a refusal."""
        subject = f"number-{next(self.numbers)}."
        with self.relay.smtp() as client:
            client.helo("printer")
            for command in ("MAIL FROM:<printer@contoso.com>", f"RCPT TO:<{recipient}>", "DATA"):
                code, text = client.docmd(command)
                if code >= 400:
                    return code, text.decode()
            client.send(make_mail(subject=subject, body="line\r\n" * (size // 6 + 1)) + b".\r\n")
            code, text = client.getreply()
        if code == 250:
            self.acknowledged.add(subject)
        return code, text.decode()

    def accept(self, n=1, **options):
        for _ in range(n):
            expect_code(self.send(**options), 250)

    def accepts_again(self):
        """Waits for that, no longer than the promise says."""
        def accepted():
            with contextlib.suppress(OSError, harness.smtplib.SMTPException):  # a worker may end for another just now
                return self.send()[0] == 250
        wait_until(accepted, RESUMES_S, lambda: f"a 250; the log:\n{self.relay.log()[-3000:]}", step=0.2)

    def alarms(self):
        status = self.relay.cli("status", "--json")
        return json.loads(status.stdout).get("alarms", []), status.returncode

    def wait_alarm(self, pattern):
        def there():
            alarms, status = self.alarms()
            return status == 2 and any(re.search(pattern, a) for a in alarms)
        wait_until(there, 10, lambda: f"an alarm of {pattern}: {self.alarms()}", step=0.1)

    def arrived(self):
        return [re.search(rb"\r\nSubject: (\S+)", m.content)[1].decode() for m in self.sim.messages()]

    def check_end(self, timeout=60):
        self.relay.wait_empty(timeout)
        assert sorted(self.arrived()) == sorted(self.acknowledged)
        wait_until(lambda: self.alarms() == ([], 0), 10, lambda: f"no alarm any more: {self.alarms()}")


def expect_code(reply, code, pattern=""):
    assert reply[0] == code and re.search(pattern, reply[1]), reply


@contextlib.contextmanager
def running(relay):
    """relay, from when both its workers are ready to its end."""
    relay.start()
    try:
        yield relay
    finally:
        relay.control.off()
        relay.stop()


@pytest.fixture
def interposed_relay(tmp_path, sim):
    with running(interposed.CrashRelay(tmp_path / "interposed", sim)) as relay:
        yield relay


@pytest.fixture
def ext4_relay(tmp_path, sim):
    """Under interpose.so, with its spool on ext4."""
    mounts.make_ext4(tmp_path / "image", 64)
    with mounts.mounted(tmp_path / "disk", "ext4", tmp_path / "image", "loop"):
        with running(interposed.CrashRelay(tmp_path / "interposed", sim, spool=str(tmp_path / "disk" / "spool"))) as relay:
            yield relay


def fill(path):
    """The rest of the file system goes into this file, to the last page."""
    with open(path, "ab") as file:
        for piece in (65536, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)


def fill_inodes(folder):
    folder.mkdir(exist_ok=True)
    first = len(os.listdir(folder))
    try:
        for i in range(first, first + 100_000):
            (folder / str(i)).touch()
    except OSError:
        return
    raise AssertionError("the inodes never end")


FULL = {
    "bytes": ("size=8m", lambda folder: fill(folder / "filler"), lambda folder: (folder / "filler").unlink(), "nearly full"),
    "inodes": ("size=8m,nr_inodes=400", lambda folder: fill_inodes(folder / "filler"),
               lambda folder: shutil.rmtree(folder / "filler"), "out of inodes"),
}


@pytest.mark.parametrize("what", FULL)
def test_a_full_disk_refuses_drains_and_resumes(what, tmp_path, sim, make_relay):
    options, use_up, cure, why = FULL[what]
    with mounts.mounted(tmp_path / "disk", "tmpfs", options=options):
        relay = make_relay(sim, spool=str(tmp_path / "disk" / "spool"), retry={"first": "1s", "max": "1s"})
        trouble = Trouble(relay, sim)
        # Some wait, and are put off, so that their states are to be written on the full disk.
        sim.faults("rcpt=* reply 451 4.3.2 Temporary server error. Please try again later ATTR5")
        trouble.accept(5)
        relay.wait_event("deferred", 5)
        use_up(tmp_path / "disk")
        wait_until(lambda: trouble.send()[0] == 452, 5, "the disk to be found full")
        # By the file system until the free space is looked at again.
        wait_until(lambda: trouble.send()[0] == 452 and re.search(why, relay.log()), 5, f"the log to say {why}", step=0.2)
        expect_code(trouble.send(), 452, "disk is full")
        trouble.wait_alarm(why)
        # What was being written when the disk filled up may have left room behind.
        wait_until(lambda: len(relay.events("spool-trouble")) >= 5 or use_up(tmp_path / "disk"), 20, "states that are not taken")
        sim.clear()
        relay.wait_empty(20)
        assert len(sim.messages()) == len(trouble.acknowledged) >= 5, "a full disk does not drain"
        expect_code(trouble.send(), 452)
        cure(tmp_path / "disk")
        trouble.accepts_again()
        trouble.check_end()
        relay.stop()


def test_a_disk_that_fills_up_inside_a_message_refuses_that_message(tmp_path, sim, make_relay):
    with mounts.mounted(tmp_path / "disk", "tmpfs", options="size=8m"):
        relay = make_relay(sim, spool=str(tmp_path / "disk" / "spool"))
        trouble = Trouble(relay, sim)
        trouble.accept()
        expect_code(trouble.send(size=12_000_000), 452, "disk is full")
        assert [e["reply"][:3] for e in relay.events("refused")] == ["452"]
        trouble.accepts_again()
        trouble.check_end()
        assert list((relay.spool / "queue").iterdir()) == []
        relay.stop()


@pytest.mark.interposed
@pytest.mark.parametrize("calls, action, code, told", [
    (["fsync"], "eio", 451, "Input/output error"),
    (WRITES, "edquot", 452, "quota"),
    (WRITES + ["openat", "linkat", "renameat2", "unlinkat"], "erofs", 451, "Read-only file system"),
], ids=["EIO on fsync", "EDQUOT on write", "EROFS on all"])
def test_a_disk_that_takes_nothing_refuses_with_its_reason_and_resumes(calls, action, code, told, interposed_relay, sim):
    trouble = Trouble(interposed_relay, sim)
    trouble.accept()
    interposed_relay.control.arm("listener", 1, action, calls, lasting=True)
    for size in (0, 300_000):
        expect_code(trouble.send(size), code, told)
    assert told in interposed_relay.log()
    trouble.wait_alarm("disk did not take it: " + {"eio": "Input", "edquot": "Disk quota", "erofs": "Read-only"}[action])
    interposed_relay.control.off()
    trouble.accepts_again()
    trouble.check_end()
    assert interposed_relay.leftovers() == []


@pytest.mark.interposed
def test_where_the_sync_of_all_files_fails_each_has_its_own(ext4_relay, sim):
    """Somebody else's data could not be written: no reason to refuse ours. A disk that takes nothing refuses all of them. No
    second sync of all is asked: it would be silent about what the first has told."""
    relay, trouble = ext4_relay, Trouble(ext4_relay, sim)

    def all_are_told(code, n=24):
        """Many at once. Returns whether a sync of all was asked for some of them."""
        with concurrent.futures.ThreadPoolExecutor(n) as pool:
            assert {reply[0] for reply in pool.map(lambda _: trouble.send(), range(n))} == {code}
        return any(name.startswith("syncfs") for name in relay.control.names())
    relay.control.arm("listener", 1, "eio", ["syncfs"], lasting=True)
    wait_until(lambda: all_are_told(250), 30, "files to be synced together")
    relay.control.arm("listener", 1, "eio", ["syncfs", "fsync"], lasting=True)
    assert not all_are_told(451), relay.control.names()
    relay.control.off()
    trouble.accepts_again()
    trouble.check_end()
    assert relay.leftovers() == []


@pytest.mark.interposed
@pytest.mark.parametrize("action", ["kill", "kill-after"])
def test_a_listener_that_dies_at_the_sync_of_all_files_loses_nothing_acknowledged(action, ext4_relay, sim):
    relay, trouble = ext4_relay, Trouble(ext4_relay, sim)
    refused = (OSError, harness.smtplib.SMTPException)

    def send(_):
        with contextlib.suppress(*refused):
            trouble.send()
    relay.control.arm("listener", 2, action, ["syncfs"])
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        wait_until(lambda: list(pool.map(send, range(96))) and relay.control.struck, 30, "files to be synced together, twice")
    assert trouble.acknowledged
    relay.control.off()
    trouble.accepts_again()
    # A wake-up that died with the listener costs a rescan, after 30 s: a start looks at once.
    relay.stop()
    relay.start()
    relay.wait_empty()
    arrived = trouble.arrived()
    assert trouble.acknowledged <= set(arrived) and len(arrived) == len(set(arrived))
    assert relay.leftovers() == []


@pytest.mark.interposed
def test_a_message_that_cannot_be_read_waits_and_goes_out_when_it_can(interposed_relay, sim):
    trouble = Trouble(interposed_relay, sim)
    interposed_relay.control.arm("sender", 1, "eio", ["pread"], lasting=True)
    trouble.accept(3)
    interposed_relay.wait_event("message-unreadable", 3)
    trouble.wait_alarm("3 messages wait for the disk")
    assert "without a route" not in interposed_relay.cli("status").stdout
    assert len(interposed_relay.queue_ids()) == 3 and interposed_relay.queue_ids("failed") == []
    interposed_relay.control.off()
    trouble.check_end(timeout=RESUMES_S)


@pytest.mark.interposed
def test_what_cannot_be_read_is_not_called_damaged(interposed_relay, sim):
    relay = interposed_relay
    sim.faults("connect refuse")
    queue_id = relay.send(make_mail())
    relay.stop()

    def ask(*arguments):
        relay.control.arm(None, 1, "eio", ["pread"], lasting=True)
        return relay.cli(*arguments, variables=relay.preload())
    assert f"{queue_id:19} queue  cannot be read: {queue_id}: reading it: Input/output error" in ask("queue", "list").stdout
    assert ask("queue", "show", queue_id).stderr == f"mfdrelay: queue/{queue_id}: cannot be read: {queue_id}: reading it: Input/output error\n"
    listed, = json.loads(ask("queue", "list", "--json").stdout)
    assert "damaged" not in listed and "Input/output error" in listed["unreadable"]


@pytest.mark.interposed
def test_a_file_system_without_the_messages_locks_is_refused_before_any_mail_is_taken(tmp_path, sim):
    """As NFS does, whose locks of that kind need a descriptor for writing: the second lock is the first of that kind."""
    relay = interposed.CrashRelay(tmp_path / "interposed", sim)
    relay.control.arm(None, 2, "ebadf", ["flock"])
    relay.start(wait=False)
    assert relay.wait_end() == 1
    assert relay.control.struck_call() == "flock var/spool-id"
    relay.wait_log("(?s)spool: its file system has not the locks .*local disk")


@pytest.mark.interposed
def test_a_state_that_cannot_be_written_is_kept_in_mind_and_sent_to_nobody_twice(interposed_relay, sim):
    """One recipient has it, the other is put off, and the disk does not take that down: while the sender lives, it knows."""
    relay, trouble = interposed_relay, Trouble(interposed_relay, sim)
    sim.faults("rcpt=late@* reply 451 4.3.2 Temporary server error. Please try again later ATTR5 times=1")
    relay.control.arm("sender", 1, "eio", ["fsync"], lasting=True)
    relay.send(make_mail(), recipients=["boss@contoso.com", "late@contoso.com"])
    relay.wait_event("spool-trouble")
    trouble.wait_alarm("1 messages? wait")
    relay.control.off()
    relay.wait_empty(RESUMES_S)
    assert sorted(r for m in sim.messages() for r in m["rcpt"]) == ["boss@contoso.com", "late@contoso.com"]


@pytest.mark.interposed
def test_where_nothing_can_be_removed_no_more_than_a_few_are_sent_until_it_can(interposed_relay, sim):
    relay, trouble = interposed_relay, Trouble(interposed_relay, sim)
    sim.faults("connect refuse")
    trouble.accept(30)
    relay.control.arm("sender", 1, "eio", ["unlinkat"], lasting=True)
    sim.clear()
    harness.wait_open(sim.smtp_port)
    relay.cli("queue", "retry", "all")
    trouble.wait_alarm("delivered messages cannot be removed")
    # What was under way when there were ten too many.
    time.sleep(3)
    sent = len(sim.messages())
    assert 10 <= sent < 20, sent
    assert len(relay.queue_ids()) == 30
    relay.control.off()
    trouble.check_end(timeout=RESUMES_S)


@pytest.mark.interposed
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_could_not_be_removed_is_not_sent_again_after_a_restart(end, interposed_relay, sim):
    relay, trouble = interposed_relay, Trouble(interposed_relay, sim)
    relay.control.arm("sender", 1, "eio", ["unlinkat"], lasting=True)
    trouble.accept(3)
    relay.wait_event("spool-remove-failed", 3)
    if end == "kill":
        wait_until(lambda: len(relay.queue_ids("state")) == 3, 10, "it to be written down that they are delivered")
        relay.kill_all()
    relay.control.off()
    relay.stop()
    if end == "stop":
        assert relay.queue_ids() == []
    relay.start()
    trouble.check_end()
    assert relay.leftovers() == []


def test_a_file_system_that_turns_read_only_refuses_and_keeps_what_was_acknowledged(tmp_path, make_sim, make_relay):
    """As ext4 does by itself when it finds an error. It is writable again after a repair only, which needs the daemon's stop."""
    sim = make_sim()
    image = tmp_path / "image"
    mounts.make_ext4(image, 64)
    relay = make_relay(sim, start=False, spool=str(tmp_path / "disk" / "spool"))
    trouble = Trouble(relay, sim)
    sim.stop()
    with mounts.mounted(tmp_path / "disk", "ext4", image, "loop,errors=remount-ro"):
        relay.start()
        trouble.accept(5)
        mounts.force_error(tmp_path / "disk")
        expect_code(trouble.send(), 451, "Read-only file system")
        trouble.wait_alarm("Read-only file system")
        assert "Read-only file system" in relay.log()
        sim.start()
        # What can be read goes out, and is sent once though it cannot be removed.
        sim.wait_messages(5, 40)
        relay.wait_event("spool-remove-failed", 5)
        relay.cli("queue", "retry", "all")
        time.sleep(1)
        assert len(sim.messages()) == 5
        relay.stop()
    mounts.repair(image)
    with mounts.mounted(tmp_path / "disk", "ext4", image, "loop"):
        relay.start()
        relay.wait_empty(40)
        # The window of promise 4: delivered, not recorded, and then the daemon was stopped.
        arrived = set(trouble.arrived())
        assert arrived == trouble.acknowledged
        trouble.accept()
        sim.wait_messages(11)
        relay.stop()


def test_a_frozen_disk_ends_no_worker(tmp_path, sim, make_relay):
    """The sender gets its 250, and sleeps in the removal of the message: killed there, it would send it again. The rights are those
    of the unit: all of the daemon is one user's, who sees no other processes."""
    harness.let_others_enter(tmp_path)
    mounts.make_ext4(tmp_path / "image", 64)
    with mounts.mounted(tmp_path / "disk", "ext4", tmp_path / "image", "loop"):
        relay = make_relay(sim, start=False, clock=True, spool=str(tmp_path / "disk" / "spool"))
        relay.under = needs.mounts_of_its_own('mount -t proc -o hidepid=invisible,subset=pid proc "$0" && exec "$@"', "/proc")
        relay.under += ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        for path in (tmp_path / "disk", relay.dir, *relay.dir.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        relay.start()
        pids = relay.pids()
        sim.faults("connect delay 60000")
        relay.send(make_mail())
        with mounts.frozen(tmp_path / "disk"):
            sim.clear()
            sim.wait_messages(1)
            wait_until(lambda: " D " in harness.read_text(f"/proc/{pids['sender']}/stat"), 10, "the sender to wait for the disk")
            wait_until(lambda: relay.events("worker-stalled") or relay.leap(11, without="sender"), 30, "the sender to be missed",
                       step=0.3)
            for _ in range(10):
                relay.leap(11, without="sender")
                time.sleep(0.2)
        assert relay.wait_event("worker-goes-on")[0]["worker"] == "sender"
        relay.wait_empty()
        assert len(relay.events("worker-stalled")) == 1 and not relay.events("worker-hangs")
        assert relay.pids() == pids and len(sim.messages()) == 1
        relay.stop()


@pytest.fixture
def watchful(monkeypatch):
    """The supervisor looks after its spool, and its workers, a third as often as systemd wants to hear of it: each second."""
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")


@pytest.fixture
def ready_relay(watchful, relay):
    return relay


def test_a_spool_that_is_moved_away_refuses_until_it_is_put_back(sim, ready_relay):
    relay = ready_relay
    trouble = Trouble(relay, sim)
    trouble.accept()
    away = relay.spool.with_name("away")
    relay.spool.rename(away)
    wait_until(lambda: trouble.send()[0] == 451, 5, "it to be missed")
    expect_code(trouble.send(), 451, "spool folder is not in its place")
    relay.wait_event("spool-gone", timeout=15)
    status = relay.cli("status")
    assert status.returncode == 1 and str(relay.spool) in status.stdout + status.stderr
    away.rename(relay.spool)
    trouble.accepts_again()
    relay.wait_event("spool-back", timeout=15)
    trouble.check_end()
    assert not relay.events("worker-died")


def is_removed(folder):
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


@pytest.mark.parametrize("moved", [False, True], ids=["removed", "moved away"])
def test_a_new_folder_in_the_spools_place_is_taken(moved, sim, ready_relay):
    relay = ready_relay
    trouble = Trouble(relay, sim)
    trouble.accept()
    relay.wait_empty()
    away = relay.spool.rename(relay.spool.with_name("away"))
    if not moved:
        wait_until(lambda: is_removed(away), 5, "the folder to be removed, in which files are still made")
    wait_until(lambda: trouble.send()[0] == 451, 5, "it to be missed")
    expect_code(trouble.send(), 451, "spool folder is not in its place")
    # What was taken before it was missed is there, and leaves.
    wait_until(lambda: not moved or not list((away / "queue").iterdir()), 20, "the old folder's mail to leave")
    relay.spool.mkdir(mode=0o700)
    trouble.accepts_again()
    relay.wait_event("spool-replaced")
    trouble.check_end()
    assert (relay.spool / "lock").exists() and not relay.events("worker-died")


def test_a_new_folder_in_the_spools_place_has_its_certificates_at_once(watchful, sim, make_relay):
    relay = make_relay(sim, start=False)
    relay.settings["listen"][0]["tls"] = "offered"
    relay.start()
    relay.wait_event("certificate-made")
    # Both workers, and the listener that knows the certificate; a sanitizer's build has no sandbox.
    wait_until(lambda: len(relay.events("sandbox") + relay.events("sandbox-off")) == 3, 20, "a new listener")
    relay.spool.rename(relay.spool.with_name("away"))
    relay.spool.mkdir(mode=0o700)
    relay.wait_event("spool-replaced")
    relay.wait_event("certificate-made", 2)


# As ProtectSystem=strict and ReadWritePaths= of the unit have it.
ONLY_THE_SPOOL = 'mount --bind "$0" "$0" && mount --bind "$0/spool" "$0/spool" && mount -o remount,bind,ro "$0" && exec "$@"'


@pytest.fixture
def bound_relay(tmp_path, watchful, sim, make_relay):
    """Its spool is a mount of its own in a folder that it cannot write, and that others can. It is not started."""
    (tmp_path / "place/spool").mkdir(parents=True)
    relay = make_relay(sim, start=False, spool=str(tmp_path / "place/spool"))
    relay.under = needs.mounts_of_its_own(ONLY_THE_SPOOL, tmp_path / "place")
    return relay


def replace_by_an_empty_one(relay, moved):
    relay.wait_event("ready")
    relay.send(make_mail())
    relay.wait_empty()
    away = relay.spool.rename(relay.spool.with_name("away"))
    if not moved:
        wait_until(lambda: is_removed(away), 5, "the folder to be removed, in which files are still made")
    relay.spool.mkdir(mode=0o700)


@pytest.mark.parametrize("moved", [False, True], ids=["removed", "moved away"])
def test_a_service_manager_starts_it_again_for_a_new_folder_that_is_read_only(moved, tmp_path, sim, bound_relay, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    bound_relay.start()
    replace_by_an_empty_one(bound_relay, moved)
    assert bound_relay.wait_end() == 1
    assert "start it again" in bound_relay.events("spool-gone")[-1]["consequence"] and not bound_relay.events("worker-died")
    bound_relay.start()
    bound_relay.send(make_mail())
    sim.wait_messages(2)


def test_without_a_service_manager_it_asks_for_that_start(sim, bound_relay):
    bound_relay.start()
    replace_by_an_empty_one(bound_relay, moved=False)
    wait_until(lambda: [e for e in bound_relay.events("spool-gone") if e["remedy"] == "restart mfdrelay"], 15, "the remedy")
    time.sleep(2.5)
    assert bound_relay.process.poll() is None and len(bound_relay.events("spool-gone")) <= 2
    bound_relay.stop()
    bound_relay.start()
    bound_relay.send(make_mail())
    sim.wait_messages(2)
