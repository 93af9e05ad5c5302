"""Each kind of upstream with each way to prove itself, against a server that plays that kind. One daemon serves all; a route
by recipient leads to each."""

import json
import subprocess

import pytest

import harness
from harness import make_mail, wait_until

ACS_USER = "contoso|11111111-2222-3333-4444-555555555555|99999999-8888-7777-6666-555555555555"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(folder):
    """ca.pem, and of a middle CA client.pem (whole chain), bare.pem (without it), client.key."""
    def issue(name, issuer, extensions):
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / f"{name}.key",
                "-out", folder / f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "ext").write_text(extensions)
        openssl("x509", "-req", "-in", folder / f"{name}.csr", "-CA", folder / f"{issuer}.pem", "-CAkey", folder / f"{issuer}.key",
                "-days", "30", "-extfile", folder / "ext", "-out", folder / f"{name}.pem")
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "ca.key", "-out",
            folder / "ca.pem", "-days", "30", "-subj", "/CN=public CA")
    issue("middle", "ca", "basicConstraints=critical,CA:TRUE\n")
    issue("relay.contoso.com", "middle", "basicConstraints=CA:FALSE\n")
    bare = folder / "relay.contoso.com.pem"
    (folder / "client.pem").write_text(bare.read_text() + (folder / "middle.pem").read_text())
    (folder / "relay.contoso.com.key").chmod(0o600)
    return {"certificate": str(folder / "client.pem"), "key": str(folder / "relay.contoso.com.key"), "bare": str(bare)}


class Office:
    """Simulators of every kind, and a relay with an upstream for each."""

    def __init__(self, folder):
        (folder / "certificates").mkdir()
        self.pair = make_certificates(folder / "certificates")
        ca = folder / "certificates" / "ca.pem"
        self.hve = harness.Sim(folder / "hve", play="hve", domain="contoso.com", basic_user="hve@contoso.com",
                               basic_password="old-way")
        self.acs = harness.Sim(folder / "acs", play="acs", basic_user=ACS_USER, basic_password="azure")
        self.acs.options["mailbox"] = "contoso-relay"
        self.mx = harness.Sim(folder / "mx", domain="contoso.com", connector_ca=ca)
        self.submission = harness.Sim(folder / "submission", basic_user="scanner@contoso.com", basic_password="old-way")
        self.sims = [self.hve, self.acs, self.mx, self.submission]
        for sim in self.sims:
            sim.start().serves_daemon = True
        self.relay = harness.Relay(folder / "relay", self.submission)
        self.relay.write_secret("old-way", "password")
        self.relay.write_secret("azure", "azure")
        self.relay.settings.update(upstreams=self.upstreams(), routes=self.routes())
        self.relay.start()

    def upstreams(self):
        folder = self.relay.dir

        def by_oauth(sim, **rest):
            return harness.merge(self.relay.upstream(port=sim.smtp_port, ca=sim.ca, oauth={
                "authority": f"https://localhost:{sim.login_port}", "ca": sim.ca}), rest)

        def at(sim, **rest):
            return {"host": "localhost", "port": sim.smtp_port, "ca": sim.ca, **rest}

        def mx(**rest):
            return {"host": "localhost", "port": self.mx.mx_port, "ca": self.mx.ca, **rest}
        old_way = {"password": f"file:{folder}/password"}
        return [
            by_oauth(self.submission, name="submission-oauth", kind="submission"),
            at(self.submission, name="submission-login", kind="submission", user="scanner@contoso.com", **old_way),
            by_oauth(self.hve, name="hve-oauth", kind="hve"),
            at(self.hve, name="hve-login", kind="hve", user="hve@contoso.com", **old_way),
            mx(name="direct", kind="direct-send"),
            mx(name="connector-certificate", kind="connector", certificate=self.pair["certificate"], key=self.pair["key"]),
            mx(name="connector-bare", kind="connector", certificate=self.pair["bare"], key=self.pair["key"]),
            mx(name="connector-address", kind="connector"),
            at(self.acs, name="acs-login", kind="acs", user=ACS_USER, password=f"file:{folder}/azure",
               mailbox="donotreply@contoso.com"),
            by_oauth(self.acs, name="acs-oauth", kind="acs", user="contoso-relay", mailbox="donotreply@contoso.com"),
        ]

    def routes(self):
        return [{"recipients": [f"{u['name']}*"], "via": [u["name"]]} for u in self.upstreams()]

    def close(self):
        self.relay.stop()
        for sim in self.sims:
            sim.stop()
        self.relay.check_clean()
        for sim in self.sims:
            sim.check_clean()


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    made = Office(tmp_path_factory.mktemp("kinds"))
    yield made
    made.close()


def send(office, sim, *recipients, content=None):
    before = len(sim.messages())
    office.relay.send(content or make_mail(), recipients=recipients)
    return sim.wait_messages(before + 1)[before]


@pytest.mark.parametrize("name, mechanism, user", [
    ("submission-oauth", "XOAUTH2", harness.MAILBOX), ("submission-login", "LOGIN", "scanner@contoso.com"),
    ("hve-oauth", "XOAUTH2", harness.MAILBOX), ("hve-login", "LOGIN", "hve@contoso.com"),
    ("acs-login", "LOGIN", ACS_USER), ("acs-oauth", "XOAUTH2", "contoso-relay")])
def test_a_kind_with_a_login_logs_in_as_it_should(office, name, mechanism, user):
    sim = getattr(office, name.partition("-")[0])
    message = send(office, sim, f"{name}@contoso.com")
    assert (message["front"], message["mechanism"], message["user"]) == ("smtp", mechanism, user)
    assert message["tls"].startswith("TLSv1.")


def test_mail_without_a_sender_leaves_in_the_name_of_the_mailbox_of_acs(office):
    before = len(office.acs.messages())
    office.relay.send(make_mail(), sender="", recipients=["acs-login@contoso.com"])
    assert office.acs.wait_messages(before + 1)[before]["mail_from"] == "donotreply@contoso.com"


def test_direct_send_and_a_connector_by_address_prove_nothing(office):
    for name in ("direct", "connector-address"):
        message = send(office, office.mx, f"{name}@contoso.com")
        assert (message["front"], message["mechanism"], message["client"]) == ("mx", None, None)
        assert message["tls"].startswith("TLSv1.")


def test_a_connector_that_knows_the_certificate_relays_to_anybody(office):
    message = send(office, office.mx, "connector-certificate@example.org")
    assert (message["front"], message["client"]) == ("mx", "relay.contoso.com")


def test_a_certificate_without_its_chain_is_no_proof_and_check_tells_so_beforehand(office):
    office.relay.send(make_mail(), recipients=["connector-bare@example.org"])
    held = wait_until(lambda: [e for e in office.relay.events("upstream-held") if e["upstream"] == "connector-bare"], 15, "the hold")[0]
    assert held["class"] == "C" and "5.7.64" in held["text"]
    checked = office.relay.cli("check")
    assert checked.returncode == 0 and "relay.contoso.com.pem do not lead to a CA" in checked.stderr


def test_hve_gets_50_recipients_at_a_time_and_no_more_than_10_megabytes(office):
    before = len(office.hve.messages())
    office.relay.send(make_mail(), recipients=[f"hve-oauth-{i}@contoso.com" for i in range(70)])
    parts = office.hve.wait_messages(before + 2)[before:]
    assert sorted(len(m["rcpt"]) for m in parts) == [20, 50]
    with pytest.raises(harness.HarnessError, match="552 5.3.4 Message is larger than the SIZE of upstream hve-oauth"):
        office.relay.send(make_mail(body=("x" * 70 + "\r\n") * 150_000), recipients=["hve-oauth@contoso.com"])
    assert len(office.hve.messages()) == before + 2


def test_a_password_for_submission_is_warned_about_with_its_date(office):
    for text in (office.relay.cli("check").stderr, office.relay.log()):
        assert "at the end of December 2026" in text


def test_check_online_knows_every_kind(office):
    before = [len(sim.messages()) for sim in office.sims]
    result = office.relay.cli("check", "--online", "--json", "--to", "boss@contoso.com")
    found = {u["name"]: {s["step"]: s for s in u["steps"]} for u in json.loads(result.stdout)["upstreams"]}
    assert result.returncode == 0 and list(found) == [u["name"] for u in office.upstreams()]
    for name, steps in found.items():
        assert ("token" in steps) == name.endswith("oauth") and ("auth" in steps) == name.endswith(("oauth", "login"))
        assert ("spf" in steps) == (name in ("direct", "connector-address"))
        assert all(s["status"] == "ok" for s in steps.values() if s["step"] not in ("spf", "expiry")), steps
    assert found["hve-oauth"]["token"]["facts"]["roles"] == ["Mail.Send"]
    assert found["acs-oauth"]["token"]["facts"]["audience"] == "https://communication.azure.com"
    assert found["connector-certificate"]["expiry"]["facts"]["certificate"] > "2020"
    assert before == [len(sim.messages()) for sim in office.sims]
