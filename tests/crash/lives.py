"""One message's life under interpose.so, again and again, each time with a strike at another of its calls."""

import os
import re
import tempfile
import threading
import time

import harness
from harness import behind_trace, make_mail, wait_until
from interposed import CrashRelay

TORTURE = os.environ.get("TORTURE") == "1"
LANES = 5
NOT_FOUND = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient nobody@contoso.com not found by SMTP address lookup"
NOT_NOW = "451 4.3.2 Temporary server error. Please try again later ATTR5"
REFUSED = (OSError, harness.smtplib.SMTPException, harness.HarnessError)


class Lane:
    """One relay and one simulator, run after run; several lanes share a test's steps."""

    def __init__(self, folder, on_tmpfs=False, **settings):
        self.sim = harness.Sim(folder / "sim").start()
        self.memory = tempfile.TemporaryDirectory(dir="/dev/shm") if on_tmpfs else None
        if on_tmpfs:
            settings["spool"] = self.memory.name + "/spool"
        self.relay = CrashRelay(folder / "relay", self.sim, **settings)
        self.seen = 0
        self.died = False  # of a worker: its restarts come slower and slower, until fresh()

    def close(self):
        if self.relay.process is not None:
            self.relay.kill_all()
        if self.memory is not None:
            self.memory.cleanup()
        harness.stop_all(self.relay, self.sim)

    def fresh(self):
        """All killed, and started again: what it finds in the spool must be in order."""
        self.died = False
        self.relay.control.off()
        if self.relay.process is not None:
            self.relay.kill_all()
        self.relay.start()

    def learn(self):
        """Let a message through. The upstream's SIZE is then kept: that comes once, on a thread of its own, and would be counted
        now before and now behind a message's calls."""
        self.fresh()
        self.relay.send(make_mail())
        wait_until((self.relay.spool / "var" / "upstream-sizes").exists, 10, "the upstream's SIZE to be kept")
        self.relay.wait_empty()

    def arrived(self):
        """What the simulator got since the last call of forget()."""
        return self.sim.messages()[self.seen:]

    def forget(self):
        self.seen = len(self.sim.messages())

    def send(self, content, recipient, login=None):
        """(id, None), or (None, the refusal: a reply's code, or "cut")."""
        try:
            return self.relay.send(content, recipients=[recipient], login=login), None
        except harness.HarnessError as refusal:
            match = re.match(r"expected \d+, got (-?\d+)", str(refusal))
            return None, int(match[1]) if match else "cut"
        except REFUSED:
            return None, "cut"


class Flow:
    """What happens to one message, and how its end is known."""

    recipient = "boss@contoso.com"
    rules = []
    body = "Hello.\r\n"
    reported = False


class AtOnce(Flow):
    pass


class Large(Flow):
    body = ("x" * 70 + "\r\n") * 3000


class Deferred(Flow):
    recipient = "late@contoso.com"
    rules = [f"rcpt=late@* reply {NOT_NOW} times=1"]


class Failed(Flow):
    recipient = "nobody@contoso.com"
    rules = [f"rcpt=nobody@* reply {NOT_FOUND}"]
    reported = True


def of_subject(messages, subject):
    return [m for m in messages if f"\r\nSubject: {subject}\r\n".encode() in m.content]


def check_end(lane, flow, subject, content, queue_id, may_repeat, what):
    """The message has reached one of its ends, whole, and once unless may_repeat."""
    messages = lane.arrived()
    if not flow.reported:
        found = of_subject(messages, subject)
        assert all(behind_trace(m.content, content) for m in found), f"{what}: what arrived is not what was sent"
        assert len(messages) == len(found), f"{what}: something else arrived: {messages}"
    else:
        found = [m for m in messages if queue_id is None or queue_id.encode() in m.content]
        assert all(m["rcpt"] == ["printer@contoso.com"] for m in messages), f"{what}: {messages}"
        if queue_id is not None:
            assert queue_id in lane.relay.queue_ids("failed"), f"{what}: it is not in failed/"
    if queue_id is not None:
        assert found, f"{what}: acknowledged as {queue_id}, and lost"
    assert len(found) <= (2 if may_repeat(found) else 1), f"{what}: arrived {len(found)} times"


def settle(lane, queue_id, timeout=20):
    """Wait for the strike, or for an end without one: the queue empty, and the last sync of a folder done."""
    control = lane.relay.control
    end = time.monotonic() + timeout
    quiet_since, count = None, -1
    while not control.struck:
        now = time.monotonic()
        if now > end:
            raise harness.HarnessError(f"no strike and no end in {timeout} s (calls: {', '.join(control.names())})")
        if count != control.count or (queue_id is not None and queue_id in lane.relay.queue_ids()):
            quiet_since, count = now, control.count
        elif now - quiet_since > 2:
            break
        time.sleep(0.01)
    return control.struck


def between_250_and_record(control):
    """Whether the strike at the sender explains a second copy: the first was there at that time, and had no record yet."""
    def explains(found):
        first = min((m.path.stat().st_mtime for m in found), default=0)
        return first - 0.05 <= control.struck_s <= first + 5
    return explains


def step_through(folder, once, flow, role, actions, on_tmpfs=False, may_die=False, **settings):
    """once() with n = 1, 2, ... for each action until n is never reached, shared by lanes. Returns the calls struck."""
    work = {action: 1 for action in actions}
    struck, problems, lock = [], [], threading.Lock()

    def next_run():
        with lock:
            if problems or not work:
                return None
            action = min(work, key=work.get)
            work[action] += 1
            return action, work[action] - 1

    def run_lane(number):
        lane = None
        try:
            lane = Lane(folder / f"lane{number}", on_tmpfs, retry={"first": "1s", "max": "1s"}, **settings)
            lane.relay.may_die = may_die
            lane.learn()
            while (run := next_run()) is not None:
                action, n = run
                if once(lane, flow, role, n, action, number):
                    struck.append(lane.relay.control.struck_call().split("/")[0])
                else:
                    with lock:
                        work.pop(action, None)
        except BaseException as problem:
            problems.append(problem)
        finally:
            if lane is not None:
                lane.close()
    threads = [threading.Thread(target=run_lane, args=(i,)) for i in range(LANES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return struck
