"""Goal G14 where memory is short: the listener or the sender is refused a request for memory of one message's life, be it by the
program or by a library of its. It goes on, or ends with status 70 and is started again, and no signal ends it; the promises hold
and the next message passes.

The short form takes some of the requests of a TLS session, of which there are thousands; TORTURE=1 takes eight times as many."""

import pytest

import harness
import lives
from certificates import make_tls
from harness import make_mail, wait_until

pytestmark = pytest.mark.interposed

LOGIN = "mfd", "correct horse 7"
DEVICES = [{"name": "lan", "address": ["127.0.0.0/8"]},
           {"name": "mfd", "user": LOGIN[0], "password": harness.password_hash(LOGIN[1])}]


class Plain(lives.AtOnce):
    """A device that sends as the others do."""

    login = None


class Sealed(Plain):
    """A device that sends by TLS, with a password."""

    login = LOGIN


class Warm(Plain):
    """The sender has a token and a connection."""


class Cold(Plain):
    """The sender has just been started."""


def get_ready(lane, flow):
    """A lane in the state that the flow begins with."""
    if isinstance(flow, Cold) or lane.relay.process is None or lane.died:
        lane.fresh()
    if isinstance(flow, Warm):
        lane.relay.send(make_mail(subject="warm"))
        lane.relay.wait_empty()
    lane.relay.status()  # its answer comes when what a start does is done
    lane.forget()


def starve_once(stride):
    def once(lane, flow, role, n, action, run):
        """One message's life without the memory of a request; False when there are fewer requests than that."""
        subject = f"{type(flow).__name__}-{role}-{n}-{run}"
        content, relay, control = make_mail(subject=subject), lane.relay, lane.relay.control
        get_ready(lane, flow)
        deaths, control_at = len(relay.events("worker-died")), 1 + (n - 1) * stride
        control.arm(role, control_at, action, ["malloc"])
        queue_id, refusal = lane.send(content, flow.recipient, flow.login)
        struck = lives.settle(lane, queue_id)
        what = f"{subject}: request {control_at}, {control.struck_call() if struck else 'no strike'}, refused with {refusal}"
        assert queue_id is not None or (struck and role == "listener"), what
        wait_until(lambda: not relay.queue_ids(), 40, lambda: f"an empty queue after {what}\n{relay.log()[-3000:]}")
        lives.check_end(lane, flow, subject, content, queue_id,
                        lives.between_250_and_record(control) if role == "sender" else lambda found: False, what)
        control.off()
        next_id, refusal = lane.send(make_mail(subject="next " + subject), flow.recipient)
        assert next_id is not None, f"after {what}: the next one was refused with {refusal}"
        wait_until(lambda: lives.of_subject(lane.arrived(), "next " + subject), 30, f"the next message after {what}")
        # Only now: it was taken by whoever replaced the one that died, whose end was written down before.
        died = relay.events("worker-died")[deaths:]
        assert all(e["worker"] == role and e.get("exit") == "70" for e in died), f"{what}: {died}"
        lane.died = bool(died)
        return struck
    return once


@pytest.mark.parametrize("role, flow, stride, least", [
    ("listener", Plain(), 1, 20), ("listener", Sealed(), 160, 8), ("sender", Warm(), 4, 10), ("sender", Cold(), 640, 8)],
    ids=["listener-plain", "listener-tls", "sender-warm", "sender-cold"])
def test_a_request_for_memory_is_refused(tmp_path, role, flow, stride, least):
    if lives.TORTURE:
        stride = max(1, stride // 8)
    struck = lives.step_through(tmp_path, starve_once(stride), flow, role, ["enomem"], may_die=True, devices=DEVICES, tls=make_tls(tmp_path))
    assert len(struck) >= least, struck
