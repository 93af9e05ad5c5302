"""Every way in which the upstream and the login host can fail, at every stage: what is accepted stays, is charged only where it
was begun, leaves once when the fault is lifted, no credential leaves outside verified TLS, and the cause is named.

All cases share one daemon, one simulator, and a clock by which minutes of waiting take no time."""

import contextlib
import json
import re

import pytest

import harness
from harness import make_mail, wait_until
from lane import SharedLane
from nameserver import NameServer

LOST = "The connection to the upstream was lost."
SILENT = "The upstream did not answer in time."
NO_GREETING = ("The upstream takes the connection and then says nothing: mostly a port that begins with TLS, or a firewall in "
               "between.")
NOT_SMTP = "What the upstream answered is not SMTP."
NO_TLS = "TLS with the upstream could not be set up."
IS_NO_TLS = "What answers at this port does not begin with TLS."
NO_PROOF = "The upstream's certificate does not prove that it is the host the config names."
LOGIN_SILENT = "The login host gave no answer, or none it could stand by."
LOGIN_THROTTLED = "The login host gets too many requests of this tenant."
LOGIN_NO_PROOF = "The login host's certificate does not prove that it is the host of oauth.authority."
LOGIN_NONSENSE = "What the login host answered is not a token answer."

IN_CLEAR = re.compile(rb"(EHLO relay\.test\r\n(STARTTLS\r\n|QUIT\r\n)?)?")
TOKEN_LIFE_S = 3600
PROBE_S = 610


class Lane(SharedLane):
    """The daemon, the simulator, and between them wires on which all that the daemon sends is kept."""

    def __init__(self, folder):
        self.sim = harness.Sim(folder / "sim").start()
        self.smtp, self.login = harness.Wire(self.sim.smtp_port), harness.Wire(self.sim.login_port)
        super().__init__(folder, sim=self.sim)
        upstream = self.relay.settings["upstreams"][0]
        upstream["port"] = self.smtp.port
        upstream["oauth"]["authority"] = f"https://localhost:{self.login.port}"
        self.relay.start()

    def close(self):
        self.smtp.close()
        self.login.close()
        super().close()

    def fresh(self):
        """No fault, no connection, an empty queue; what happened so far is forgotten."""
        self.sim.clear()
        if self.relay.queue_ids() or self.relay.queue_ids("failed"):
            self.relay.kill_all()
            for path in [*self.relay.spool.glob("queue/*"), *self.relay.spool.glob("state/*"), *self.relay.spool.glob("failed/*")]:
                path.unlink()
            self.relay.start()
        self.wait_renewed(self.login.port)
        self.clock.forward(25)
        self.wait_idle()
        self.before = self.sim.stats()
        self.sim_log_before = len(self.sim.log())
        self.begin_case()

    def send(self, size=1000):
        self.content = make_mail(subject=f"case {self.cases}", body=("x" * 70 + "\r\n") * (size // 72))
        self.id = self.relay.send(self.content)

    def copies(self):
        return sum(f"\r\nSubject: case {self.cases}\r\n".encode() in m.content[:2000] for m in self.sim.messages()[-3:])

    def trouble(self):
        """The events of this case that tell of trouble."""
        found = []
        for name in ("upstream-held", "deferred", "put-off", "failed", "token-refused", "worker-died", "worker-hangs", "reported"):
            found += [dict(e, event=name) for e in self.events(name)]
        return found

    def wait_trouble(self):
        return wait_until(self.trouble, 15, lambda: "trouble in the log:\n" + self.relay.log()[-3000:] + self.sim.log()[-1000:])

    def stays_quiet(self, what):
        self.relay.let_due_timers_run()
        assert not self.trouble(), what

    def counted(self, name):
        return self.sim.stats()[name] - self.before[name]

    def check_kept(self, events, event, outcome, cause):
        """One event, of that class, naming its cause; the message is kept and charged only if its own attempt has failed."""
        assert [(e["event"], e["class"]) for e in events] == [(event, outcome)], events
        assert events[0]["cause"] in (cause if isinstance(cause, tuple) else (cause,))
        if event == "deferred":  # the log has it a moment before the disk
            wait_until((self.relay.spool / "state" / self.id).exists, 10, "the message's state")
        listed = json.loads(self.relay.cli("queue", "list", "--json", check=True).stdout)
        assert [(m["id"], m["folder"]) for m in listed] == [(self.id, "queue")]
        recipient = listed[0]["recipients"][0]
        assert (recipient["status"], recipient["attempts"]) == ("pending", 1 if event == "deferred" else 0)
        if event == "deferred":
            assert recipient["reason"] == events[0]["reply"].replace('\\"', '"'), "queue list does not say why"
        else:
            upstream = self.relay.status()["upstreams"][0]
            assert (upstream["health"], upstream["class"], upstream["cause"]) == ("held", outcome, events[0]["cause"])
            assert upstream["remedy"] and upstream["text"]

    def heal(self, seconds, copies=1):
        """The fault is lifted, and seconds later all has gone out by itself, whole, so many times at most."""
        self.sim.clear()
        if self.events("deferred"):
            wait_until(lambda: self.relay.waiting() == 1, 10, "the message to be planned")
        self.clock.forward(seconds)
        wait_until(lambda: not self.relay.queue_ids(), 20,
                   lambda: "the message to leave:\n" + self.relay.log()[-3000:] + self.sim.log()[-1000:])
        assert 1 <= self.copies() <= copies
        assert harness.behind_trace(self.sim.messages()[-1].content, self.content)
        assert self.relay.queue_ids("failed") == []
        assert not self.relay.events("worker-died") and not self.relay.events("worker-hangs")
        self.check_wires()

    def check_wires(self):
        for sent in self.smtp.sent:
            in_clear = harness.before_tls(sent)
            assert IN_CLEAR.fullmatch(in_clear), in_clear
        assert all(harness.before_tls(sent) == b"" for sent in self.login.sent)
        assert self.sim.stats()["auth_plaintext"] == 0


# --- the upstream ------------------------------------------------------------------------------------------------------

BY_DATA = "ehlo without CHUNKING"

# stage: (its rule with the kind left open, other rules, seconds that a silent upstream is waited for)
BEFORE_LOGIN = {
    "connect": ("connect {}", [], 60),
    "banner": ("banner {}", [], 60),
    "ehlo": ("ehlo {}", [], 60),
    "starttls": ("starttls {}", [], 60),
    "handshake": ("handshake {}", [], 30),
    "ehlo-in-tls": ("ehlo {} after=1", [], 60),
    "auth": ("auth {}", [], 60),
}
WITH_MAIL = {
    "mail": ("mail {}", [], 300),
    "rcpt": ("rcpt {}", [], 300),
    "data": ("data {}", [BY_DATA], 300),
    "bdat": ("bdat {}", [], 600),
    "final-dot": ("final-dot {}", [], 600),
    "final-dot-of-data": ("final-dot {}", [BY_DATA], 600),
}
STAGES = {**BEFORE_LOGIN, **WITH_MAIL}
# A fresh session that fails before it has answered to MAIL says something about the upstream, not about the message.
BEFORE_MESSAGE = {*BEFORE_LOGIN, "mail"}
KINDS = {"cut": LOST, "stall": SILENT, "garbage": NOT_SMTP, "half": LOST, "huge-line": NOT_SMTP, "endless": NOT_SMTP}
IMPOSSIBLE = {(stage, kind) for stage in ("connect", "handshake") for kind in ("half", "huge-line", "endless")}
# The upstream has the message and says so, but not in a way that can be understood.
KEPT = ("half", "huge-line")
AFTER_CONTENT = ("bdat", "final-dot", "final-dot-of-data")


def cause_of(stage, kind):
    if stage == "handshake" and kind == "garbage":
        return (IS_NO_TLS, NOT_SMTP)  # bytes in place of the handshake, or behind the 220 and before it
    if stage in ("connect", "banner") and kind == "stall":
        return NO_GREETING
    return NO_TLS if stage == "handshake" and kind == "cut" else KINDS[kind]


def wait_in_vain(lane, rule, limit_s):
    """The daemon has come to where it hears nothing more: it waits for its limit, and not much longer."""
    wait_until(lambda: lane.sim.used(rule), 15, lambda: f"'{rule}':\n{lane.relay.log()[-2000:]}")
    begun = lane.clock.now()
    lane.clock.forward(limit_s - 5)
    lane.stays_quiet(f"it gave up before {limit_s} s")
    wait_until(lambda: lane.trouble() or lane.relay.leap(2), 15, "the daemon to give up", step=0.1)
    assert lane.clock.now() - begun < limit_s + 60


@pytest.mark.parametrize("stage, kind", [pytest.param(stage, kind, id=f"{kind}-at-{stage}") for stage in STAGES for kind in KINDS
                                         if (stage, kind) not in IMPOSSIBLE])
def test_upstream_fails(lane, stage, kind):
    pattern, others, limit_s = STAGES[stage]
    rule = pattern.format(kind)
    lane.sim.faults(*others, rule)
    lane.send()
    if kind == "stall":
        wait_in_vain(lane, rule, limit_s)
    events = lane.wait_trouble()
    outcome = "C" if events[0]["cause"] == IS_NO_TLS else "T"
    lane.check_kept(events, "upstream-held" if stage in BEFORE_MESSAGE else "deferred", outcome, cause_of(stage, kind))
    assert lane.counted("auth_ok") == (1 if stage in WITH_MAIL else 0) or (stage == "auth" and kind in KEPT)
    lane.heal(int(events[0].get("for_ms", 60_000)) / 1000 + 1, 2 if stage in AFTER_CONTENT and kind in KEPT else 1)


@pytest.mark.parametrize("verb", ["bdat", "data"])
@pytest.mark.parametrize("percent", [0, 25, 50, 75])
def test_connection_is_cut_in_the_content(lane, verb, percent):
    lane.sim.faults(*([BY_DATA] if verb == "data" else []), f"content cut-after {percent}%")
    lane.send(1_000_000)
    lane.check_kept(lane.wait_trouble(), "deferred", "T", LOST)
    assert lane.copies() == 0
    lane.heal(61)


@pytest.mark.parametrize("verb", ["bdat", "data"])
@pytest.mark.parametrize("percent", [0, 25, 50, 75])
def test_upstream_stops_reading_the_content(lane, verb, percent):
    """A block that nobody takes is waited for three minutes, the final reply ten; which of them ends it depends on how much the
    sockets on the way hold."""
    lane.sim.faults(*([BY_DATA] if verb == "data" else []), f"content stall-after {percent}%")
    lane.send(8_000_000 if percent < 75 else 200_000)
    wait_until(lambda: "content stopped" in lane.sim.log()[lane.sim_log_before:], 15, "the stall")
    lane.clock.forward(170)
    lane.stays_quiet("it gave up before its time")
    # After each leap the sender must have its turn, or it is taken for hung.
    wait_until(lambda: lane.trouble() or lane.relay.status() and lane.clock.forward(20), 30, "the daemon to give up", step=0.1)
    lane.check_kept(lane.trouble(), "deferred", "T", SILENT)
    assert lane.copies() == 0
    lane.smtp.cut()  # it holds what the daemon has sent in vain
    lane.heal(61)


def test_connection_is_cut_after_the_message_was_taken(lane):
    """The one window of a second copy."""
    lane.sim.faults("final-dot keep-cut")
    lane.send()
    lane.check_kept(lane.wait_trouble(), "deferred", "T", LOST)
    lane.heal(61, 2)


def test_slow_replies_are_waited_for_and_nothing_is_sent_twice(lane):
    rules = [f"{stage} delay 60000" for stage in ("banner", "auth", "mail", "rcpt", "final-dot")]
    lane.sim.faults(*rules)
    lane.send()
    for n, seconds in enumerate((50, 50, 290, 290, 590)):
        wait_until(lambda: lane.sim.used(rules[n]), 10, rules[n])
        lane.clock.forward(seconds)
        lane.sim.faults(*rules[n + 1:])  # the delay ends
    lane.heal(0)
    assert lane.trouble() == [] and lane.copies() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_upstream_fails_at_quit(lane, kind):
    """All is done by then: nobody is held, and the next message goes at once."""
    lane.sim.faults(f"quit {kind}")
    lane.send()
    lane.heal(0)
    lane.sim.faults(f"quit {kind}")
    lane.clock.forward(21)
    wait_until(lambda: lane.sim.used(f"quit {kind}"), 10, "QUIT")
    lane.clock.forward(3)
    wait_until(lambda: lane.sim.stats()["connections"]["smtp"]["now"] == 0, 10, "the end of the connection")
    lane.cases += 1
    lane.send()
    lane.heal(0)
    assert lane.trouble() == []


# --- certificates ------------------------------------------------------------------------------------------------------

UNKNOWN_CA = "The certificate was made by a CA that this machine does not trust."

# identity: (what the text says, the cause; None: that it is not proved)
CERTIFICATES = {
    "wrong-name": ("is for another name: other.example", "The certificate is for another name than the host that the config names."),
    "expired": ("certificate has expired", "The other side's certificate has expired, or this machine's clock is wrong."),
    "not-yet": ("certificate is not yet valid",
                "The other side's certificate is not valid yet: mostly this machine's clock is behind."),
    "untrusted": ("self-signed certificate", "The certificate is self-signed: nobody but its owner vouches for it."),
    "unknown-ca": ("unable to get local issuer certificate", UNKNOWN_CA),
    "no-chain": ("unable to get local issuer certificate", UNKNOWN_CA),
    "weak-key": ("key too weak", None),
    "weak-hash": ("digest algorithm too weak", None),
}


@pytest.mark.parametrize("identity", CERTIFICATES)
def test_certificate_of_the_upstream_is_wrong(lane, identity):
    lane.sim.faults(f"handshake cert {identity}")
    lane.send()
    events = lane.wait_trouble()
    lane.check_kept(events, "upstream-held", "C", CERTIFICATES[identity][1] or NO_PROOF)
    assert CERTIFICATES[identity][0] in events[0]["text"]
    assert lane.relay.cli("status").returncode == 2, "no alarm"
    assert lane.counted("tls_handshakes") == lane.counted("auth_ok") == lane.counted("auth_failed") == 0
    lane.heal(PROBE_S)


@pytest.mark.parametrize("identity", CERTIFICATES)
def test_certificate_of_the_login_host_is_wrong(lane, identity):
    lane.clock.forward(TOKEN_LIFE_S)
    lane.sim.faults(f"login cert {identity}")
    lane.send()
    events = lane.wait_trouble()
    lane.check_kept(events, "upstream-held", "C", CERTIFICATES[identity][1] or LOGIN_NO_PROOF)
    assert "certificate of localhost" in events[0]["text"]
    assert lane.relay.cli("status").returncode == 2, "no alarm"
    assert lane.counted("token_requests") == 0, "the secret went to somebody unproved"
    lane.heal(PROBE_S)


# --- names -------------------------------------------------------------------------------------------------------------

NO_HOST = "DNS says that there is no host of this name (NXDOMAIN)."
NO_NAME_SERVER = "The name servers of this machine give no answer (SERVFAIL, or none can be reached)."


@pytest.mark.parametrize("says, cause, words", [("nxdomain", NO_HOST, "there is no host of that name"),
                                                ("servfail", NO_NAME_SERVER, "SERVFAIL"),
                                                ("silence", NO_NAME_SERVER, "no name server answered in time")])
@pytest.mark.parametrize("what", ["upstream", "login-host"])
def test_name_is_not_resolved(sim, make_relay, what, says, cause, words):
    host = "smtp.contoso.test" if what == "upstream" else "login.contoso.test"
    with contextlib.closing(NameServer({(host, "A"): says, (host, "AAAA"): says})) as names:
        relay = make_relay(sim, start=False, clock=True, retry={"first": "1m", "max": "1h"}, name_servers=[names.address])
        right = relay.settings["upstreams"][0]
        wrong = {"host": host} if what == "upstream" else {"oauth": {"authority": f"https://{host}:{sim.login_port}"}}
        relay.settings["upstreams"] = [harness.merge(right, wrong)]
        relay.start()
        queue_id = relay.send(make_mail())
        wait_until(lambda: names.asked[(host, "A")], 10, "the name server to be asked")
        if says == "silence":
            relay.clock.forward(21)
        held = relay.wait_event("upstream-held")[0]
        assert held["class"] == "T" and held["cause"] == cause
        assert host in held["text"] and words in held["text"]
        assert relay.queue_ids() == [queue_id] and sim.messages() == []
    relay.reload(upstreams=[right])
    sim.wait_messages(1)
    relay.wait_empty()
    assert len(sim.messages()) == 1 and not relay.events("deferred")


# --- the login host ----------------------------------------------------------------------------------------------------

def ask_for_a_token(lane, *rules):
    """The token at hand has ended, so that the message needs a new one."""
    lane.clock.forward(TOKEN_LIFE_S)
    lane.sim.faults(*rules)
    lane.send()


# fault: (class, cause, seconds until it is asked again)
LOGIN_FAULTS = {
    "cut": ("T", LOGIN_SILENT, 60),
    "reset": ("T", LOGIN_SILENT, 60),
    "down": ("T", LOGIN_SILENT, 60),
    "garbage": ("T", LOGIN_SILENT, 60),
    "half": ("T", LOGIN_SILENT, 60),
    "huge-body": ("T", LOGIN_SILENT, 60),
    "tls-max 1.1": ("C", "The other side has no TLS 1.2 or later; less is not spoken here.", 600),
    "status 500": ("T", LOGIN_SILENT, 60),
    "status 503": ("T", LOGIN_SILENT, 60),
    "status 429": ("T", LOGIN_THROTTLED, 60),
    "retry-after 200": ("T", LOGIN_THROTTLED, 200),
    "html": ("C", LOGIN_NONSENSE, 300),
    "empty": ("C", LOGIN_NONSENSE, 300),
    "cut-json": ("C", LOGIN_NONSENSE, 300),
    "redirect https://localhost:1/": ("C", LOGIN_NONSENSE, 300),
}


@pytest.mark.parametrize("fault", LOGIN_FAULTS, ids=lambda fault: fault.replace(" ", "-").partition("-http")[0])
def test_login_host_fails(lane, fault):
    outcome, cause, held_s = LOGIN_FAULTS[fault]
    ask_for_a_token(lane, f"login {fault}")
    begun = lane.clock.now()
    events = lane.wait_trouble()
    for_s = int(events[0]["for_ms"]) / 1000
    assert held_s * 0.9 <= for_s <= held_s
    lane.check_kept(events, "upstream-held", outcome, cause)
    asked = lane.counted("token_requests")
    assert asked <= 1
    lane.clock.forward(begun + for_s - 10 - lane.clock.now())
    lane.relay.let_due_timers_run()
    assert lane.counted("token_requests") == asked, "it is asked again too soon"
    lane.heal(held_s * 0.2 + 10)
    assert lane.counted("auth_failed") == 0


def test_login_host_is_silent(lane):
    ask_for_a_token(lane, "login stall")
    wait_in_vain(lane, "login stall", 30)
    lane.check_kept(lane.wait_trouble(), "upstream-held", "T", LOGIN_SILENT)
    lane.heal(61)


def test_login_host_is_slow(lane):
    ask_for_a_token(lane, rule := "login delay 60000")
    wait_until(lambda: lane.sim.used(rule), 10, "the request")
    lane.clock.forward(25)
    lane.heal(0)
    assert lane.trouble() == []


def test_token_ends_while_its_session_is_at_work(lane):
    """The session goes on to the end of its message; the next one logs in with a new token, unasked."""
    lane.sim.faults("tokens expire-in 300", "tokens valid-for 300", rule := "final-dot delay 60000")
    lane.clock.forward(TOKEN_LIFE_S)
    lane.send()
    wait_until(lambda: lane.sim.used(rule), 10, "the final dot")
    lane.clock.forward(400)
    lane.heal(0)
    lane.cases += 1
    lane.send()
    lane.heal(0)
    assert lane.counted("token_requests") == lane.counted("auth_ok") == 2
    assert lane.counted("auth_failed") == 0 and lane.trouble() == []
