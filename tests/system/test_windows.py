"""Send windows: what is more than Microsoft allows a mailbox waits, and is never refused. Relay and simulator live in the same
time here, which the test moves on."""

import datetime
import json
import re
import smtplib
import threading

import pytest

import harness
from harness import DAY, make_mail, wait_until

MICROSOFT = ["throttle connections 3", "throttle per-minute 30", "throttle per-day 10000"]
PACED = {"messages_per_minute": 25, "recipients_per_day": 10000}
WINDOW_OPENS_S = 61  # a minute, and the second by which it slides


@pytest.fixture
def sim(make_sim):
    sim = make_sim(clock=True, mailbox="scan*@contoso.com")
    sim.faults(MICROSOFT)
    return sim


@pytest.fixture
def make_paced(sim, make_relay):
    """make_paced(**window) makes a relay whose mailbox has that window, the kind's where it says nothing."""
    def make(window=None, **config):
        relay = make_relay(sim, start=False, clock=sim.clock, **config)
        relay.settings["upstreams"] = [relay.upstream(window=PACED | (window or {}))]
        return relay.start()
    return make


def window(relay):
    status = relay.status()
    return status["upstreams"][0]["window"]


def wait_full(relay):
    return wait_until(lambda: "waits_for" in (shown := window(relay)) and shown, 20, "mail to wait for its window")


def wait_taken(sim, relay, n):
    """Until n messages are at the simulator, the relay knows it, and all its connections have logged in: what is under way when the
    clock leaps counts as of then, or has lasted too long."""
    sim.wait_messages(n, 30)
    relay.wait_event("delivered", n)
    wait_until(lambda: relay.status()["counters"]["upstream_connections"] == sim.stats()["auth_ok"], 20, "all to have logged in")


def kept(relay):
    """How many messages of the last minute the file quota holds."""
    pairs = re.search(r"^minute: (.*)$", harness.read_text(relay.spool / "quota"), re.M)
    return sum(int(pair.partition("=")[2]) for pair in pairs[1].split()) if pairs else 0


def send_many(relay, n, client=None):
    def send(client):
        for i in range(n):
            client.sendmail("printer@contoso.com", ["boss@contoso.com"], make_mail(subject=f"number {i}"))
    if client:
        return send(client)
    with relay.smtp() as client:
        send(client)


def most_in_a_minute(messages):
    times = sorted(datetime.datetime.fromisoformat(m["received"].replace("Z", "+00:00")).timestamp() for m in messages)
    return max(sum(begin <= t < begin + 60 for t in times) for begin in times)


def test_burst_of_500_leaves_as_fast_as_the_window_allows_and_none_is_refused(sim, make_paced):
    relay = make_paced()
    device = threading.Thread(target=send_many, args=(relay, 500))
    device.start()
    for minute in range(1, 20):
        wait_taken(sim, relay, 25 * minute)
        shown = wait_full(relay)
        assert shown["waits_for"] == "25 messages a minute" and shown["wait_s"] <= WINDOW_OPENS_S, shown
        assert shown["minute"] == {"used": 25, "limit": 25} and shown["day"] == {"used": 25 * minute, "limit": 10000}
        assert len(sim.messages()) == 25 * minute
        sim.clock.forward(WINDOW_OPENS_S)
    device.join()
    messages = sim.wait_messages(500)
    relay.wait_empty()
    stats = sim.stats()
    assert stats["throttled"] == 0 and stats["messages_refused"] == 0 and len(messages) == 500
    assert most_in_a_minute(messages) <= 25 and stats["authenticated_peak"] <= 2
    assert not relay.events("deferred") and not relay.events("put-off") and not relay.events("upstream-held")
    assert relay.events("window-full")[0]["key"] == "upstreams.window.messages_per_minute"
    assert len(relay.events("window-full")) == 1, "told once an hour"


def test_waiting_is_shown_and_is_no_attempt(sim, make_paced):
    relay = make_paced({"messages_per_minute": 2})
    send_many(relay, 5)
    sim.wait_messages(2)
    wait_full(relay)
    text = relay.cli("status").stdout
    assert "waiting for its send window: 2 messages a minute; more leaves in" in text
    assert "window: 2 of 2 messages this minute, 2 of 10000 recipients in 24 hours" in text
    listed = relay.cli("queue", "list").stdout
    assert listed.count("waits for its send window: 2 messages a minute") == 1, listed
    for message in json.loads(relay.cli("queue", "list", "--json").stdout):
        assert message["recipients"][0]["attempts"] == 0 and message["recipients"][0]["status"] == "pending"
    assert not list((relay.spool / "state").iterdir())


def test_what_the_upstream_took_and_did_not_answer_counts(sim, make_paced):
    sim.faults("final-dot keep-cut times=1")
    relay = make_paced(retry={"first": "1m", "max": "1h"})
    send_many(relay, 1)
    relay.wait_event("deferred")
    shown = window(relay)
    assert shown["minute"]["used"] == 1 and shown["day"]["used"] == 1, shown
    sim.clock.forward(61)
    relay.wait_empty()
    assert window(relay)["day"]["used"] == 2


def test_what_is_too_large_for_the_upstream_takes_nothing_of_its_window(sim, make_paced):
    sim.faults("ehlo with SIZE 3000")
    relay = make_paced()
    relay.send(make_mail(body=("y" * 70 + "\r\n") * 60))
    relay.wait_event("failed")
    relay.wait_empty()
    assert window(relay)["minute"]["used"] == len(sim.messages()), "the report alone, where that is not too large"


@pytest.mark.parametrize("end", ["kill_all", "reload"])
def test_what_was_sent_is_kept_over_a_restart(sim, make_paced, end):
    relay = make_paced({"messages_per_minute": 3})
    send_many(relay, 4)
    sim.wait_messages(3)
    wait_full(relay)
    wait_until(lambda: kept(relay) == 3, 10, "the quota to be written")
    if end == "reload":
        relay.reload(report_to="other@contoso.com")
        relay.wait_event("reloaded")
    else:
        getattr(relay, end)()
        relay.start()
    assert wait_full(relay)["minute"]["used"] == 3 and len(sim.messages()) == 3
    sim.clock.forward(WINDOW_OPENS_S)
    sim.wait_messages(4)
    relay.wait_empty()
    assert window(relay)["day"]["used"] == 4


@pytest.mark.parametrize("leap", [365 * DAY, -365 * DAY])
def test_wall_clock_that_leaps_while_down_brings_neither_storm_nor_stop(sim, make_paced, leap):
    relay = make_paced({"messages_per_minute": 3, "recipients_per_day": 5})
    send_many(relay, 5)
    wait_taken(sim, relay, 3)
    wait_full(relay)
    relay.stop()
    sim.clock.set_wall(leap)
    relay.start()
    shown = wait_full(relay)
    assert shown["minute"]["used"] == 3 and len(sim.messages()) == 3
    assert shown["day"]["used"] == (3 if leap < 0 else 0)
    sim.clock.set_wall(-leap)  # for the certificates
    sim.clock.forward(WINDOW_OPENS_S)
    sim.wait_messages(5)
    relay.wait_empty()
    assert sim.stats()["throttled"] == 0


def test_damaged_quota_counts_as_a_used_up_minute(sim, make_paced):
    relay = make_paced()
    relay.stop()
    (relay.spool / "quota").write_text("mfdrelay-quota 1\nwritten-ms: soon\n")
    relay.start()
    assert "line 2" in relay.wait_event("quota-damaged")[0]["why"]
    relay.send(make_mail())
    wait_full(relay)
    assert not sim.messages() and (relay.spool / "quota.damaged").exists()
    sim.clock.forward(WINDOW_OPENS_S)
    sim.wait_messages(1)
    wait_until(lambda: (relay.spool / "quota").exists(), 10, "a new quota")


def test_recipients_of_a_day_leave_as_the_day_slides(sim, make_paced):
    """A message with more recipients than the day has left goes to as many as it has, the others follow."""
    relay = make_paced({"recipients_per_day": 5})
    relay.send(make_mail(), recipients=[f"user{i}@contoso.com" for i in range(3)])
    sim.wait_messages(1)
    relay.send(make_mail(), recipients=[f"user{i}@contoso.com" for i in range(6)])
    wait_taken(sim, relay, 2)
    shown = wait_full(relay)
    assert shown["waits_for"] == "5 recipients in 24 hours" and shown["day"]["used"] == 5
    assert relay.events("window-full")[0]["key"] == "upstreams.window.recipients_per_day"
    sim.clock.forward(DAY + 900)
    messages = sim.wait_messages(3)
    relay.wait_empty()
    assert [len(m["rcpt"]) for m in messages] == [3, 2, 4]
    assert sorted(messages[1]["rcpt"] + messages[2]["rcpt"]) == [f"user{i}@contoso.com" for i in range(6)]


def test_one_message_does_not_wait_for_the_hundreds_of_another_device(sim, make_paced):
    # By one connection: two log in at their own pace, and what comes in first is not what was taken first.
    relay = make_paced({"messages_per_minute": 10, "connections": 1}, devices=[
        {"name": "runaway", "address": ["127.0.0.1"]}, {"name": "quiet", "address": ["127.0.0.9"]}])
    send_many(relay, 300)
    wait_taken(sim, relay, 10)
    wait_full(relay)
    with smtplib.SMTP("127.0.0.1", relay.port, source_address=("127.0.0.9", 0)) as quiet:
        quiet.sendmail("quiet@contoso.com", ["boss@contoso.com"], make_mail(subject="the only one"))
    # Read, and so in line with the others.
    wait_until(lambda: relay.status()["upstreams"][0]["ready"] == 291, 20, "all to be read")
    sim.clock.forward(WINDOW_OPENS_S)
    messages = sim.wait_messages(20)
    assert "quiet@contoso.com" in [m["mail_from"] for m in messages[10:12]], "one of each at a time"


def test_slows_down_when_it_is_asked_to_and_recovers(sim, make_paced):
    """By somebody else who uses the mailbox, say. No attempt is charged, and one connection is enough for five minutes."""
    relay = make_paced(retry={"first": "1m", "max": "1h", "give_up": "5d"})
    sim.faults("final-dot reply 432 4.3.2 Concurrent connections limit exceeded. times=1")
    send_many(relay, 1)
    held = relay.wait_event("upstream-held")[0]
    assert held["class"] == "S" and 30_000 <= int(held["for_ms"]) <= 60_000, held
    assert window(relay)["connections_max"] == 1
    sim.clock.forward(61)
    sim.wait_messages(1)
    relay.wait_event("upstream-open")
    assert window(relay)["connections_max"] == 1
    sim.faults("throttle per-minute 5")
    sim.clock.forward(61)
    send_many(relay, 12)
    for already in (6, 11):
        wait_taken(sim, relay, already)
        held = relay.wait_event("upstream-held", already // 5 + 1)[-1]
        assert "exceeded the message limit" in held["text"] and 54_000 <= int(held["for_ms"]) <= 60_000, held
        sim.clock.forward(61)
    sim.wait_messages(13)
    relay.wait_empty()
    assert sim.stats()["throttled"] == 2 and not relay.events("deferred")
    sim.clock.forward(301)
    assert window(relay)["connections_max"] == 2


MAILBOXES = ["scan1@contoso.com", "scan2@contoso.com", "scan3@contoso.com"]


def users(messages):
    return [m["user"] for m in messages]


@pytest.fixture
def three_mailboxes(sim, make_relay):
    relay = make_relay(sim, start=False, clock=sim.clock, retry={"first": "1m", "max": "1h", "give_up": "5d"})
    relay.settings["upstreams"] = [relay.upstream(mailbox=None, mailboxes=MAILBOXES, sender=None, window={
        "messages_per_minute": 10, "connections": 1})]
    return relay.start()


def test_mailboxes_share_the_load_each_in_its_own_window(sim, three_mailboxes):
    relay = three_mailboxes
    send_many(relay, 45)
    wait_taken(sim, relay, 30)
    messages = sim.messages()
    wait_until(lambda: relay.cli("queue", "list").stdout.count("waits for its send window: 10 messages a minute") == 3, 20,
               "all three to be full")
    assert {name: users(messages).count(name) for name in MAILBOXES} == dict.fromkeys(MAILBOXES, 10)
    status = relay.cli("status").stdout
    assert all(f"mailbox  {name}: up" in status for name in MAILBOXES) and status.count("10 of 10 messages this minute") == 3
    sim.clock.forward(WINDOW_OPENS_S)
    messages = sim.wait_messages(45)
    relay.wait_empty()
    for message in messages:
        assert message["mail_from"] == message["user"] and f"From: {message['user']}\r\n".encode() in message.content
    assert sim.stats()["throttled"] == 0 and max(users(messages).count(name) for name in MAILBOXES) <= 20


def test_mailbox_that_is_held_does_not_hold_the_others(sim, three_mailboxes):
    relay = three_mailboxes
    refused = ["auth=scan1@* reply 535 5.7.3 Authentication unsuccessful", "throttle=scan2@* per-day 0"]
    sim.faults(*refused, "auth=scan3@* delay 50000")  # it takes nothing before the others have refused
    send_many(relay, 8)
    relay.wait_event("upstream-held", 2)
    sim.faults(refused)
    messages = sim.wait_messages(8)
    relay.wait_empty()
    assert set(users(messages)) == {"scan3@contoso.com"}
    held = {event["mailbox"]: event["class"] for event in relay.wait_event("upstream-held", 2)}
    assert held == {"scan1@contoso.com": "A", "scan2@contoso.com": "S"} and not relay.events("deferred")
    status = relay.status()
    assert [m["health"] for m in status["upstreams"][0]["mailboxes"]] == ["held", "held", "up"]
    assert status["upstreams"][0]["health"] == "up"
    assert ["mailbox scan1@contoso.com is held" in alarm for alarm in status["alarms"]] == [True]


def test_a_message_is_not_blamed_for_a_mailbox_that_refuses_it_twice(sim, make_relay):
    """That other mailboxes have sent in between says nothing of this one."""
    relay = make_relay(sim, start=False, clock=sim.clock)
    relay.settings["upstreams"] = [relay.upstream(mailbox=None, mailboxes=MAILBOXES[:2], sender=None,
                                                  window={"messages_per_minute": 2})]
    relay.start()
    sim.faults("mail=scan1@* reply 550 5.1.8 Access denied, bad outbound sender AS(42004)")
    send_many(relay, 7)
    wait_until(lambda: not relay.queue_ids() or relay.leap(7), 60, "all to leave by the other mailbox", step=0.3)
    refused = [event["id"] for event in relay.events("put-off")]
    assert len(refused) > len(set(refused)), "none came to that mailbox again"
    assert not relay.events("deferred") and set(users(sim.messages())) == {"scan2@contoso.com"}


def test_upstreams_of_one_mailbox_share_its_window(sim, make_relay):
    relay = make_relay(sim, start=False, clock=sim.clock)
    one = relay.upstream(window={"messages_per_minute": 6, "connections": 1})
    relay.settings["upstreams"] = [one, {**one, "name": "other", "mailbox": harness.MAILBOX.upper(),
                                         "window": {"messages_per_minute": 20}}]
    relay.settings["routes"] = [{"recipients": ["boss@contoso.com"], "via": ["submission"]},
                                {"recipients": ["*"], "via": ["other"]}]
    relay.start()
    with relay.smtp() as client:
        for i in range(8):
            client.sendmail("printer@contoso.com", [("boss", "other")[i % 2] + "@contoso.com"], make_mail())
    wait_taken(sim, relay, 6)
    wait_full(relay)
    sim.clock.forward(WINDOW_OPENS_S)
    messages = sim.wait_messages(8)
    relay.wait_empty()
    assert sum(m["rcpt"] == ["boss@contoso.com"] for m in messages) == 4
    assert sim.stats()["authenticated_peak"] == 1


def test_an_idle_connection_makes_room_for_another_upstream_of_its_mailbox(sim, make_relay):
    relay = make_relay(sim, start=False)
    window = {"connections": 1, "messages_per_minute": 0}
    relay.settings["upstreams"] = [relay.upstream(window=window), relay.upstream(window=window, name="other")]
    relay.settings["routes"] = [{"recipients": ["other@*"], "via": ["other"]}, {"recipients": ["*"], "via": ["submission"]}]
    relay.start()
    for n, recipient in enumerate(["boss@contoso.com", "other@contoso.com", "boss@contoso.com"], 1):
        relay.send(make_mail(), recipients=[recipient])
        sim.wait_messages(n, timeout=15)  # an idle connection ends by itself after 20 s
    assert sim.stats()["authenticated_peak"] == 1


@pytest.mark.parametrize("connections", [1, 2])
def test_upstream_of_one_mailbox_is_not_starved_by_the_backlog_of_another(sim, make_relay, connections):
    """A window that opens for one message at a time: the upstream that has waited takes it."""
    relay = make_relay(sim, start=False, clock=sim.clock)
    one = relay.upstream(window={"messages_per_minute": 1, "connections": connections})
    relay.settings["upstreams"] = [one, {**one, "name": "other"}]
    relay.settings["routes"] = [{"recipients": ["boss@contoso.com"], "via": ["submission"]},
                                {"recipients": ["*"], "via": ["other"]}]
    relay.start()
    send_many(relay, 8)
    wait_taken(sim, relay, 1)
    wait_full(relay)
    with relay.smtp() as client:
        client.sendmail("printer@contoso.com", ["other@contoso.com"], make_mail())
    for sent in range(2, 5):
        sim.clock.forward(WINDOW_OPENS_S)
        wait_taken(sim, relay, sent)
        messages = sim.messages()
        if ["other@contoso.com"] in [m["rcpt"] for m in messages]:
            return
        wait_full(relay)
    pytest.fail(f"{sent} of the first upstream's went before the only one of the second's")


def test_a_day_that_is_used_up_sends_mail_the_next_way_until_it_slides(sim, make_relay):
    relay = make_relay(sim, start=False, clock=sim.clock)
    relay.settings["upstreams"] = [
        relay.upstream(name="first", mailbox="scan1@contoso.com", window=PACED | {"recipients_per_day": 3}),
        relay.upstream(name="second", mailbox="scan2@contoso.com", window=PACED | {"messages_per_minute": 4})]
    relay.settings["routes"] = [{"recipients": ["*@alone.com"], "via": ["first"]},
                                {"recipients": ["*"], "via": ["first", "second"]}]
    relay.start()

    def now():
        return relay.status()["routes"][1]["now"]

    send_many(relay, 3)
    wait_taken(sim, relay, 3)
    assert now() == "first"
    send_many(relay, 6)
    wait_taken(sim, relay, 7)
    switch = relay.wait_event("upstream-switched")[0]
    assert (switch["from"], switch["to"], switch["why"]) == ("first", "second", "Its send window is full for more than ten minutes.")
    assert now() == "second"
    # The second's minute is soon over, and what has no other way waits.
    relay.send(make_mail(), recipients=["boss@alone.com"])
    sim.clock.forward(WINDOW_OPENS_S)
    wait_taken(sim, relay, 9)
    assert now() == "second" and len(relay.events("upstream-switched")) == 1
    assert users(sim.messages()).count("scan1@contoso.com") == 3
    assert not relay.events("upstream-held")
    sim.clock.forward(DAY + 3600)
    sim.wait_messages(10)
    relay.wait_empty()
    wait_until(lambda: now() == "first", 10, "the first's window to be open")
    send_many(relay, 1)
    sim.wait_messages(11)
    assert users(sim.messages()).count("scan1@contoso.com") == 5


def test_what_waited_for_a_window_leaves_at_once_by_the_upstream_before_it(make_sim, make_relay):
    """The one before it in via was down as the message came, and is up again as the window opens."""
    sims = {name: make_sim(mailbox=f"{name}@contoso.com") for name in ("first", "second")}
    relay = make_relay(sims["first"], start=False, clock=True)
    relay.settings["upstreams"] = [
        relay.upstream(name=name, mailbox=f"{name}@contoso.com", port=sim.smtp_port, ca=sim.ca, window={"messages_per_minute": limit},
                       oauth={"authority": f"https://localhost:{sim.login_port}", "ca": sim.ca})
        for (name, sim), limit in zip(sims.items(), (0, 1))]
    relay.settings["routes"] = [{"recipients": ["*@first.com"], "via": ["first"]}, {"recipients": ["*@second.com"], "via": ["second"]},
                                {"recipients": ["*"], "via": ["first", "second"]}]
    sims["second"].serves_daemon = True
    relay.start()
    relay.send(make_mail(), recipients=["boss@second.com"])
    sims["second"].wait_messages(1)
    sims["first"].faults("connect refuse")
    relay.send(make_mail(), recipients=["waits@contoso.com"])
    wait_until(lambda: relay.events("window-full"), 15, "the message to stand before the window of the second")
    sims["first"].clear()
    harness.wait_open(sims["first"].smtp_port)
    relay.cli("queue", "retry", "all", check=True)
    relay.send(make_mail(), recipients=["boss@first.com"])
    sims["first"].wait_messages(1)
    wait_until(lambda: relay.status()["upstreams"][0]["health"] == "up", 15, "the first to be up")
    assert [m["rcpt"] for m in sims["first"].messages()] == [["boss@first.com"]]
    relay.clock.forward(WINDOW_OPENS_S - 31)  # the rescan after this one is not what brings it
    wait_until(lambda: relay.status()["upstreams"][1]["connections"] == 0, 15, "the idle connection to end")
    relay.clock.forward(WINDOW_OPENS_S - 30)
    assert [m["rcpt"] for m in sims["first"].wait_messages(2, 10)][1:] == [["waits@contoso.com"]]
