"""What is particular to a kind of upstream, against a server that plays that kind. One daemon serves all; a route by recipient
leads to each. Each kind with each credential: test_kinds_credentials.py."""

import json

import pytest

import harness
from harness import make_mail, wait_until
from office import MAIL_FROM

PAIRS = [("submission", "secret"), ("submission", "password"), ("hve", "secret"), ("hve", "password"), ("direct-send", "none"),
         ("connector", "client-certificate"), ("connector", "bare-certificate"), ("connector", "none"), ("acs", "password"),
         ("acs", "secret")]


def test_mail_without_a_sender_leaves_in_the_name_of_the_mailbox_of_acs(office):
    before = len(office.acs.messages())
    office.relay.send(make_mail(), sender="", recipients=["acs.password@contoso.com"])
    assert office.acs.wait_messages(before + 1)[before]["mail_from"] == MAIL_FROM


def test_a_connector_that_knows_the_certificate_relays_to_anybody(office):
    message = office.send("connector.client-certificate@example.org")
    assert (message["front"], message["client"]) == ("mx", "relay.contoso.com")


def test_a_certificate_without_its_chain_is_no_proof_and_check_tells_so_beforehand(office):
    office.relay.send(make_mail(), recipients=["connector.bare-certificate@example.org"])
    held = wait_until(lambda: [e for e in office.relay.events("upstream-held") if e["upstream"] == "connector.bare-certificate"], 15, "the hold")[0]
    assert held["class"] == "C" and "5.7.64" in held["text"]
    checked = office.relay.cli("check")
    assert checked.returncode == 0 and "relay.contoso.com.pem do not lead to a CA" in checked.stderr


def test_hve_gets_50_recipients_at_a_time_and_no_more_than_10_megabytes(office):
    before = len(office.hve.messages())
    office.relay.send(make_mail(), recipients=[f"hve.secret+{i}@contoso.com" for i in range(70)])
    parts = office.hve.wait_messages(before + 2)[before:]
    assert sorted(len(m["rcpt"]) for m in parts) == [20, 50]
    with pytest.raises(harness.HarnessError, match="552 5.3.4 Message is larger than the SIZE of upstream hve.secret"):
        office.relay.send(make_mail(body=("x" * 70 + "\r\n") * 150_000), recipients=["hve.secret@contoso.com"])
    assert len(office.hve.messages()) == before + 2


def test_a_password_for_submission_is_warned_about_with_its_date(office):
    for text in (office.relay.cli("check").stderr, office.relay.log()):
        assert "at the end of December 2026" in text


def test_check_online_knows_every_kind(office):
    before = [len(sim.messages()) for sim in office.sims]
    result = office.relay.cli("check", "--online", "--json", "--to", "boss@contoso.com")
    found = {u["name"]: {s["step"]: s for s in u["steps"]} for u in json.loads(result.stdout)["upstreams"]}
    assert result.returncode == 0 and list(found) == [f"{kind}.{credential}" for kind, credential in PAIRS]
    for name, steps in found.items():
        assert ("token" in steps) == name.endswith("secret") and ("auth" in steps) == name.endswith(("secret", "password"))
        assert ("spf" in steps) == name.endswith("none")
        assert all(s["status"] == "ok" for s in steps.values() if s["step"] not in ("spf", "expiry")), steps
    assert found["hve.secret"]["token"]["facts"]["roles"] == ["Mail.Send"]
    assert found["acs.secret"]["token"]["facts"]["audience"] == "https://communication.azure.com"
    assert found["connector.client-certificate"]["expiry"]["facts"]["certificate"] > "2020"
    assert before == [len(sim.messages()) for sim in office.sims]
