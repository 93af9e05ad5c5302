"""How the relay proves itself to the login host: each kind of credential against the simulator, which verifies it for real."""

import os
import shutil
import socket
import subprocess

import pytest

from harness import free_port, make_mail, wait_until


def openssl(*arguments, **options):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **options)


def make_pair(folder, name="app", days=365, *, bits=2048):
    """A key and its certificate: (certificate's path, key's path)."""
    crt, key = folder / f"{name}.crt", folder / f"{name}.key"
    openssl("req", "-x509", "-newkey", f"rsa:{bits}", "-nodes", "-days", days, "-subj", "/CN=mfdrelay", "-keyout", key, "-out", crt)
    key.chmod(0o600)
    return crt, key


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
    held = relay.wait_event("road-held")[0]
    assert "AADSTS700027" in held["text"]
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
    held = relay.wait_event("road-held")[0]
    assert "AADSTS700024" in held["text"]


@pytest.fixture(scope="module")
def tpm(tmp_path_factory):
    """A TPM in software with an RSA key at 0x81000001; its certificate's path. Both find it by the environment."""
    if not shutil.which("swtpm") or not shutil.which("tpm2_create"):
        pytest.skip("swtpm and tpm2-tools are missing; run: sh contrib/setup.sh")
    folder = tmp_path_factory.mktemp("tpm")
    port = free_port()
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
    assert relay.events("sandbox", "sender")


def test_hardware_that_does_not_answer_is_not_waited_for(sim, make_relay, tpm):
    with socket.socket() as silent, socket.socket() as control:
        port = free_port()
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
