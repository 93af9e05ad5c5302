"""direct-send and connector by domain: the MX is looked up, used only if it is Microsoft's, in its order, for its time, and
proved by its certificate."""

import pytest

import harness
from harness import make_mail, wait_until
from lane import SharedLane
from nameserver import CLOSES, SERVICE_ENDS, SILENCE, NameServer, first_host_says

GOOD = "contoso-com.mail.protection.outlook.com"
SECOND = "second.mail.protection.outlook.com"


class Lane(SharedLane):
    def __init__(self, folder):
        self.sim = harness.Sim(folder / "sim").start()
        self.dns = NameServer({})
        super().__init__(folder, sim=self.sim)
        self.relay.settings.update(
            name_servers=[self.dns.address], routes=[{"recipients": ["*@contoso.com"], "via": ["direct"]}],
            upstreams=[{"name": "direct", "kind": "direct-send", "domain": "contoso.com", "port": self.sim.mx_port,
                        "ca": self.sim.ca}])
        self.mend()
        self.relay.start()

    def mend(self):
        """The records are as they should be."""
        self.dns.records.clear()
        self.dns.records.update({("contoso.com", "MX"): [(10, GOOD)], (GOOD, "A"): ["127.0.0.1"], (SECOND, "A"): ["127.0.0.1"]})
        self.dns.ttl = 300

    def fresh(self):
        """No connection, no MX known, no trouble noted."""
        self.mend()
        self.sim.clear()
        self.pass_time(7 * harness.DAY)
        self.begin_case()
        self.dns.asked.clear()

    def pass_time(self, seconds):
        """More than a connection stays open without work."""
        self.clock.forward(seconds)
        self.wait_idle("mx")

    def send(self):
        before = len(self.sim.messages())
        self.relay.send(make_mail())
        message = self.sim.wait_messages(before + 1)[before]
        self.relay.wait_empty()  # the connection is idle from now on, by the relay's clock
        return message

    def held(self):
        return self.wait_events("upstream-held")[0]

    def heal(self, seconds):
        self.mend()
        self.clock.forward(seconds)
        wait_until(lambda: not self.relay.queue_ids(), 20, lambda: "the message to leave:\n" + self.relay.log()[-3000:])

    def close(self):
        super().close()
        self.dns.close()


def test_the_mx_is_looked_up_once_for_its_time_to_live(lane):
    assert lane.send()["tls"].startswith("TLSv1.")
    for seconds in (100, 150):
        lane.pass_time(seconds)
        lane.send()
    assert lane.dns.asked[("contoso.com", "MX")] == 1
    lane.pass_time(60)
    lane.send()
    assert lane.dns.asked[("contoso.com", "MX")] == 2
    assert f"host={GOOD}" in lane.relay.log()


def test_hosts_are_tried_by_preference_until_one_can_be_reached(lane):
    lane.dns.records[("contoso.com", "MX")] = [(30, SECOND), (10, "first.mx.microsoft"), (20, GOOD)]
    lane.dns.records[("first.mx.microsoft", "A")] = ["127.0.0.9"]  # nobody listens there
    lane.dns.records[(GOOD, "A")] = "nxdomain"
    lane.send()
    assert lane.events("upstream-held") == []
    assert lane.dns.asked[("first.mx.microsoft", "A")] and lane.dns.asked[(GOOD, "A")] and lane.dns.asked[(SECOND, "A")]


def first_host(lane, greeting):
    return first_host_says(lane.dns.records, lane.sim.mx_port, greeting)


@pytest.mark.parametrize("greeting, words", [(SERVICE_ENDS, "Service not available"), (CLOSES, "closed the connection")],
                         ids=["421", "closes"])
def test_a_server_out_of_service_is_passed_by(lane, greeting, words):
    with first_host(lane, greeting):
        lane.send()
    assert words in lane.wait_events("server-out-of-service")[0]["text"]
    assert lane.events("upstream-held") == []


def test_a_server_that_never_greets_is_passed_by(lane):
    before = len(lane.sim.messages())
    with first_host(lane, SILENCE) as met:
        lane.relay.send(make_mail())
        assert met.wait(15)
        lane.relay.let_due_timers_run()  # the sender knows that it is connected, too
        lane.clock.forward(61)
        lane.sim.wait_messages(before + 1)
    lane.relay.wait_empty()
    assert "no answer in time" in lane.wait_events("server-out-of-service")[0]["text"]
    assert lane.events("upstream-held") == []


@pytest.mark.parametrize("greeting, words", [(SERVICE_ENDS, "Service not available"), (CLOSES, "closed the connection")],
                         ids=["421", "closes"])
def test_a_server_out_of_service_is_the_cause_where_no_other_can_be_reached(lane, greeting, words):
    lane.dns.records[(GOOD, "A")] = ["127.0.0.10"]  # nobody listens there
    with first_host(lane, greeting):
        lane.relay.send(make_mail())
        assert words in lane.held()["text"]
    lane.heal(610)


def test_a_server_that_slows_us_down_speaks_for_all(lane):
    with first_host(lane, b"421 4.7.500 Server busy. Please try again later from [192.0.2.1]\r\n"):
        lane.relay.send(make_mail())
        assert lane.held()["class"] == "S"
    assert lane.events("server-out-of-service") == []
    lane.heal(3600)


@pytest.mark.parametrize("record, outcome, words", [
    ([(10, "mx1.filter.example"), (20, GOOD)], "C", "the MX of contoso.com is mx1.filter.example"),
    ([(10, f"{GOOD}.example")], "C", f"the MX of contoso.com is {GOOD}.example"),
    ([(0, "")], "C", "takes no mail"),
    ([], "C", "has no MX record"),
    ("nxdomain", "C", "no domain of that name"),
    ("servfail", "T", "name server"),
], ids=["third-party", "look-alike", "null-mx", "none", "no-domain", "servfail"])
def test_a_domain_without_a_usable_mx_holds_the_road_and_says_why(lane, record, outcome, words):
    lane.dns.records[("contoso.com", "MX")] = record
    lane.relay.send(make_mail())
    held = lane.held()
    assert held["class"] == outcome and words in held["text"], held
    assert outcome == "T" or 'host = \\"contoso-com' in held["remedy"]
    lane.heal(610)


def test_a_certificate_for_another_name_than_the_mx_hosts_is_refused(lane):
    lane.dns.records[("contoso.com", "MX")] = [(10, "contoso-com.o-v1.mx.microsoft")]
    lane.dns.records[("contoso-com.o-v1.mx.microsoft", "A")] = ["127.0.0.1"]
    lane.relay.send(make_mail())
    held = lane.held()
    assert held["class"] == "C" and "contoso-com.o-v1.mx.microsoft" in held["text"]
    lane.heal(610)


def test_after_trouble_the_mx_is_looked_up_again_whatever_its_time_to_live(lane):
    lane.dns.ttl = 86400
    lane.send()
    lane.pass_time(30)
    lane.sim.faults("mx:connect refuse")
    lane.relay.send(make_mail())
    lane.held()
    lane.sim.clear()
    harness.wait_open(lane.sim.mx_port)
    lane.heal(61)
    assert lane.dns.asked[("contoso.com", "MX")] == 2


WRONG_REGION = "rcpt reply 451 4.4.62 Mail sent to the wrong Office 365 region. ATTR35"


def test_after_a_wrong_region_the_mx_is_looked_up_again(lane):
    lane.dns.ttl = 7 * harness.DAY
    lane.sim.faults(WRONG_REGION)
    lane.relay.send(make_mail())
    first = wait_until(lambda: lane.events("deferred"), 15, "the deferral")[0]
    assert (first["class"], first["reason"]) == ("T", "wrong-region") and lane.dns.asked[("contoso.com", "MX")] == 1
    lane.dns.records[("contoso.com", "MX")] = [(10, SECOND)]
    lane.sim.clear()
    lane.clock.forward(61)  # the idle connection has not reached its end
    lane.relay.wait_empty()
    assert lane.dns.asked[("contoso.com", "MX")] == 2 and lane.dns.asked[(SECOND, "A")]
    assert not lane.events("upstream-held")


def test_a_wrong_region_that_lasts_for_an_hour_holds_the_road(lane):
    def deferrals():
        return len(lane.events("deferred"))
    lane.sim.faults(WRONG_REGION)
    lane.relay.send(make_mail())
    begin = lane.clock.now()
    for tries in range(1, 7):  # after 1, 2, 4, 8, 16 and 32 minutes, less some jitter
        wait_until(lambda: deferrals() == tries, 15, f"deferral {tries}")
        assert not lane.events("upstream-held")
        lane.relay.leap(60 * 2 ** (tries - 1) + 1)
    assert lane.clock.now() - begin > 3600
    held = lane.held()
    assert (held["class"], held["reason"]) == ("C", "wrong-region-for-long") and 540000 <= int(held["for_ms"]) <= 600000, held
    assert deferrals() == 6
    lane.sim.clear()
    lane.heal(610)
