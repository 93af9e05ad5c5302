"""The clocks leap: by an admin, by NTP, behind a suspended machine. Nothing expires of it, nothing storms, nothing waits for
ever, and what is written down stays sane."""

import email
import email.utils
import os
import signal
import time

import pytest

import harness
from harness import DAY, YEAR, make_mail, wait_until

NOT_NOW = "rcpt=late@* reply 451 4.3.2 Temporary server error. Please try again later ATTR5"
LEAPS = {"a-day-ahead": DAY, "a-day-back": -DAY, "a-year-ahead": YEAR, "a-year-back": -YEAR}


@pytest.fixture
def relay(sim, make_relay):
    """A message that is five days late is given up: a leap by less or more must not look like that."""
    return make_relay(sim, clock=True, retry={"first": "10m", "max": "1h", "give_up": "5d"})


def wait_deferred(relay, n=1):
    """n attempts have failed, and the next one is planned: only then a leap meets a message that waits."""
    relay.wait_event("deferred", n)
    wait_until(lambda: relay.waiting() == 1, 10, "the message to be planned")


def attempts(sim):
    """How often a recipient was offered to the upstream."""
    return sim.log().count("< RCPT TO:<late@")


def no_spin(relay, seconds=0.5):
    """The workers do not turn in circles."""
    def ticks():
        found = 0
        for pid in relay.pids().values():
            fields = harness.read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            found += int(fields[11]) + int(fields[12])
        return found
    before = ticks()
    time.sleep(seconds)
    assert ticks() - before < 25 * seconds, "a worker spins"


def goes_out_in_time(sim, relay, wait_s):
    """What is deferred leaves within the wait that it was given, and not at once."""
    sim.clear()
    relay.let_due_timers_run()
    assert relay.queue_ids(), "it did not wait"
    relay.clock.forward(wait_s)
    sim.wait_messages(1)
    relay.wait_empty()
    assert len(sim.messages()) == 1 and relay.queue_ids("failed") == []


@pytest.mark.parametrize("leap", LEAPS)
def test_wall_clock_leaps_over_a_deferred_message(sim, relay, leap):
    """Timers run by the monotonic clock: the wait is the same as without the leap."""
    sim.faults(NOT_NOW)
    relay.send(make_mail(), recipients=["late@contoso.com"])
    wait_deferred(relay)
    relay.clock.set_wall(LEAPS[leap])
    no_spin(relay)
    relay.clock.forward(60)
    relay.let_due_timers_run()
    assert attempts(sim) == 1 and not relay.events("failed")
    if abs(LEAPS[leap]) == YEAR:
        relay.clock.set_wall(-LEAPS[leap])  # a year away no certificate is valid: that is the next test's
    goes_out_in_time(sim, relay, 545)
    assert len(relay.events("deferred")) == 1


@pytest.mark.parametrize("leap", LEAPS)
def test_wall_clock_leaps_while_the_daemon_is_down(sim, relay, leap):
    """The state on disk names a time: ahead, it is due at once; back, it waits no longer than the wait it had. The time in
    which it did not wait for its own retry is not counted against give_up."""
    sim.faults(NOT_NOW)
    queue_id = relay.send(make_mail(), recipients=["late@contoso.com"])
    wait_deferred(relay)
    relay.stop()
    relay.clock.set_wall(LEAPS[leap])
    if abs(LEAPS[leap]) == YEAR:
        # No certificate is valid then, and the road is held for it; what matters here is the message.
        relay.start()
        if LEAPS[leap] < 0:
            wait_until(lambda: relay.waiting() == 1, 10, "the message to be planned")
            relay.clock.forward(601)
        held = relay.wait_event("upstream-held")[0]
        assert held["class"] == "C" and "certificate" in held["text"]
        assert relay.queue_ids() == [queue_id] and len(relay.events("deferred")) == 1
        no_spin(relay)
        sim.clear()
        relay.clock.set_wall(-LEAPS[leap])
        relay.clock.forward(3600)
        sim.wait_messages(1)
    else:
        relay.start()
        if LEAPS[leap] < 0:
            wait_until(lambda: relay.waiting() == 1, 10, "the message to be planned")
            goes_out_in_time(sim, relay, 601)
        else:
            wait_deferred(relay, 2)
            goes_out_in_time(sim, relay, 1201)
    relay.wait_empty()
    assert relay.queue_ids("failed") == [] and len(sim.messages()) == 1


def test_days_of_held_road_and_leaps_expire_nothing(sim, make_relay):
    """give_up counts only the time for which a message waited on its own retry, never the clock."""
    relay = make_relay(sim, clock=True, retry={"first": "1m", "max": "1m", "give_up": "5m"})
    sim.faults(NOT_NOW)
    queue_id = relay.send(make_mail(), recipients=["late@contoso.com"])
    wait_deferred(relay)
    sim.faults("connect refuse")
    for holds in range(1, 6):
        relay.leap(3600)
        relay.clock.set_wall(2 * DAY)
        relay.wait_event("upstream-held", holds)
    assert relay.queue_ids() == [queue_id] and not relay.events("failed")
    sim.faults(NOT_NOW + " times=1")
    harness.wait_open(sim.smtp_port)
    relay.clock.forward(3600)
    wait_deferred(relay, 2)
    relay.clock.forward(61)
    sim.wait_messages(1)
    relay.wait_empty()
    assert len(sim.messages()) == 1


def test_suspended_machine_wakes_up_with_a_day_gone(sim, relay):
    """Both clocks are a day on at once, with a message deferred, a connection idle and a token that has ended meanwhile: one
    attempt, one new token, no worker taken for hung, no storm."""
    sim.faults(NOT_NOW)
    relay.send(make_mail(), recipients=["late@contoso.com"])
    wait_deferred(relay)
    pids = relay.pids()
    relay.clock.forward(DAY)
    wait_deferred(relay, 2)
    no_spin(relay)
    assert attempts(sim) == 2 and sim.stats()["token_requests"] == 2
    assert relay.pids() == pids and not relay.events("worker-hangs") and not relay.events("worker-died")
    goes_out_in_time(sim, relay, 1201)
    assert sim.stats()["auth_failed"] == 0


def test_stopped_processes_go_on_where_they_were(sim, relay):
    """As a debugger, a full host or a moved machine does it: all three stand still for a day while the final 250 comes in. It is
    read before anybody says that it did not come in time."""
    sim.faults(rule := "final-dot delay 60000 times=1")
    relay.send(make_mail())
    wait_until(lambda: sim.used(rule), 10, "the final dot")
    pids = [relay.process.pid, *relay.pids().values()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    sim.clear()
    wait_until(lambda: "Queued mail for delivery" in sim.log(), 10, "the final 250")
    time.sleep(1)  # from the log to the wire
    relay.clock.forward(DAY)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    relay.wait_empty()
    relay.send(make_mail())
    sim.wait_messages(2)
    relay.wait_empty()
    assert [relay.process.pid, *relay.pids().values()] == pids and not relay.events("worker-hangs")
    assert len(sim.messages()) == 2 and not relay.events("deferred"), "a second copy of what was under way"


def test_time_at_a_twentyfold_speed(sim, make_relay):
    """The waits double as the clock goes: five attempts in two and a half minutes, no more, and out at the sixth. Faster, and a
    worker that the machine holds up for a moment would count as hung."""
    relay = make_relay(sim, clock=True, retry={"first": "10s", "max": "1h", "give_up": "5d"})
    sim.faults(NOT_NOW + " times=4")
    relay.send(make_mail(), recipients=["late@contoso.com"])
    begun = relay.clock.now()
    relay.clock.run(20)
    sim.wait_messages(1, 60)
    passed_s = relay.clock.now() - begun
    relay.clock.run(1)
    assert 10 * (1 + 2 + 4 + 8) * 0.9 <= passed_s, passed_s
    assert attempts(sim) == 5
    relay.wait_empty()


def test_tokens_are_renewed_by_whichever_clock_says_so(sim, relay):
    """A token lives an hour: renewed when the wall clock leaps over its end, kept when it leaps back, and never asked for in
    between."""
    def send():
        before = len(sim.messages())
        relay.clock.forward(25)  # the connection goes, so that a login is needed
        wait_until(lambda: sim.stats()["connections"]["smtp"]["now"] == 0, 40, "the idle connection to end")
        relay.send(make_mail())
        sim.wait_messages(before + 1)
        relay.wait_empty()  # the connection is idle from now on, by the relay's clock
        return sim.stats()["token_requests"]
    assert send() == 1
    assert send() == 1
    relay.clock.set_wall(-12 * 3600)
    assert send() == 1
    relay.clock.set_wall(24 * 3600)
    assert send() == 2
    assert send() == 2
    relay.clock.forward(3600)
    assert send() == 3
    assert sim.stats()["auth_failed"] == 0 and not relay.events("upstream-held")


def test_ids_stay_unique_and_dates_follow_the_clock(sim, relay):
    """Ids sort by time as long as the wall clock goes forward, are never the same, and go on from the last one after a leap back."""
    ids, walls = [], []
    for leap in (0, DAY, YEAR - DAY, -YEAR, -DAY, 0, 2 * DAY):
        relay.clock.set_wall(leap)
        for _ in range(3):
            walls.append(relay.clock.wall())
            ids.append(relay.send(make_mail(subject=f"number {len(ids)}")))
    assert len(set(ids)) == len(ids) and ids == sorted(ids)
    relay.clock.set_wall(walls[0] - relay.clock.wall())
    # The road is held for the certificates, which are not valid in all those years.
    wait_until(lambda: not relay.queue_ids() or relay.is_at_rest() and relay.clock.forward(700), 60, "an empty queue", step=0.1)
    assert len({message["mail_from"] for message in sim.messages()}) == 1 and len(sim.messages()) >= len(ids)
    for message in sim.messages():
        parsed = email.message_from_bytes(message.content)
        number = int(parsed["Subject"].removeprefix("number "))
        received = email.utils.parsedate_to_datetime(parsed["Received"].rpartition(";")[2].strip())
        assert abs(received.timestamp() - walls[number]) < 10, parsed["Received"]
        # Where the relay's clock is more than a day off, the device's Date is taken for wrong, and kept beside the relay's.
        date = email.utils.parsedate_to_datetime(parsed["X-Original-Date"] or parsed["Date"]).timestamp()
        assert abs(date - time.time()) < 600, "the device's Date is lost"
        assert bool(parsed["X-Original-Date"]) == (not -7 * DAY <= date - walls[number] <= DAY)
