"""check --online: what it proves of a good upstream, and which words it has for broken ones. Nothing is ever sent."""

import datetime
import json

import pytest

import harness
from harness import MAILBOX
from nameserver import CLOSES, SERVICE_ENDS, NameServer, first_host_says

STEPS = ["dns", "tcp", "greeting", "tls", "ehlo", "token", "auth", "mail", "rcpt"]


@pytest.fixture
def relay(sim, make_relay):
    relay = make_relay(sim, start=False)
    sim.serves_daemon = True
    yield relay
    assert sim.messages() == []
    assert "DATA" not in sim.log() and "BDAT" not in sim.log()


MX = "contoso-com.mail.protection.outlook.com"
GREETED = "ehlo reply 250-SIM Hello [203.0.113.7]\\n250-STARTTLS\\n250 SIZE 157286400"


@pytest.fixture
def names():
    server = NameServer({("contoso.com", "MX"): [(10, MX)], (MX, "A"): ["127.0.0.1"]})
    yield server
    server.close()


def check(relay, *arguments, status):
    result = relay.cli("check", "--online", *arguments, timeout=60)
    assert result.returncode == status, result.stdout + result.stderr
    assert harness.SECRET not in result.stdout + result.stderr and "eyJ" not in result.stdout + result.stderr
    return result.stdout


def found(relay, *arguments, status):
    """The findings of the first upstream: (its object, its steps by name)."""
    answer = json.loads(check(relay, "--json", *arguments, status=status))
    assert set(answer) == {"ok", "version", "checked", "upstreams"} and answer["ok"] is (status == 0)
    upstream = answer["upstreams"][0]
    assert set(upstream) == {"name", "mailbox", "kind", "host", "port", "ok", "steps"}
    for step in upstream["steps"]:
        keys = {"step", "status", "ms", "text", "facts"}
        keys |= {"answer", "reason", "class", "who_acts", "cause", "remedy"} if step["status"] == "failed" else set()
        keys |= {"advice"} if step["status"] == "warning" else set()
        assert set(step) == keys, step
        assert step["status"] in ("ok", "warning", "failed", "not-tried", "left-out")
    return upstream, {step["step"]: step for step in upstream["steps"]}


def test_a_good_upstream_is_proved_step_by_step(sim, relay):
    text = check(relay, status=0)
    for words in ("127.0.0.1", "TLSv1.3", "name verified", "days left", "SIZE 150M", "PIPELINING", "AUTH XOAUTH2",
                  "for https://outlook.office365.com", f"tenant {harness.TENANT}", f"app {harness.CLIENT_ID}",
                  "roles SMTP.SendAsApp", "min left", "235 2.7.0", f"MAIL FROM:<{MAILBOX}>: 250", "RCPT TO:<it@contoso.com>: 250",
                  "submission: good; nothing was sent"):
        assert words in text, words
    assert [line.split()[1] for line in text.splitlines()[1:-1]] == STEPS
    upstream, steps = found(relay, status=0)
    assert [s["step"] for s in upstream["steps"]] == STEPS and {s["status"] for s in upstream["steps"]} == {"ok"}
    facts = {name: step["facts"] for name, step in steps.items()}
    assert facts["tls"]["days_left"] > 0 and facts["tls"]["chain"] == 2
    assert facts["token"]["roles"] == ["SMTP.SendAsApp"] and facts["token"]["app"] == harness.CLIENT_ID
    assert facts["ehlo"]["size"] == 157286400 and "CHUNKING" in facts["ehlo"]["features"]
    assert facts["mail"]["sender"] == MAILBOX and facts["rcpt"]["recipient"] == "it@contoso.com"
    assert "RSET" in sim.log() and "QUIT" in sim.log()


BROKEN = [
    # what is wrong, the simulator's fault, the config's, the step that fails, words of what is said of it
    ("the name does not exist", None, {"host": "no-such-host.invalid"}, "dns", "no-such-host.invalid"),
    ("the port is closed", None, {"port": 1}, "tcp", "firewall"),
    ("the certificate is another's", "handshake cert wrong-name", {}, "tls", "is for another name"),
    ("the certificate has expired", "handshake cert expired", {}, "tls", "has expired"),
    ("the busy server greets with 421", "banner reply 421 4.3.2 Service not available", {}, "greeting", "421 4.3.2"),
    ("TLS is stripped", "ehlo without STARTTLS", {}, "tls", "inspection"),
    ("the secret has expired", "login error 7000222", {}, "token", "Make a new one"),
    ("the login host is down", "login status 503", {}, "token", "again"),
    ("AUTH is refused", "auth reply 535 5.7.3 Authentication unsuccessful", {}, "auth", "535 5.7.3"),
    ("authenticated SMTP is off for the mailbox", "auth reply 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication "
     "is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.", {}, "auth",
     "Set-CASMailbox"),
    ("the sender is refused", "mail reply 550 5.7.60 SMTP; Client does not have permissions to send as this sender", {}, "mail", "SendAs"),
    ("the recipient is refused", "rcpt reply 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found", {}, "rcpt",
     "550 5.1.10"),
]


def test_each_broken_set_up_is_named_with_its_remedy_and_the_rest_is_not_tried(sim, relay, names):
    names.records.update({("no-such-host.invalid", kind): "nxdomain" for kind in ("A", "AAAA")})
    for label, fault, settings, failing, words in BROKEN:
        sim.faults(*([fault] if fault else []))
        relay.write_config(name_servers=[names.address], upstreams=[relay.upstream(**settings)])
        upstream, steps = found(relay, status=1)
        step = steps[failing]
        assert step["status"] == "failed", (label, step)
        assert words in step["answer"] + step["cause"] + step["remedy"], (label, step)
        assert step["reason"] and step["cause"] and step["remedy"], label
        at = [s["step"] for s in upstream["steps"]].index(failing)
        assert {s["status"] for s in upstream["steps"][:at]} <= {"ok"}, label
        assert {s["status"] for s in upstream["steps"][at + 1:]} <= {"not-tried"}, label


def test_a_wrong_secret_and_a_wrong_ca_as_people_read_them(sim, relay):
    relay.write_secret("the-secrets-id")
    text = check(relay, status=1)
    assert "FAILED  token" in text and "AADSTS7000215" in text and "remedy: Put the secret's value into the file" in text
    assert "auth                not tried" in text and "submission: FAILED" in text
    assert "the-secrets-id" not in text
    relay.write_config(upstreams=[relay.upstream(ca="/etc/ssl/certs/ca-certificates.crt")])
    text = check(relay, status=1)
    assert "FAILED  tls" in text and "unable to get" in text and "token               not tried" in text


def test_an_unreadable_secret_is_the_tokens_failure(sim, relay):
    (relay.dir / "client-secret").write_text("two\nlines")
    _, steps = found(relay, status=1)
    assert steps["token"]["reason"] == "secret-unusable" and "one line" in steps["token"]["answer"]


def test_addresses_can_be_given_and_without_any_the_envelope_is_left_out(sim, relay):
    sim.faults("rcpt=nobody@contoso.com reply 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found")
    _, steps = found(relay, "--to", "nobody@contoso.com", "--from", "other@contoso.com", status=1)
    assert steps["mail"]["facts"]["sender"] == "other@contoso.com" and steps["rcpt"]["status"] == "failed"
    relay.write_config(report_to=None)
    _, steps = found(relay, status=0)
    assert steps["mail"]["status"] == "ok" and steps["rcpt"]["status"] == "left-out" and "--to" in steps["rcpt"]["text"]
    for odd in ("nobody", "a@b\r\nDATA", "", "<a@b>"):
        assert relay.cli("check", "--online", "--to", odd).returncode == 64, odd


def test_every_sender_that_the_config_names_is_tried(sim, relay):
    sim.faults("mail=scan@contoso.com reply 550 5.7.60 SMTP; Client does not have permissions to send as this sender",
               f"mail={MAILBOX} reply 550 5.7.60 SMTP; Client does not have permissions to send as this sender")
    relay.write_config(
        upstreams=[relay.upstream(sender="map", send_as=["scan@contoso.com", "*@fabrikam.com"])],
        devices=[{"name": "one", "address": ["127.0.0.1"], "senders": ["a@fabrikam.com", "*@x.test", "<>"]},
                 {"name": "two", "address": ["127.0.0.2"], "sender": "force", "sender_address": "two@contoso.com"},
                 {"name": "three", "address": ["127.0.0.3"], "sender": "force", "sender_address": "b@fabrikam.com"}])
    upstream, steps = found(relay, status=1)
    tried = {s["facts"]["sender"]: s["status"] for s in upstream["steps"] if s["step"] == "mail"}
    assert tried == {MAILBOX: "failed", "a@fabrikam.com": "ok", "b@fabrikam.com": "ok", "scan@contoso.com": "failed"}
    assert steps["rcpt"]["status"] == "ok", "it goes with a sender that is taken"
    relay.write_config(upstreams=[relay.upstream(sender="keep")], devices=[
        {"name": "many", "address": ["127.0.0.1"], "senders": [f"s{i}@contoso.com" for i in range(30)]}])
    upstream, steps = found(relay, status=1)
    mails = [s for s in upstream["steps"] if s["step"] == "mail"]
    assert len(mails) == 21 and mails[-1]["status"] == "left-out" and "11 more" in mails[-1]["text"]


def test_each_mailbox_of_a_list_is_tried(make_sim, make_relay):
    sim = make_sim()
    sim.options["mailbox"] = "scan*@contoso.com"
    sim.restart()
    relay = make_relay(sim, start=False)
    relay.write_config(upstreams=[relay.upstream(mailbox=None, mailboxes=["scan1@contoso.com", "other@contoso.com", "scan2@contoso.com"],
                                                 sender=None)])
    text = check(relay, status=1)
    for mailbox, judgement in (("scan1", "good"), ("other", "FAILED"), ("scan2", "good")):
        assert f"submission as {mailbox}@contoso.com: {judgement}" in text
    answer = json.loads(check(relay, "--json", status=1))["upstreams"]
    assert [(u["mailbox"].split("@")[0], u["ok"]) for u in answer] == [("scan1", True), ("other", False), ("scan2", True)]
    assert [s["facts"]["sender"] for s in answer[2]["steps"] if s["step"] == "mail"] == ["scan2@contoso.com"]


def test_upstreams_are_chosen_by_name_and_judged_together(sim, relay):
    bad = relay.upstream(name="elsewhere", port=1)
    mx = {"name": "mx", "kind": "smtp", "host": "localhost", "port": sim.mx_port, "ca": sim.ca}
    relay.write_config(upstreams=[relay.upstream(), mx, bad])
    text = check(relay, status=1)
    assert "submission: good" in text and "mx: good" in text and "elsewhere: FAILED" in text
    assert "elsewhere" not in check(relay, "submission", status=0)
    _, steps = found(relay, "mx", status=0)
    assert "token" not in steps and "auth" not in steps and steps["rcpt"]["status"] == "ok"
    result = relay.cli("check", "--online", "nowhere")
    assert result.returncode == 64 and "the config has: submission mx elsewhere" in result.stderr
    assert relay.cli("check", "--json").returncode == 64 and relay.cli("check", "submission").returncode == 64


def test_a_config_with_errors_is_not_tried(relay):
    relay.config.write_text("hostname = 7;\n")
    result = relay.cli("check", "--online", "--json")
    assert result.returncode == 78 and json.loads(result.stdout)["ok"] is False and ":1: error:" in result.stderr


def test_the_end_of_a_secret_is_seen_coming(relay):
    for days, status, words in ((400, "ok", "client secret"), (20, "warning", "ends in ")):
        day = (datetime.date.today() + datetime.timedelta(days)).isoformat()
        relay.write_config(upstreams=[relay.upstream(oauth={"secret_expires": day})])
        _, steps = found(relay, status=0)
        step = steps["expiry"]
        assert step["status"] == status and words in step["text"] + step.get("advice", ""), step
        assert step["facts"]["oauth.secret_expires"].startswith(day)


def test_a_token_for_something_else_is_warned_of(sim, relay):
    relay.write_config(upstreams=[relay.upstream(oauth={"scope": "https://graph.microsoft.com/.default"})])
    _, steps = found(relay, status=1)
    assert steps["token"]["facts"]["audience"] == "https://graph.microsoft.com"
    assert steps["token"]["status"] == "warning" and "SMTP.SendAsApp" in steps["token"]["advice"]
    assert steps["auth"]["status"] == "failed"
    wrong = relay.write_secret("out-of-date", "old-secret")
    relay.write_config(upstreams=[relay.upstream(oauth={"client_secret": f"file:{wrong}", "scope": None, "next": {
        "client_secret": f"file:{relay.dir}/client-secret"}})])
    _, steps = found(relay, status=0)
    assert steps["token"]["status"] == "warning" and "the first credential is refused" in steps["token"]["advice"]


def test_direct_send_shows_mx_port_25_and_spf(sim, relay, names):
    relay.write_config(name_servers=[names.address], routes=[{"recipients": ["*@contoso.com"], "via": ["direct"]}], upstreams=[
        {"name": "direct", "kind": "direct-send", "domain": "contoso.com", "port": sim.mx_port, "ca": sim.ca}])
    _, steps = found(relay, status=0)
    assert list(steps) == ["mx", "dns", "tcp", "greeting", "tls", "ehlo", "mail", "rcpt", "spf"]
    assert steps["mx"]["facts"]["hosts"] == [MX] and steps["dns"]["facts"]["host"] == MX
    assert steps["mail"]["facts"]["sender"] == "it@contoso.com"
    # Loopback says nothing of the address that the world sees; what Exchange greets with does.
    assert steps["spf"]["status"] == "left-out" and "127.0.0.1" in steps["spf"]["text"] and "contoso.com" in steps["spf"]["text"]
    sim.faults(GREETED)
    for records, status, words in (
            ({}, "warning", "add ip4:203.0.113.7 to the TXT record of contoso.com"),
            ({("contoso.com", "TXT"): ["v=spf1 include:x.test -all", "MS=ms123"], ("x.test", "TXT"): ["v=spf1 -all"]},
             "warning", "add ip4:203.0.113.7"),
            ({("contoso.com", "TXT"): [("v=spf1 ip4:203.0.", "113.0/24 -all")]}, "ok", "(ip4:203.0.113.0/24)"),
            ({("contoso.com", "TXT"): ["v=spf1 redirect=x.test"], ("x.test", "TXT"): ["v=spf1 ip4:203.0.113.7"]}, "ok", "lists 203."),
            ({("contoso.com", "TXT"): ["v=spf1 mx ~all"]}, "warning", "1 of its terms"),
            ({("contoso.com", "TXT"): "servfail"}, "warning", "could not be looked up")):
        names.records = {("contoso.com", "MX"): [(10, MX)], (MX, "A"): ["127.0.0.1"], **records}
        spf = found(relay, status=0)[1]["spf"]
        assert spf["status"] == status and words in spf["text"] + spf.get("advice", ""), spf


@pytest.mark.parametrize("greeting, words", [(SERVICE_ENDS, "421 4.3.2"), (CLOSES, "closed the connection")], ids=["421", "closes"])
@pytest.mark.parametrize("second", ["127.0.0.1", "127.0.0.10"], ids=["second-is-good", "nobody-there"])
def test_a_greeting_that_never_came_is_not_called_proved(sim, relay, names, greeting, words, second):
    names.records[(MX, "A")] = [second]
    relay.write_config(name_servers=[names.address], routes=[{"recipients": ["*@contoso.com"], "via": ["direct"]}], upstreams=[
        {"name": "direct", "kind": "direct-send", "domain": "contoso.com", "port": sim.mx_port, "ca": sim.ca}])
    with first_host_says(names.records, sim.mx_port, greeting):
        _, steps = found(relay, status=0 if second == "127.0.0.1" else 1)
    if second == "127.0.0.1":
        assert steps["greeting"]["status"] == "ok" and "220" in steps["greeting"]["text"]
    else:
        assert steps["greeting"]["status"] == "failed" and words in steps["greeting"]["answer"]
        assert steps["tls"]["status"] == "not-tried"


def test_an_mx_of_somebody_else_is_not_used(relay, names, sim):
    names.records[("contoso.com", "MX")] = [(10, "mx.filter.test")]
    relay.write_config(name_servers=[names.address], upstreams=[
        {"name": "submission", "kind": "direct-send", "domain": "contoso.com", "port": sim.mx_port, "ca": sim.ca}])
    _, steps = found(relay, status=1)
    assert steps["mx"]["status"] == "failed" and "mx.filter.test" in steps["mx"]["answer"]
    assert steps["dns"]["status"] == steps["spf"]["status"] == "not-tried"
