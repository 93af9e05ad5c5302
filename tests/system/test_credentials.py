"""How the relay proves itself to the login host: each kind of credential against the simulator, which verifies it for real."""

import os
import pathlib
import re
import shutil
import socket
import subprocess

import pytest

import needs
from certificates import make_pair, make_tls, openssl
from harness import CLIENT_ID, DAY, free_port, is_sanitized, let_others_enter, make_mail, wait_until


def upload(sim, crt):
    (sim.dir / "app").mkdir(exist_ok=True)
    shutil.copy(crt, sim.dir / "app")


def by_certificate(crt, key, **more):
    """What an upstream's oauth has in place of client_secret."""
    return {"client_secret": None, "certificate": str(crt), "key": str(key), **more}


@pytest.mark.parametrize("alg", ["PS256", "RS256"])
def test_a_certificate_gets_a_token(sim, make_relay, tmp_path, alg):
    crt, key = make_pair(tmp_path)
    upload(sim, crt)
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"] = [relay.upstream(oauth=by_certificate(crt, key, assertion_alg=alg))]
    relay.start()
    relay.send(make_mail())
    sim.wait_messages(1)
    assert sim.stats()["token_refusals"] == 0


def test_a_certificate_that_is_not_uploaded_holds_the_road_and_one_that_is_opens_it(sim, make_relay, tmp_path):
    crt, key = make_pair(tmp_path)
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"] = [relay.upstream(oauth=by_certificate(crt, f"file:{key}"))]
    relay.start()
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert "AADSTS700027" in held["text"] and "upload" in held["remedy"].lower()
    upload(sim, crt)
    relay.cli("queue", "retry", "all", check=True)
    sim.wait_messages(1)


def test_a_clock_that_is_wrong_is_said_to_be(sim, make_relay, tmp_path):
    crt, key = make_pair(tmp_path)
    upload(sim, crt)
    relay = make_relay(sim, start=False, clock=True)
    relay.clock.set_wall(-7200)
    relay.settings["upstreams"] = [relay.upstream(oauth=by_certificate(crt, key))]
    relay.start()
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert "AADSTS700024" in held["text"] and "clock" in (held["cause"] + held["remedy"]).lower()


def test_a_rotation_of_secrets_has_no_gap(sim, make_relay):
    secrets = sim.dir / "app/secrets"
    secrets.parent.mkdir()
    secrets.write_text("first\nsecond\n")
    relay = make_relay(sim, start=False, clock=True)
    first, second = relay.write_secret("first"), relay.write_secret("second", "next-secret")
    relay.settings["upstreams"] = [relay.upstream(oauth={"next": {"client_secret": f"file:{second}"}})]
    relay.start()
    relay.send(make_mail())
    sim.wait_messages(1)
    secrets.write_text("first expired\nsecond\n")
    relay.clock.forward(3600)
    relay.send(make_mail())
    sim.wait_messages(2)
    relay.wait_empty()
    refused = relay.wait_event("credential-refused")[0]
    assert "AADSTS7000222" in refused["text"] and refused["tried_now"] == "oauth.next"
    assert not relay.events("upstream-held")
    status = relay.cli("status")
    assert status.returncode == 2 and "ALARM      upstream submission uses oauth.next" in status.stdout
    secrets.write_text("second\nthird\n")
    relay.write_secret("third")  # the first's file, without a reload
    relay.clock.forward(3600)
    relay.send(make_mail())
    sim.wait_messages(3)
    assert relay.events("token-fetched")[-1]["credential"] == "oauth"
    assert relay.cli("status").returncode == 0


def test_a_federated_token_is_read_anew_each_time(sim, make_relay):
    trusted = sim.dir / "app/federated"
    trusted.parent.mkdir()
    trusted.write_text("issued.by.another-1\nissued.by.another-2\n")
    relay = make_relay(sim, start=False, clock=True)
    token = relay.write_secret("issued.by.another-1\n", "idp-token")
    relay.settings["upstreams"] = [relay.upstream(oauth={"client_secret": None, "federated_token": f"file:{token}"})]
    relay.start()
    relay.send(make_mail())
    sim.wait_messages(1)
    trusted.write_text("issued.by.another-2\n")
    relay.write_secret("issued.by.another-2\n", "idp-token")
    relay.clock.forward(3600)
    relay.send(make_mail())
    sim.wait_messages(2)
    assert sim.stats()["token_refusals"] == 0


def test_an_end_that_is_near_is_said_at_start_and_once_a_day(sim, make_relay, tmp_path):
    crt, key = make_pair(tmp_path, days=62)
    upload(sim, crt)
    relay = make_relay(sim, start=False, clock=True)
    relay.settings["upstreams"] = [relay.upstream(oauth=by_certificate(crt, key))]
    relay.start()
    assert relay.cli("status").returncode == 0 and not relay.events("credential-expires")
    relay.clock.forward(3 * DAY)
    assert "oauth.certificate" in relay.wait_event("credential-expires")[0]["text"]
    shown = relay.cli("status")
    assert shown.returncode == 0 and "expires    upstream submission: oauth.certificate: this certificate ends in" in shown.stdout
    relay.clock.forward(DAY)
    relay.wait_event("credential-expires", 2)
    relay.clock.forward(53 * DAY)
    assert int(relay.wait_event("credential-expires", 3)[-1]["days"]) < 7
    assert " ERROR sender credential-expires" in relay.log()
    assert relay.cli("status").returncode == 2


# --- a machine's own identity ---

def by_machine(port, grant="managed_identity", **more):
    return {"client_secret": None, "tenant": None, "client_id": None, "ca": None, "grant": grant,
            "authority": f"http://localhost:{port}", **more}


def test_a_managed_identity_gets_a_token_though_its_service_is_busy_at_first(sim, make_relay):
    sim.faults("imds:identity status 429 times=1")
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"] = [relay.upstream(oauth=by_machine(sim.ports["imds"], client_id=CLIENT_ID))]
    relay.start()
    relay.send(make_mail())
    sim.wait_messages(1)
    assert sim.log().count(
        "< GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Foutlook.office365.com%2F"
        f"&client_id={CLIENT_ID},") == 2
    assert [e["reason"] for e in relay.events("token-failed")] == ["identity-busy"]


def test_a_machine_without_an_identity_is_told_what_to_give_it(sim, make_relay):
    identities = sim.dir / "app/identities"
    identities.parent.mkdir()
    identities.write_text("")
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"] = [relay.upstream(oauth=by_machine(sim.ports["imds"]))]
    relay.start()
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert "Identity not found" in held["text"] and "managed identity" in held["remedy"]
    identities.write_text(CLIENT_ID)
    relay.cli("queue", "retry", "all", check=True)
    sim.wait_messages(1)


@needs.root("changing to another user")
def test_the_groups_that_the_system_has_the_user_in_count_everywhere(sim, make_relay, tmp_path):
    """As they do where systemd has changed the user: a certificate's key is often its group's, ssl-cert's."""
    groups = tmp_path / "group"
    groups.write_text(pathlib.Path("/etc/group").read_text() + "keys:x:47110:nobody\n")
    under = needs.mounts_of_its_own('mount --bind "$0" /etc/group && exec "$@"', groups)
    relay = make_relay(sim, start=False, user="nobody")
    let_others_enter(relay.dir)
    relay.under = under
    for path in (relay.config, relay.dir / "client-secret"):
        os.chown(path, 0, 47110)
        path.chmod(0o640)
    checked = relay.cli("check")
    assert checked.returncode == 0 and "cannot read" not in checked.stderr, checked.stderr
    online = relay.cli("check", "--online")
    assert online.returncode == 0, online.stdout + online.stderr
    relay.start()
    relay.send(make_mail())
    sim.wait_messages(1)


@pytest.fixture
def arc_relay(sim, make_relay):
    """A relay on a server that Azure Arc manages: to it alone, the simulator's folder is /var/opt, where the agent's key files
    are. It is not started."""
    under = needs.mounts_of_its_own('mount --bind "$0" /var/opt && exec "$@"', sim.dir)
    relay = make_relay(sim, start=False)
    relay.under = under
    relay.settings["upstreams"] = [relay.upstream(oauth=by_machine(sim.ports["arc"], "azure_arc"))]
    (sim.dir / "azcmagent/tokens").mkdir(parents=True)
    return relay


def test_azure_arc_gives_a_token_for_what_its_key_file_holds(sim, arc_relay):
    arc_relay.start()
    arc_relay.send(make_mail())
    sim.wait_messages(1)
    assert sim.log().count("api-version=2020-06-01&resource=https%3A%2F%2Foutlook.office365.com%2F,") == 2
    assert sim.stats()["token_refusals"] == 0 and not list((sim.dir / "azcmagent/tokens").iterdir())
    checked = arc_relay.cli("check", "--online")
    assert checked.returncode == 0, checked.stdout + checked.stderr


TOKENS = "/var/opt/azcmagent/tokens"


@pytest.mark.parametrize("rule, requests, text", [
    (f"identity challenge Basic realm={TOKENS}/gone.key", 1, f"{TOKENS}/gone.key: cannot be read"),
    (f"identity challenge Basic realm={TOKENS}/huge.key", 1, f"{TOKENS}/huge.key: larger than"),
    (f"identity challenge Basic realm={TOKENS}/other.key", 2, "HTTP 401"),
    (f"identity challenge Basic realm={TOKENS}/../secret.key", 1, "/secret.key\\\", which is no file of Azure Arc's"),
    ("identity challenge Basic realm=/etc/passwd", 1, "asks for \\\"/etc/passwd\\\", which is no file of Azure Arc's"),
    ("identity challenge Basic", 1, "names no file"),
    ("identity challenge Negotiate", 1, "names no file"),
    ("identity status 401", 1, "names no file"),
])
def test_a_proof_that_azure_arc_cannot_have_holds_the_road_and_says_why(sim, arc_relay, rule, requests, text):
    for name, content in ("tokens/huge.key", "x" * 1_000_000), ("tokens/other.key", "of another"), ("secret.key", "not Arc's"):
        (sim.dir / "azcmagent" / name).write_text(content)
        (sim.dir / "azcmagent" / name).chmod(0o640)
    sim.faults(rule)
    arc_relay.start()
    arc_relay.send(make_mail())
    held = arc_relay.wait_event("upstream-held")[0]
    assert text in held["text"] and "group himds" in held["remedy"], held
    assert sim.log().count("< GET /metadata/identity/oauth2/token?") == requests
    sim.clear()
    arc_relay.cli("queue", "retry", "all", check=True)
    sim.wait_messages(1)


@pytest.mark.parametrize("rule, reason, event_class", [
    ("identity html", "identity-answer-unusable", "C"),
    ("identity huge-body", "identity-silent", "T"),
    ("identity refuse", "identity-silent", "T"),
])
@pytest.mark.parametrize("front, grant", [("imds", "managed_identity"), ("arc", "azure_arc")])
def test_what_is_no_identity_service_is_not_taken_for_the_login_host(sim, make_relay, rule, reason, event_class, front, grant):
    sim.faults(rule)
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"] = [relay.upstream(oauth=by_machine(sim.ports[front], grant))]
    relay.start()
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert (held["reason"], held["class"]) == (reason, event_class) and "azure_arc" in held["remedy"]
    assert "login" not in held["cause"] + held["remedy"]


def free_pair_of_ports():
    """A port that is free, and so is the one above it."""
    lower, upper = free_port(), free_port()
    while upper != lower + 1:
        lower, upper = upper, free_port()
    return lower


def provider_file(name):
    """Where OpenSSL looks for a provider."""
    said = subprocess.run(["openssl", "version", "-m"], capture_output=True, text=True, check=True).stdout
    return pathlib.Path(re.search('MODULESDIR: "(.*)"', said)[1]) / f"{name}.so"


@pytest.fixture(scope="module")
def tpm(tmp_path_factory):
    """A TPM in software with an RSA key at 0x81000001; its certificate's path. Both find it by the environment."""
    needed = {"swtpm": shutil.which("swtpm"), "tpm2-tools": shutil.which("tpm2_create"), "tpm2-openssl": provider_file("tpm2").exists()}
    missing = [package for package, there in needed.items() if not there]
    if missing:
        pytest.skip(f"{' and '.join(missing)} missing; run: sh contrib/setup.sh")
    folder = tmp_path_factory.mktemp("tpm")
    port = free_pair_of_ports()
    (folder / "state").mkdir()
    process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}/state", "--server",
                                f"type=tcp,port={port},bindaddr=127.0.0.1", "--ctrl",
                                f"type=tcp,port={port + 1},bindaddr=127.0.0.1", "--flags", "not-need-init,startup-clear"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    place = f"swtpm:host=127.0.0.1,port={port}"
    os.environ.update(TPM2TOOLS_TCTI=place, TPM2OPENSSL_TCTI=place)

    def run(*command):
        return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0
    wait_until(lambda: run("tpm2_createprimary", "-C", "o", "-c", "primary.ctx"), 20, "the TPM")
    for command in ("tpm2_create -C primary.ctx -G rsa2048 -u key.pub -r key.priv -a "
                    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|decrypt|noda",
                    "tpm2_flushcontext -t", "tpm2_load -C primary.ctx -u key.pub -r key.priv -c key.ctx",
                    "tpm2_evictcontrol -C o -c key.ctx 0x81000001", "tpm2_flushcontext -t"):
        assert run(*command.split()), command
    openssl("req", "-provider", "tpm2", "-provider", "default", "-propquery", "?provider=tpm2", "-x509", "-key",
            "handle:0x81000001", "-subj", "/CN=tpm", "-days", 300, "-out", folder / "tpm.crt")
    yield folder / "tpm.crt"
    del os.environ["TPM2TOOLS_TCTI"], os.environ["TPM2OPENSSL_TCTI"]
    process.kill()
    process.wait(10)


@pytest.mark.parametrize("alg", ["PS256", "RS256"])
def test_a_key_in_a_tpm_gets_a_token_from_within_the_sandbox(sim, make_relay, tpm, alg):
    upload(sim, tpm)
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"] = [relay.upstream(oauth=by_certificate(tpm, "handle:0x81000001", assertion_alg=alg))]
    relay.write_config()
    checked = relay.cli("check")
    assert checked.returncode == 0, checked.stderr
    relay.start()
    relay.send(make_mail())
    sim.wait_messages(1)
    assert is_sanitized() or relay.events("sandbox", "sender")


def test_hardware_that_does_not_answer_is_not_waited_for(sim, make_relay, tpm):
    with socket.socket() as silent, socket.socket() as control:
        port = free_pair_of_ports()
        for s, number in (silent, port), (control, port + 1):
            s.bind(("127.0.0.1", number))
            s.listen(8)
        relay = make_relay(sim, start=False)
        relay.settings["upstreams"] = [relay.upstream(oauth=by_certificate(tpm, "handle:0x81000001"))]
        relay.write_config()
        checked = relay.cli("check", variables={"TPM2OPENSSL_TCTI": f"swtpm:host=127.0.0.1,port={port}"})
    assert checked.returncode == 1 and "handle:0x81000001 gave no answer within 5 s" in checked.stderr, checked.stderr


def test_a_handle_that_the_tpm_does_not_have_is_found_by_check(sim, make_relay, tpm):
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"] = [relay.upstream(oauth=by_certificate(tpm, "handle:0x81000002"))]
    relay.write_config()
    checked = relay.cli("check")
    assert checked.returncode == 1 and "handle:0x81000002: no private key is found there" in checked.stderr


def test_the_end_of_what_devices_are_shown_is_said_too(sim, make_relay, tmp_path):
    relay = make_relay(sim, clock=True, tls=make_tls(tmp_path, days=20))
    assert relay.cli("status").returncode == 0 and "expires" not in relay.cli("status").stdout
    relay.clock.forward(14 * DAY)
    event = relay.wait_event("credential-expires")[0]
    assert "tls.certificate" in event["text"] and event["upstream"] == ""
    status = relay.cli("status")
    assert status.returncode == 2 and "\nALARM      tls.certificate: this certificate ends in" in status.stdout
    assert "\nexpires    tls.certificate: " in status.stdout
    assert relay.status()["expiries"][0]["upstream"] is None
