"""The daemon is stopped while its sender waits for the upstream or the login host, at every step of the dialogue: it ends in time and
in order, and the message leaves once it runs again."""

import signal

import pytest

from harness import make_mail, wait_until

# step: (the rule at which the other side falls silent, other rules)
BY_DATA = "ehlo without CHUNKING"
CONNECTING = {step: (f"{step} stall", []) for step in ("connect", "banner", "ehlo", "starttls", "handshake", "login", "auth")}
AT_WORK = {"mail": ("mail stall", []), "rcpt": ("rcpt stall", []), "data": ("data stall", [BY_DATA]),
           "content": ("content stall-after 10%", [])}
AT_THE_END = {"final-dot": ("final-dot stall", []), "final-dot-of-data": ("final-dot stall", [BY_DATA])}
STEPS = {**CONNECTING, **AT_WORK, **AT_THE_END}


@pytest.mark.parametrize("step", STEPS)
def test_a_stop_at_every_step_of_the_sender(sim, make_relay, step):
    rule, others = STEPS[step]
    relay = make_relay(sim, clock=True)
    sim.faults(*others, rule)
    # More than the sockets on the way hold, where the content is to get stuck.
    queue_id = relay.send(make_mail(body=("x" * 70 + "\r\n") * (280_000 if step == "content" else 100)))
    wait_until(lambda: sim.used(rule), 15, rule)
    relay.process.send_signal(signal.SIGTERM)
    if step not in CONNECTING:
        # What has been begun has the time of a stop; before that there is nothing to finish.
        relay.wait_event("draining", 2)
        relay.clock.forward(10)
    assert relay.wait_end(10) == 0
    assert relay.queue_ids() == [queue_id]
    shown = relay.cli("queue", "show", queue_id, check=True).stdout
    assert ("perhaps taken" in shown) == (step in AT_THE_END), shown
    sim.clear()
    relay.start()
    assert len(sim.wait_messages(1)) == 1
    relay.wait_empty()
    assert len(sim.messages()) == 1
