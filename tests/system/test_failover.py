"""A route of several upstreams: mail goes by the first, round it while that is in trouble, and back when it has healed; what is
about a message stays where it is; nothing leaves twice. One daemon and three simulators serve all cases."""

import json

import pytest

import harness
from harness import make_mail, wait_until
from lane import SharedLane

NAMES = ("first", "second", "third")
ALIKE = "SMTP; Unable to relay recipient in non-accepted domain"


class Lane(SharedLane):
    def __init__(self, folder):
        super().__init__(folder, **{name: harness.Sim(folder / name, mailbox="*@contoso.com").start() for name in NAMES})
        self.relay.settings["upstreams"] = [self.upstream(name) for name in NAMES]
        self.relay.settings["devices"].append({"name": "erp", "address": ["127.0.0.2"]})
        self.relay.settings["routes"] = [{"recipients": ["*@three.com"], "via": list(NAMES)},
                                         {"recipients": ["*@alone.com"], "via": ["first"]},
                                         {"recipients": ["*@second.com"], "via": ["second"]},
                                         {"recipients": ["*"], "via": ["first", "second"]}]
        self.relay.start()

    def upstream(self, name):
        sim = self.sims[name]
        sim.serves_daemon = True
        return self.relay.upstream(name=name, mailbox=f"{name}@contoso.com", port=sim.smtp_port, ca=sim.ca,
                                   oauth={"authority": f"https://localhost:{sim.login_port}", "ca": sim.ca})

    def fresh(self):
        """No fault, no connection, no token, every road open; what happened so far is forgotten."""
        for name in NAMES:
            self.mend(name)
        if self.relay.queue_ids():
            self.relay.cli("queue", "retry", "all", check=True)
            self.relay.wait_empty()
        if any(u["health"] != "up" for u in self.relay.status()["upstreams"]):
            self.relay.stop()
            self.relay.start()
        self.wait_renewed(*(sim.login_port for sim in self.sims.values()))
        self.clock.forward(3600)
        self.wait_idle()
        self.before = {name: len(sim.messages()) for name, sim in self.sims.items()}
        self.begin_case()

    def mend(self, name):
        """The fault is lifted, and the ports are open again."""
        self.sims[name].clear()
        for port in (self.sims[name].smtp_port, self.sims[name].login_port):
            harness.wait_open(port)

    def now(self):
        """The upstream that the last route goes by."""
        return self.relay.status()["routes"][-1]["now"]

    def send(self, *recipients):
        return self.relay.send(make_mail(subject=f"case {self.cases}"), recipients=recipients or ["boss@contoso.com"])

    def got(self):
        """{upstream: [recipients of each message]} of this case."""
        return {name: [sorted(m["rcpt"]) for m in sim.messages()[self.before[name]:]] for name, sim in self.sims.items()
                if len(sim.messages()) > self.before[name]}

    def wait_sent(self):
        self.relay.wait_empty()
        return self.got()

    def switches(self):
        return [(e["from"], e["to"]) for e in self.events("upstream-switched")]


# fault: (rules, class, seconds until the road is looked at again)
FAULTS = {
    "unreachable": (["connect refuse"], "T", 61),
    "cut-at-the-banner": (["banner cut"], "T", 61),
    "cut-at-mail": (["mail cut"], "T", 61),
    "certificate": (["handshake cert expired"], "C", 610),
    "token-refused": (["auth reply 535 5.7.3 Authentication unsuccessful"], "A", 610),
    "smtp-auth-off": (["auth reply 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox."],
                      "C", 610),
    "login-host-down": (["login down"], "T", 61),
    "secret-expired": (["login error 7000222"], "C", 610),
    "sender-blocked": (["mail reply 550 5.1.8 Access denied, bad outbound sender"], "C", 610),
    "daily-limit": (["mail reply 550 5.1.90 Your message can't be sent because you've reached your daily limit"], "S", 3610),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_the_first(lane, fault):
    """Mail goes by the second, at once and once, and says why; the next message after the hold shows that the first is well."""
    rules, outcome, seconds = FAULTS[fault]
    lane.sims["first"].faults(*rules)
    lane.send()
    assert lane.wait_sent() == {"second": [["boss@contoso.com"]]}
    assert lane.switches() == [("first", "second")] and lane.now() == "second"
    switched, held = lane.wait_events("upstream-switched")[0], lane.wait_events("upstream-held")[0]
    assert (held["upstream"], held["class"], held["cause"]) == ("first", outcome, switched["why"])
    lane.send()
    assert lane.wait_sent() == {"second": [["boss@contoso.com"]] * 2}, "a road that is held is not tried for every message"
    lane.mend("first")
    lane.clock.forward(seconds)
    lane.relay.let_due_timers_run()  # the hold's
    lane.send()
    assert lane.wait_sent()["first"] == [["boss@contoso.com"]]
    assert lane.switches() == [("first", "second"), ("second", "first")] and lane.now() == "first"
    assert lane.events("deferred") == []


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_the_second_is_not_even_noticed(lane, fault):
    lane.sims["second"].faults(*FAULTS[fault][0])
    lane.send()
    assert lane.wait_sent() == {"first": [["boss@contoso.com"]]}
    assert lane.switches() == [] and lane.events("upstream-held") == []


@pytest.mark.parametrize("healing", ["first", "second"])
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_both(lane, fault, healing):
    """The message waits, charged with nothing, and leaves by whichever heals."""
    rules, _, seconds = FAULTS[fault]
    for name in ("first", "second"):
        lane.sims[name].faults(*rules)
    queue_id = lane.send()
    lane.wait_events("upstream-held", 2)
    listed = json.loads(lane.relay.cli("queue", "list", "--json", check=True).stdout)
    assert [(m["id"], m["recipients"][0]["attempts"]) for m in listed] == [(queue_id, 0)]
    lane.mend(healing)
    lane.clock.forward(seconds)
    assert lane.wait_sent() == {healing: [["boss@contoso.com"]]}
    assert lane.now() == healing


@pytest.mark.parametrize("fault", ["unreachable", "secret-expired", "daily-limit"])
def test_a_probe_that_fails_costs_its_message_no_more_than_the_way_round(lane, fault):
    rules, _, seconds = FAULTS[fault]
    lane.sims["first"].faults(*rules)
    lane.send()
    lane.wait_sent()
    lane.clock.forward(seconds)
    lane.relay.let_due_timers_run()  # the hold's
    lane.send()
    assert lane.wait_sent() == {"second": [["boss@contoso.com"]] * 2}
    lane.wait_events("upstream-held", 2)
    assert lane.switches() == [("first", "second")]


def test_two_of_three_are_down_and_heal_one_after_the_other(lane):
    for name in ("first", "second"):
        lane.sims[name].faults("connect refuse")
    lane.send("boss@three.com")
    assert lane.wait_sent() == {"third": [["boss@three.com"]]}
    lane.mend("second")
    lane.clock.forward(61)
    lane.send("a@three.com")
    lane.relay.wait_empty()
    lane.send("b@three.com")
    assert lane.wait_sent()["second"][-1] == ["b@three.com"]
    lane.mend("first")
    lane.clock.forward(300)
    lane.send("c@three.com")
    assert lane.wait_sent()["first"] == [["c@three.com"]]


def test_a_short_slow_down_is_waited_for(lane):
    lane.sims["first"].faults("mail reply 432 4.3.2 STOREDRV.ClientSubmit; exceeded the message limit per account times=1")
    lane.send()
    lane.wait_events("upstream-held")
    assert lane.now() == "first"
    lane.clock.forward(130)
    assert lane.wait_sent() == {"first": [["boss@contoso.com"]]} and lane.switches() == []


def test_a_slow_down_of_more_than_ten_minutes_is_not(lane):
    lane.sims["first"].faults("mail reply 432 4.3.2 STOREDRV.ClientSubmit; exceeded the message limit per account")
    lane.send()
    waited_ms, holds = 0, 0
    # The hold that ends beyond them is enough; what is under way by the other must not time out.
    while waited_ms <= 600_000 and not lane.switches():
        holds += 1
        held = wait_until(lambda: lane.switches() or lane.events("upstream-held")[holds - 1:], 15, "the next hold, or the other way")
        if not lane.switches():
            lane.relay.leap(int(held[0]["for_ms"]) / 1000)
            waited_ms += int(held[0]["for_ms"])
    assert lane.wait_sent() == {"second": [["boss@contoso.com"]]} and lane.switches() == [("first", "second")]
    assert waited_ms < 600_000 <= sum(int(e["for_ms"]) for e in lane.events("upstream-held")) + 5_000


def test_what_has_no_other_way_waits_and_is_the_probe(lane):
    lane.sims["first"].faults("connect refuse")
    alone = lane.send("boss@alone.com")
    lane.send()
    wait_until(lambda: lane.relay.queue_ids() == [alone], 15, "the second")
    assert lane.got() == {"second": [["boss@contoso.com"]]}
    lane.mend("first")
    lane.clock.forward(61)
    assert lane.wait_sent()["first"] == [["boss@alone.com"]]


def test_all_that_stands_ready_goes_round_beside_what_can_not(lane):
    """Whoever shares the line with a device that has no other way leaves it whole."""
    lane.sims["first"].faults("banner cut delay=1500")
    with harness.smtplib.SMTP("127.0.0.1", lane.relay.port, source_address=("127.0.0.2", 0)) as erp:
        erp.sendmail("erp@contoso.com", ["boss@alone.com"], make_mail())
    for _ in range(7):
        lane.send()
    wait_until(lambda: len(lane.relay.queue_ids()) == 1, 15,
               lambda: f"all but one to leave, {lane.got()}:\n{lane.log()}")
    assert lane.got() == {"second": [["boss@contoso.com"]] * 7}


# --- what is about a recipient or a message ----------------------------------------------------------------------------

def test_a_recipient_left_to_others_goes_on_alone_and_a_restart_remembers(lane):
    lane.sims["first"].faults(f"rcpt=client@* reply 550 5.7.54 {ALIKE}")
    lane.sims["second"].faults("rcpt reply 451 4.3.2 Temporary server error. Please try again later ATTR18")
    lane.send("boss@contoso.com", "client@example.org")
    queue_id = lane.wait_events("deferred")[0]["id"]
    wait_until((lane.relay.spool / "state" / queue_id).exists, 10, "the message's state")
    assert lane.got() == {"first": [["boss@contoso.com"]]}
    passed = lane.wait_events("passed-on")
    assert [(e["to"], e["upstream"], e["class"]) for e in passed] == [("client@example.org", "first", "N")]
    assert "left to others by: first" in lane.relay.cli("queue", "show", passed[0]["id"], check=True).stdout
    lane.relay.kill_all()
    lane.mend("second")
    lane.relay.start()
    wait_until(lambda: lane.relay.waiting() == 1, 10, "the message to be planned")
    lane.clock.forward(61)
    assert lane.wait_sent() == {"first": [["boss@contoso.com"]], "second": [["client@example.org"]]}
    assert lane.sims["first"].log().count("RCPT TO:<client@example.org>") == 1
    assert lane.switches() == []


def test_a_recipient_that_the_last_upstream_leaves_to_others_has_failed(lane):
    for name in ("first", "second"):
        lane.sims[name].faults(f"rcpt=client@* reply 550 5.7.54 {ALIKE}")
    lane.send("client@example.org")
    failed = lane.wait_events("failed")[0]
    assert (failed["to"], failed["upstream"]) == ("client@example.org", "second")
    lane.wait_events("reported")


@pytest.mark.parametrize("reply, event", [
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", "kept-in-failed"),
    ("451 4.3.2 Temporary server error. Please try again later ATTR18", "deferred")])
def test_a_retry_by_hand_offers_it_once_more_to_all_that_left_it_to_others(lane, reply, event):
    lane.sims["first"].faults(f"rcpt=client@* reply 550 5.7.54 {ALIKE}")
    lane.sims["second"].faults(f"rcpt=client@* reply {reply}")
    queue_id = lane.send("client@example.org")
    lane.wait_events(event)
    lane.mend("first")
    lane.relay.cli("queue", "retry", queue_id, check=True)
    got = lane.wait_sent()
    assert ["client@example.org"] in got["first"] and "second" not in got


@pytest.mark.parametrize("reply, event", [
    ("550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", "failed"),
    ("451 4.3.2 Temporary server error. Please try again later ATTR18", "deferred")])
@pytest.mark.parametrize("stage", ["rcpt", "final-dot"])
def test_what_is_about_the_message_stays_with_the_first(lane, stage, reply, event):
    lane.sims["first"].faults(f"{stage} reply {reply} times=1")
    lane.send()
    assert lane.wait_events(event)[0]["upstream"] == "first"
    lane.clock.forward(61)
    lane.relay.wait_empty()
    assert "second" not in lane.got() and lane.switches() == []


def test_too_large_for_the_first_goes_by_the_second(lane):
    lane.sims["first"].faults("ehlo without SIZE", "ehlo with SIZE 1000")
    lane.relay.send(make_mail(body="x" * 70 + "\r\n" + "y" * 2000 + "\r\n"))
    assert lane.wait_sent() == {"second": [["boss@contoso.com"]]} and lane.switches() == []


# --- never two copies --------------------------------------------------------------------------------------------------

def test_what_the_first_perhaps_has_stays_with_it_for_an_hour_of_trouble(lane):
    """The answer to the content was lost: elsewhere a copy would be a second one, to a server that cannot know it."""
    lane.sims["first"].faults("final-dot cut times=1", "connect refuse after=1")
    queue_id = lane.send()
    lane.wait_events("deferred")
    wait_until((lane.relay.spool / "state" / queue_id).exists, 10, "the message's state")
    assert "perhaps taken, its answer was lost: first" in lane.relay.cli("queue", "show", queue_id, check=True).stdout
    lane.clock.forward(61)
    wait_until(lambda: lane.events("upstream-held"), 10, "the hold")
    lane.send("other@contoso.com")
    wait_until(lambda: lane.got() == {"second": [["other@contoso.com"]]}, 15, "the other message")
    wait_until(lambda: lane.relay.queue_ids() == [queue_id], 15, "its end")
    for _ in range(5):
        lane.clock.forward(600)
        lane.send("other@contoso.com")
        wait_until(lambda: lane.relay.queue_ids() == [queue_id], 15, "the other message")
    assert ["boss@contoso.com"] not in lane.got()["second"]
    wait_until(lambda: not lane.relay.queue_ids() or lane.relay.is_at_rest() and lane.relay.leap(300), 30, "the message to leave",
               step=0.1)
    assert ["boss@contoso.com"] in lane.got()["second"] and "first" not in lane.got()


def test_what_the_first_perhaps_has_is_repeated_there_when_it_answers_again(lane):
    lane.sims["first"].faults("final-dot keep-cut times=1")
    lane.send()
    lane.wait_events("deferred")
    lane.clock.forward(61)
    assert lane.wait_sent() == {"first": [["boss@contoso.com"]] * 2}
    ids = {m.content[m.content.index(b"Message-ID"):].split(b"\r\n")[0] for m in lane.sims["first"].messages()[-2:]}
    assert len(ids) == 1


def test_a_message_under_way_is_not_begun_elsewhere(lane):
    """The first stalls behind one message's content while it refuses everybody else."""
    lane.sims["first"].faults(rule := "final-dot delay 60000 times=1", "connect refuse after=1")
    lane.send()
    wait_until(lambda: lane.sims["first"].used(rule), 10, "the final dot")
    for _ in range(3):
        lane.send("other@contoso.com")
    wait_until(lambda: lane.got().get("second") == [["other@contoso.com"]] * 3, 15,
               lambda: f"the others by the second, got {lane.got()}:\n{lane.log()}")
    assert lane.switches() == [("first", "second")]
    lane.clock.forward(290)
    lane.sims["first"].faults("connect refuse")
    assert lane.wait_sent() == {"first": [["boss@contoso.com"]], "second": [["other@contoso.com"]] * 3}


def test_a_part_under_way_is_not_taken_along_by_another_road(lane):
    """Half of a message is at the first, which goes down behind it, as the second takes the other half."""
    lane.sims["first"].faults(rule := "final-dot delay 60000 times=1", "connect refuse after=1")
    lane.sims["second"].faults("banner delay 60000 times=1")
    lane.send("boss@contoso.com", "it@second.com")
    wait_until(lambda: lane.sims["first"].used(rule), 10, "the final dot")
    alone = lane.send("other@alone.com")
    lane.wait_events("upstream-switched")
    lane.sims["second"].clear()
    wait_until(lambda: lane.got().get("second"), 15, "the other half")
    lane.sims["first"].faults("connect refuse")
    wait_until(lambda: lane.relay.queue_ids() == [alone], 15, "the two halves")
    assert lane.got() == {"first": [["boss@contoso.com"]], "second": [["it@second.com"]]}


# --- routes by device --------------------------------------------------------------------------------------------------

def test_each_device_has_its_own_routes_and_a_message_is_split_by_them(make_sim, make_relay):
    sims = [make_sim(), make_sim()]
    relay = make_relay(sims[0], start=False)
    relay.settings["devices"] = [{"name": "erp", "address": ["127.0.0.2"]}, {"name": "mfd-1", "address": ["127.0.0.1"]},
                                 {"name": "closed", "address": ["127.0.0.3"]}]
    relay.settings["upstreams"].append({"name": "other", "kind": "direct-send", "host": "localhost", "port": sims[1].mx_port,
                                        "ca": sims[1].ca})
    relay.settings["routes"] = [{"devices": ["erp"], "recipients": ["*@contoso.com"], "via": ["other"]},
                                {"devices": ["erp", "mfd-*"], "via": ["submission"]},
                                {"recipients": ["it@contoso.com"], "via": ["submission"]}]
    relay.start()

    def send(address, *recipients):
        with harness.smtplib.SMTP("127.0.0.1", relay.port, source_address=(address, 0)) as client:
            return client.sendmail("printer@contoso.com", recipients, make_mail())
    send("127.0.0.2", "boss@contoso.com", "client@example.org")
    assert sims[1].wait_messages(1)[0]["rcpt"] == ["boss@contoso.com"]
    assert sims[0].wait_messages(1)[0]["rcpt"] == ["client@example.org"]
    send("127.0.0.1", "boss@contoso.com")
    assert sims[0].wait_messages(2)[1]["rcpt"] == ["boss@contoso.com"]
    with pytest.raises(harness.smtplib.SMTPRecipientsRefused, match="No route for boss@contoso.com"):
        send("127.0.0.3", "boss@contoso.com")
    relay.wait_empty()
