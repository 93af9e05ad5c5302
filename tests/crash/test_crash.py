"""Promises 1 to 4 by force: the listener or the sender dies, or its disk refuses, at every call with which it changes or
reads the spool in one message's life; then everything is started again, drained and counted.

The short form is part of `make check`. TORTURE=1 adds every disk error in the sender, and makes the twelve random rounds of
kill -9, stop and reload under load three hundred (TORTURE_ROUNDS)."""

import collections
import os
import random
import re
import time

import pytest

import harness
from harness import make_mail, wait_until
from interposed import CHANGES
from lives import (REFUSED, TORTURE, AtOnce, Deferred, Failed, Flow, Lane, Large, between_250_and_record, check_end, of_subject, settle,
                   step_through)

pytestmark = pytest.mark.interposed

ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "300" if TORTURE else "12"))


def settled(lane, subject, queue_id):
    """Whether it came to the strike that was armed, and what happened, in words."""
    struck, control = settle(lane, queue_id), lane.relay.control
    return struck, f"{subject}: {control.struck_call() if struck else 'no strike'} (calls: {', '.join(control.names())})"


def kill_once(lane, flow, role, n, action, run):
    """One message's life with a death at the nth call; False when there are fewer calls than that."""
    subject = f"{type(flow).__name__}-{role}-{action}-{n}-{run}"
    content = make_mail(subject=subject, body=flow.body)
    lane.sim.faults(*flow.rules)
    lane.fresh()
    assert lane.relay.leftovers() == [], f"left by the run before {subject}: {lane.relay.leftovers()}"
    lane.forget()
    control = lane.relay.control
    old = lane.relay.pid(role)
    control.arm(role, n, action)
    queue_id, refusal = lane.send(content, flow.recipient)
    struck, what = settled(lane, subject, queue_id)
    if struck:
        wait_until(lambda: not harness.alive(old), 5, "the killed process to be gone")
    if role == "listener":
        # Its wake-up may have died with it: the sender is told to look.
        assert struck or queue_id, f"{what}: refused with {refusal}"
        assert refusal in (None, "cut", -1), f"{what}: the dead listener answered {refusal}"
    else:
        assert queue_id is not None, f"{what}: the sender's death cost the device {refusal}"
    wait_until(lambda: not lane.relay.queue_ids(), 30, lambda: f"an empty queue after {what}\n{lane.relay.log()[-2000:]}")
    explains = between_250_and_record(control) if role == "sender" else lambda found: False
    check_end(lane, flow, subject, content, queue_id, explains, what)
    if struck and role == "sender" and control.struck_call().startswith("unlinkat queue/") and action == "kill-after":
        assert len(lane.arrived()) == 1, f"{what}: sent again though its file was gone"
    return struck


def fail_once(lane, flow, role, n, action, run):
    """One message's life with an error at the nth call: promise 2, and the service goes on."""
    subject = f"{type(flow).__name__}-{role}-{action}-{n}-{run}"
    content = make_mail(subject=subject, body=flow.body)
    lane.sim.faults(*flow.rules)
    if lane.relay.process is None:
        lane.fresh()
    lane.forget()
    if role == "sender":
        time.sleep(0.5)  # the syncs of folders that follow the message before are not of this one's life
    workers = lane.relay.pids()
    lane.relay.control.arm(role, n, action, None if TORTURE or role == "listener" else CHANGES[:-1])
    queue_id, refusal = lane.send(content, flow.recipient)
    struck, what = settled(lane, subject, queue_id)
    if role == "listener":
        assert struck == (queue_id is None), f"{what}: struck, yet acknowledged" if struck else f"{what}: refused with {refusal}"
        assert refusal is None or 400 <= refusal < 500, f"{what}: refused with {refusal}"
    else:
        assert queue_id is not None, f"{what}: the sender's error cost the device {refusal}"
    if queue_id is None:
        assert lane.relay.leftovers() == [], f"{what}: refused with {refusal}, and kept"
        assert lane.arrived() == [], f"{what}: refused with {refusal}, and sent"
    else:
        wait_until(lambda: not lane.relay.queue_ids(), 45, lambda: f"an empty queue after {what}\n{lane.relay.log()[-2000:]}")
        check_end(lane, flow, subject, content, queue_id, lambda found: False, what)
    check_service(lane, workers, what)
    return struck


def check_service(lane, workers, what):
    """The next message goes as if nothing had been, through the same workers."""
    lane.relay.control.off()
    lane.sim.clear()
    lane.forget()
    subject = f"next {what.split(':')[0]}"
    queue_id, refusal = lane.send(make_mail(subject=subject), "boss@contoso.com")
    assert queue_id is not None, f"after {what}: the next one was refused with {refusal}"
    wait_until(lambda: of_subject(lane.arrived(), subject), 30, f"the next message after {what}")
    wait_until(lambda: not lane.relay.queue_ids(), 10, "an empty queue")
    assert lane.relay.pids() == workers, f"{what}: a worker died of it"


def close_once(lane, flow, role, n, action, run):
    """One message's life with an error of the nth close: what it could tell of has been synced before, so nobody is told."""
    subject = f"{type(flow).__name__}-{role}-close-{n}-{run}"
    content = make_mail(subject=subject, body=flow.body)
    lane.sim.faults(*flow.rules)
    lane.forget()
    time.sleep(0.5)  # those that follow the message before are not of this one's life
    workers = lane.relay.pids()
    lane.relay.control.arm(role, n, action, ["close"])
    queue_id, refusal = lane.send(content, flow.recipient)
    struck, what = settled(lane, subject, queue_id)
    assert queue_id is not None, f"{what}: refused with {refusal}"
    wait_until(lambda: not lane.relay.queue_ids(), 45, lambda: f"an empty queue after {what}\n{lane.relay.log()[-2000:]}")
    check_end(lane, flow, subject, content, queue_id, lambda found: False, what)
    check_service(lane, workers, what)
    return struck


def bring_back(lane, queue_id):
    """By hand, and again. Whether it is done."""
    if queue_id in lane.relay.queue_ids("failed"):
        lane.relay.cli("queue", "retry", queue_id)
    return queue_id not in lane.relay.queue_ids("failed") and not lane.relay.queue_ids()


def retry_once(lane, flow, role, n, action, run):
    """One message's way back from failed/, with a death or an error at the nth call."""
    subject = f"retry-{action}-{n}-{run}"
    content = make_mail(subject=subject)
    lane.sim.faults(*flow.rules)
    lane.fresh()
    queue_id = lane.relay.send(content, recipients=[flow.recipient])
    wait_until(lambda: queue_id in lane.relay.queue_ids("failed") and not lane.relay.queue_ids(), 20, "it to be given up")
    lane.sim.clear()
    time.sleep(0.5)  # the syncs of folders that follow
    lane.forget()
    is_kill, workers = action.startswith("kill"), lane.relay.pids()
    lane.relay.control.arm(role, n, action, None if TORTURE or is_kill else CHANGES[:-1])
    asked = lane.relay.cli("queue", "retry", queue_id)
    struck, what = settled(lane, subject, queue_id)
    assert asked.returncode == 0 or (struck and asked.stderr), f"{what}: {asked}"
    if struck and is_kill:
        wait_until(lambda: not harness.alive(workers[role]), 5, "the killed process to be gone")
    wait_until(lambda: bring_back(lane, queue_id), 45, lambda: f"it to be brought back after {what}\n{lane.relay.log()[-2000:]}")
    explains = between_250_and_record(lane.relay.control) if is_kill else lambda found: False
    check_end(lane, AtOnce(), subject, content, queue_id, explains, what)
    assert is_kill or lane.relay.pids() == workers, f"{what}: a worker died of it"
    lane.fresh()
    left = lane.relay.leftovers() + os.listdir(lane.relay.spool / "failed")
    assert left == [], f"{what}: left behind: {left}"
    return struck


MUST = {"openat queue", "write queue", "fsync queue"}
NAMING = {"linkat queue", "renameat2 queue"}  # as the file system has O_TMPFILE or not

ENDS = [AtOnce(), Deferred(), Failed()]


def name_of(value):
    return type(value).__name__ if isinstance(value, Flow) else None


def test_a_report_is_not_made_twice_when_the_sender_dies_before_it_is_recorded(tmp_path):
    lane = Lane(tmp_path)
    try:
        lane.sim.faults(*Failed.rules)
        lane.learn()
        for _ in range(5):
            lane.fresh()
            lane.relay.status()  # its answer comes when the first look at the spool is over
            lane.forget()
            # The fifth: the state's temporary file, when the report has been made durable.
            lane.relay.control.arm("sender", 5, "kill", ["openat"])
            queue_id = lane.relay.send(make_mail(), recipients=[Failed.recipient])
            wait_until(lambda: lane.relay.control.struck, 20, "the strike")
            assert lane.relay.control.struck_call().startswith("openat state/tmp."), lane.relay.control.names()
            wait_until(lambda: queue_id in lane.relay.queue_ids("failed") and not lane.relay.queue_ids(), 30, "its end")
            assert len(lane.arrived()) == 1
    finally:
        lane.close()


def test_what_a_dead_listener_could_not_tell_of_leaves_at_once(tmp_path):
    lane = Lane(tmp_path)
    try:
        lane.learn()
        lane.fresh()
        lane.relay.status()  # its answer comes when the first look at the spool is over: the next is due in 30 s
        lane.forget()
        lane.relay.control.arm("listener", 1, "kill-after", ["linkat", "renameat2"])
        queue_id, refusal = lane.send(make_mail(), AtOnce.recipient)
        assert lane.relay.control.struck and queue_id is None, f"{queue_id}, {refusal}"
        wait_until(lambda: len(lane.arrived()) == 1, 10, lambda: f"its message\n{lane.relay.log()[-2000:]}")
        lane.relay.wait_empty()
    finally:
        lane.close()


def test_a_message_that_the_sender_dies_of_is_put_aside(tmp_path):
    """By a fault, three times: the others leave then, and it can be asked for again."""
    lane = Lane(tmp_path)
    try:
        lane.learn()
        lane.forget()
        lane.relay.may_die = True
        lane.relay.control.arm("sender", 1, "fault", ["pread"], lasting=True)
        queue_id = lane.relay.send(make_mail(subject="poison"))
        wait_until(lambda: queue_id in lane.relay.queue_ids("failed"), 20, lambda: lane.relay.log()[-2000:])
        lane.relay.control.off()
        assert len(lane.relay.events("worker-died")) == 3 and lane.relay.queue_ids() == []
        assert "died of it three times" in lane.relay.cli("queue", "show", queue_id, check=True).stdout
        lane.relay.send(make_mail(subject="next"))
        wait_until(lambda: of_subject(lane.arrived(), "next"), 20, "the next message")
        lane.relay.cli("queue", "retry", queue_id, check=True)
        wait_until(lambda: of_subject(lane.arrived(), "poison"), 20, "the message put aside")
        lane.relay.wait_empty()
        assert lane.relay.queue_ids("failed") == []
    finally:
        lane.close()


on_both = pytest.mark.parametrize("on_tmpfs", [False, True], ids=["disk", "tmpfs"])


@on_both
@pytest.mark.parametrize("flow", [AtOnce(), Large()], ids=name_of)
def test_the_listener_dies_at_every_call(tmp_path, flow, on_tmpfs):
    struck = step_through(tmp_path, kill_once, flow, "listener", ["kill", "kill-after"], on_tmpfs=on_tmpfs)
    assert MUST <= set(struck) and NAMING & set(struck), f"only {sorted(set(struck))}"
    assert len(struck) >= 10


def check_struck(struck, flow):
    """At least these calls of the sender's are part of such a message's life."""
    want = {"AtOnce": ["unlinkat queue"],
            "Deferred": ["write state", "fsync state", "renameat state", "unlinkat queue", "unlinkat state"],
            "Failed": ["fsync queue", "renameat failed", "fsync failed", "unlinkat queue"]}[type(flow).__name__]
    assert set(want) <= set(struck), f"{set(want) - set(struck)} is missing among {sorted(set(struck))}"


@pytest.mark.parametrize("flow", ENDS, ids=name_of)
def test_the_sender_dies_at_every_call(tmp_path, flow):
    struck = step_through(tmp_path, kill_once, flow, "sender", ["kill", "kill-after"])
    check_struck(struck, flow)


@on_both
@pytest.mark.parametrize("flow", [AtOnce(), Large()], ids=name_of)
def test_the_listeners_disk_fails_at_every_call(tmp_path, flow, on_tmpfs):
    struck = step_through(tmp_path, fail_once, flow, "listener", ["eio", "enospc"], on_tmpfs=on_tmpfs)
    assert len(struck) >= 10


@pytest.mark.parametrize("once, actions", [(kill_once, ["kill", "kill-after"]), (fail_once, ["eio", "enospc"])],
                         ids=["dies", "disk-fails"])
@pytest.mark.parametrize("rename, flow", [("renameat2", AtOnce()), ("renameat2", Large()), ("renameat", AtOnce())], ids=name_of)
def test_the_listener_where_each_draft_has_a_name(tmp_path, monkeypatch, rename, flow, once, actions):
    monkeypatch.setenv("CRASH_NAMED", "1")
    if rename == "renameat":
        monkeypatch.setenv("CRASH_REPLACING", "1")
    struck = step_through(tmp_path, once, flow, "listener", actions, on_tmpfs=True)
    assert MUST | {f"{rename} queue"} <= set(struck) and "linkat queue" not in struck, f"only {sorted(set(struck))}"
    assert len(struck) >= 10


@pytest.mark.parametrize("flow", ENDS if TORTURE else ENDS[:2], ids=name_of)
def test_the_senders_disk_fails(tmp_path, flow):
    """The short form leaves out what is tried again after 30 s (a file that cannot be opened, a move to failed/)."""
    check_struck(step_through(tmp_path, fail_once, flow, "sender", ["eio", "enospc"] if TORTURE else ["eio"]), flow)


@pytest.mark.parametrize("rename, actions", [("renameat2", ["kill-after", "eio"]), ("renameat", ["kill-after"])])
def test_the_way_back_from_failed(tmp_path, monkeypatch, rename, actions):
    if rename == "renameat":
        monkeypatch.setenv("CRASH_REPLACING", "1")
    struck = step_through(tmp_path, retry_once, Failed(), "sender", ["kill", "kill-after", "eio", "enospc"] if TORTURE else actions)
    assert {"write state", "fsync state", "renameat state", f"{rename} queue", "fsync queue", "fsync failed", "unlinkat failed",
            "unlinkat queue"} <= set(struck), f"only {sorted(set(struck))}"


@pytest.mark.parametrize("role", ["listener", "sender"])
@pytest.mark.parametrize("flow", ENDS, ids=name_of)
def test_a_close_that_fails_costs_nothing(tmp_path, flow, role):
    struck = step_through(tmp_path, close_once, flow, role, ["eio"])
    want = {"close queue", "close state"} if role == "sender" and isinstance(flow, Deferred) else {"close queue"}
    assert want <= set(struck), f"only {sorted(set(struck))}"


# --- at random, under load ---------------------------------------------------------------------------------------------

class Load(harness.Together):
    """Devices that send without a pause, and what was acknowledged to them."""

    def __init__(self, relay, devices=4):
        super().__init__([lambda n=n: self.device(n) for n in range(devices)])
        self.relay = relay
        self.acknowledged = []

    def device(self, n):
        i = 0
        while not self.stop.is_set():
            i += 1
            try:
                self.relay.send(make_mail(subject=f"d{n}-{i}."), sender=f"d{n}@contoso.com")
                self.acknowledged.append(f"d{n}-{i}.")
            except REFUSED:
                pass
            time.sleep(0.03)


STRIKES = ["listener", "sender", "supervisor", "all", "stop", "reload"]


def strike(relay, role, kills):
    """kill -9 for one or all, or a change in order: a stop or a reload. What it appends: the times between which a kill was, and its
    role."""
    if role == "reload":
        relay.reload()
        return
    if role == "stop":
        relay.stop()
        relay.start()
        return
    begun = time.time()
    old = relay.kill_all() if role == "all" else relay.kill(role)
    kills.append((begun, time.time(), role))
    if role in ("all", "supervisor"):
        relay.start()
    else:
        relay.wait_replaced(role, old)


def explain(times, kills):
    """The kill that explains a second copy: the sender had not recorded the first when it died."""
    first, second = sorted(times)[:2]
    return next(((begun, role) for begun, ended, role in kills
                 if role != "listener" and first - 0.1 <= ended and begun <= min(first + 5, second)), None)


def test_random_kills_stops_and_reloads_under_load(make_sim, make_relay):
    seed = int(os.environ.get("TORTURE_SEED", time.time()))
    chance, sim = random.Random(seed), make_sim()
    relay, kills, roles = make_relay(sim), [], []
    with Load(relay) as load:
        for _ in range(ROUNDS):
            # In blocks of all: the supervisor's end forgives the workers' restarts, which else come slower and slower.
            roles = roles or chance.sample(STRIKES, len(STRIKES))
            time.sleep(chance.uniform(0.05, 1.0))
            strike(relay, roles.pop(), kills)
    strike(relay, "all", kills)
    relay.wait_empty(120)
    arrived = {}
    for message in sim.messages():
        subject = re.search(rb"Subject: (d\d-\d+\.)", message.content)[1].decode()
        arrived.setdefault(subject, []).append(message.path.stat().st_mtime)
    lost = set(load.acknowledged) - set(arrived)
    twice = {subject: explain(times, kills) for subject, times in arrived.items() if len(times) > 1}
    print(f"{len(kills)} kills (seed {seed}), {len(load.acknowledged)} acknowledged, {len(lost)} lost, {len(twice)} twice:")
    for subject, kill in sorted(twice.items()):
        print(f"  {subject} {kill and f'{kill[1]} killed {kill[0] - min(arrived[subject]):.3f} s after the first copy'}")
    assert not lost
    assert all(twice.values()), f"no kill explains {[s for s, kill in twice.items() if not kill]}"
    # Three connections, and where a reload came before as many of the sender that goes.
    assert all(n <= 6 for n in collections.Counter(twice.values()).values()), "one kill explains more than was under way"
    assert len(load.acknowledged) > ROUNDS
    assert all(len(times) <= 2 for times in arrived.values())
