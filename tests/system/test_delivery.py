"""The main job: what real clients send comes out at the simulator, byte for byte, over STARTTLS with a fetched token."""

import os
import pathlib
import shutil
import subprocess

import pytest

import harness
import needs
from harness import behind_trace, make_mail, make_pdf, make_scan

TOOLS = harness.ROOT / ".tools" / "postfix"


def smtp_source(relay, *arguments, timeout=120):
    """Postfix's load generator, unpacked by contrib/setup.sh."""
    environment = dict(os.environ, LD_LIBRARY_PATH=str(TOOLS / "usr/lib/postfix"), MAIL_CONFIG=str(TOOLS / "etc/postfix"))
    command = [str(TOOLS / "usr/sbin/smtp-source"), *map(str, arguments), f"127.0.0.1:{relay.port}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)


def test_a_scan_arrives_over_tls_with_a_token(sim, relay):
    scan = make_scan()
    queue_id = relay.send(scan)
    message = sim.wait_messages(1)[0]
    assert behind_trace(message.content, scan)
    assert message["mail_from"] == "printer@contoso.com"
    assert message["rcpt"] == ["boss@contoso.com"]
    assert message["tls"].startswith("TLSv1.")
    assert message["mechanism"] == "XOAUTH2"
    assert message["user"] == harness.MAILBOX
    assert relay.wait_event("delivered")[0]["id"] == queue_id
    relay.wait_empty()
    assert queue_id.encode() in message.content.split(b"\r\n\r\n")[0]


@pytest.mark.parametrize("verb", ["BDAT", "DATA"])
def test_dot_lines_8_bit_and_odd_ends_come_out_as_they_went_in(sim, relay, verb):
    if verb == "DATA":
        sim.faults("ehlo without CHUNKING")
    bodies = [b".\r\n..\r\n.x\r\n...\r\n", b"gr\xfc\xdfe \xff\xfe\r\n", b"\r\n\r\n", b"x" * 900 + b"\r\n", b".\r\n"]
    contents = [make_mail(body=body) for body in bodies]
    for content in contents:
        relay.send(content)
    messages = sim.wait_messages(len(contents))
    received = sorted(m.content[m.content.index(b"From:"):] for m in messages)
    assert received == sorted(contents)
    assert {m["verb"] for m in messages} == {verb}
    assert sim.stats()["bare_lf"] == 0


@needs.root("another name for the machine")
def test_a_name_of_the_machine_that_microsoft_refuses_in_ehlo_is_mended_there(sim, make_relay):
    relay = make_relay(sim, start=False, hostname=None)
    relay.under = ["unshare", "--uts", "sh", "-c", 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"', "PRINT_SRV"]
    tried = subprocess.run([*relay.under, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"it takes CAP_SYS_ADMIN, which this container withholds: {tried.stderr.strip()}")
    checked = relay.cli("check", check=True)
    assert '"PRINT_SRV"' in checked.stderr and 'add the name that it shall be: hostname = "' in checked.stderr
    assert "hostname   PRINT-SRV\n" in checked.stdout
    relay.start()
    relay.send(make_mail())
    message, = sim.wait_messages(1)
    assert message["helo"] == "PRINT-SRV"


def test_30_megabytes(sim, relay):
    """They cost no memory that a small mail does not cost."""
    scan = make_scan(make_pdf(pages=12, size=21_500_000))
    assert len(scan) > 29_000_000
    relay.send(make_mail())
    sim.wait_messages(1)
    before = {role: harness.memory(relay, role, "VmHWM") for role in ("listener", "sender")}
    relay.send(scan)
    assert behind_trace(sim.wait_messages(2, 60)[1].content, scan)
    grown = {role: harness.memory(relay, role, "VmHWM") - before[role] for role in before}
    assert harness.is_sanitized() or max(grown.values()) < 8 * 1024 * 1024, grown


def test_swaks(sim, relay, tmp_path):
    if not shutil.which("swaks"):
        pytest.fail("swaks is missing: run sh contrib/setup.sh")
    scan = tmp_path / "scan.eml"
    scan.write_bytes(make_scan(make_pdf(pages=2, size=300_000)))
    result = subprocess.run(["swaks", "--server", "127.0.0.1", "--port", str(relay.port), "--helo", "RICOH-IMC2000", "--from",
                             "printer@contoso.com", "--to", "boss@contoso.com,it@contoso.com", "--data", f"@{scan}"],
                            capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr
    message = sim.wait_messages(1)[0]
    assert message["rcpt"] == ["boss@contoso.com", "it@contoso.com"]


def test_curl(sim, relay, tmp_path):
    mail = tmp_path / "mail.eml"
    mail.write_bytes(make_mail(subject="by curl"))
    result = subprocess.run(["curl", "-sS", f"smtp://127.0.0.1:{relay.port}/printer", "--mail-from", "printer@contoso.com",
                             "--mail-rcpt", "boss@contoso.com", "-T", str(mail)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert b"Subject: by curl" in sim.wait_messages(1)[0].content


def test_msmtp(sim, relay):
    result = subprocess.run(["msmtp", "--host=127.0.0.1", f"--port={relay.port}", "--from=printer@contoso.com", "--auth=off",
                             "--tls=off", "--file=/dev/null", "boss@contoso.com"], input=make_mail(subject="by msmtp"),
                            capture_output=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert b"Subject: by msmtp" in sim.wait_messages(1)[0].content


def test_smtplib_with_ehlo_and_three_messages_in_a_session(sim, relay):
    with relay.smtp() as client:
        for i in range(3):
            client.sendmail("printer@contoso.com", ["boss@contoso.com"], make_mail(subject=f"number {i}"))
    messages = sim.wait_messages(3)
    assert len({m["connection"] for m in messages}) <= 2


def test_1000_messages_over_20_connections(sim, relay):
    result = smtp_source(relay, "-s", 20, "-m", 1000, "-l", 20480, "-f", "load@contoso.com", "-t", "boss@contoso.com")
    assert result.returncode == 0, result.stderr
    sim.wait_messages(1000, 90)
    relay.wait_empty()
    stats = sim.stats()
    assert stats["messages"] == 1000
    assert stats["connections"]["smtp"]["peak"] <= 2
    assert stats["token_requests"] == 1
    assert stats["bare_lf"] == 0


def test_a_user_logs_in_with_plain_and_login(sim, make_relay):
    relay = make_relay(sim, devices=[{"name": "erp", "user": "erp", "password": harness.password_hash("correct horse")}])
    for mechanism in ("PLAIN", "LOGIN"):
        with relay.smtp() as client:
            client.ehlo()
            client.user, client.password = "erp", "correct horse"
            client.auth(mechanism, getattr(client, "auth_" + mechanism.lower()))
            client.sendmail("erp@contoso.com", ["boss@contoso.com"], make_mail(subject=mechanism))
    assert len(sim.wait_messages(2)) == 2
    with relay.smtp() as client:
        client.ehlo()
        client.user, client.password = "erp", "wrong"
        with pytest.raises(harness.smtplib.SMTPAuthenticationError):
            client.auth("PLAIN", client.auth_plain)
        client.mail("erp@contoso.com")
        code, text = client.rcpt("boss@contoso.com")
        assert code == 550 and b"has not logged in" in text


def test_routes_split_a_message_over_two_upstreams(make_sim, make_relay):
    inside, outside = make_sim(), make_sim()
    relay = make_relay(outside, start=False)
    relay.settings["upstreams"].append({"name": "direct", "kind": "direct-send", "host": "localhost", "port": inside.mx_port,
                                        "ca": inside.ca})
    relay.settings["routes"] = [{"recipients": ["*@contoso.com"], "via": ["direct"]}, {"recipients": ["*"], "via": ["submission"]}]
    relay.start()
    relay.send(make_mail(), recipients=["boss@contoso.com", "client@example.org", "it@contoso.com"])
    assert outside.wait_messages(1)[0]["rcpt"] == ["client@example.org"]
    message = inside.wait_messages(1)[0]
    assert message["rcpt"] == ["boss@contoso.com", "it@contoso.com"]
    assert message["tls"].startswith("TLSv1.")
    relay.wait_empty()


def test_a_fixed_credential_by_auth_login(make_sim, make_relay):
    sim = make_sim(basic_user="hve@contoso.com", basic_password="old-way")
    relay = make_relay(sim, start=False)
    relay.write_secret("old-way", "password")
    relay.settings["upstreams"] = [{"name": "hve", "kind": "hve", "host": "localhost", "port": sim.smtp_port, "ca": sim.ca,
                                    "user": "hve@contoso.com", "password": f"file:{relay.dir}/password"}]
    relay.settings["routes"] = [{"recipients": ["*"], "via": ["hve"]}]
    relay.start()
    relay.send(make_mail())
    assert sim.wait_messages(1)[0]["mechanism"] == "LOGIN"


def test_what_was_queued_by_an_earlier_version_goes_out(sim, make_relay):
    """A spool of version 1, byte for byte as it was written, is read by every later version."""
    relay = make_relay(sim, start=False)
    kept = pathlib.Path(__file__).parent / "spool-v1"
    for folder in ("queue", "state", "failed"):
        (relay.spool / folder).mkdir(parents=True, mode=0o700)
        for file in sorted((kept / folder).iterdir()):
            shutil.copy(file, relay.spool / folder)
    relay.spool.chmod(0o700)
    queued, (given_up, damaged) = relay.queue_ids(), sorted(relay.queue_ids("failed"))
    assert len(queued) == 2
    relay.start()
    messages = sim.wait_messages(2)
    assert sorted(tuple(m["rcpt"]) for m in messages) == [("boss@contoso.com",), ("it@contoso.com",)]
    relay.wait_empty()
    assert "RecipientNotFound" in relay.cli("queue", "show", given_up, check=True).stdout
    assert "310 bytes" in relay.cli("queue", "show", damaged).stderr
    relay.cli("queue", "retry", given_up, check=True)
    assert sim.wait_messages(3)[2]["rcpt"] == ["nobody@contoso.com"]
    harness.wait_until(lambda: not relay.queue_ids(), 20, "an empty queue")
    assert sorted(p.name for p in (relay.spool / "failed").iterdir()) == [damaged, damaged + ".reason", damaged + ".state"]
