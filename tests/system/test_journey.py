"""mfdrelay test: one real message through the running daemon's queue, followed to its end."""

import email
import json
import os
import re
import shutil
import subprocess
import tempfile

import pytest

import harness
import needs


def send(relay, *arguments, status, to="boss@contoso.com"):
    result = relay.cli("test", "--to", to, *arguments, timeout=60)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + result.stderr


def replace_sender(relay):
    killed = relay.kill("sender")
    relay.wait_replaced("sender", killed)
    harness.wait_until(lambda: "upstreams" in relay.status(), 20, "its answer")


def queue_id(text):
    return re.search(r"^queued +(\S+), from", text, re.M)[1]


def test_a_message_is_followed_to_the_upstreams_250(sim, relay):
    text = send(relay, status=0)
    assert re.search(r"^delivered +by submission after \d+\.\d s: 250 2\.0\.0 ", text, re.M)
    message, = sim.wait_messages(1)
    assert message["mail_from"] == harness.MAILBOX and message["rcpt"] == ["boss@contoso.com"]
    mail = email.message_from_bytes(message.content)
    assert queue_id(text) in mail["Subject"] and "relay.test" in mail["Subject"] and mail["Date"] and mail["Message-ID"]
    assert mail["From"].endswith(f"<{harness.MAILBOX}>") and mail["To"] == "<boss@contoso.com>"
    assert b"\n" not in message.content.replace(b"\r\n", b"")
    assert relay.events("delivered")[0]["id"] == queue_id(text)
    send(relay, "--from", "printer@contoso.com", "--device", "lan", status=0)
    assert sim.wait_messages(2)[1]["mail_from"] == "printer@contoso.com"
    relay.wait_empty()


def test_a_refusal_a_deferral_and_a_held_upstream_are_told_in_the_catalogues_words(sim, make_relay):
    relay = make_relay(sim, retry={"first": "1s", "max": "10m"})
    sim.faults("rcpt=nobody@contoso.com reply 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found",
               "rcpt=busy@contoso.com reply 451 4.3.2 Temporary server error times=1")
    text = send(relay, to="nobody@contoso.com", status=1)
    assert "failed" in text and "550 5.1.10" in text and "cause:" in text and "remedy:" in text
    assert f"mfdrelay queue retry {queue_id(text)}" in text
    text = send(relay, to="busy@contoso.com", status=0)
    assert re.search(r"deferred +by submission.*451 4\.3\.2.*next try in [1-9] s.*delivered +by submission", text, re.S)
    # What cannot come to an end in time is not waited for; once the cause is gone, the next test tries the held road at once.
    sim.faults("auth reply 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.")
    replace_sender(relay)
    text = send(relay, "--timeout", "20s", status=2)
    assert "the upstream submission is held" in text and "Set-CASMailbox" in text and "It stays in the queue" in text
    assert queue_id(text) in relay.queue_ids()
    sim.clear()
    send(relay, status=0)
    relay.wait_empty()


def test_json_tells_the_same_for_programs(sim, make_relay):
    relay = make_relay(sim, retry={"first": "1s", "max": "10m"})

    def told(*arguments, status, to="boss@contoso.com"):
        result = relay.cli("test", "--json", "--to", to, *arguments, timeout=60)
        assert result.returncode == status, result.stdout + result.stderr
        return json.loads(result.stdout)
    sim.faults("rcpt=nobody@contoso.com reply 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found",
               "rcpt=busy@contoso.com reply 451 4.3.2 Temporary server error times=1")
    good = told(status=0)
    assert good["ok"] and good["outcome"] == "delivered" and 0 < good["after_s"] < 60 and "held" not in good
    assert (good["from"], good["to"]) == (harness.MAILBOX, "boss@contoso.com")
    assert good["id"] == relay.events("delivered")[0]["id"] and good["results"][0]["reply"].startswith("250 2.0.0 ")
    bad = told(to="nobody@contoso.com", status=1)
    assert not bad["ok"] and bad["outcome"] == "failed" and bad["results"][0]["class"] == "P" and bad["results"][0]["remedy"]
    assert [r["event"] for r in told(to="busy@contoso.com", status=0)["results"]] == ["deferred", "delivered"]
    sim.faults("auth reply 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.")
    replace_sender(relay)
    waits = told("--timeout", "20s", status=2)
    assert not waits["ok"] and waits["outcome"] == "waits" and waits["id"] in relay.queue_ids()
    assert waits["held"]["name"] == "submission" and waits["held"]["class"] == "C" and waits["held"]["next_try_s"] > 0
    wrong = told("--device", "nope", status=64)
    assert not wrong["ok"] and wrong["outcome"] == "not-queued" and 'the name "nope"' in wrong["error"] and "id" not in wrong
    relay.stop()
    down = told(status=1)
    assert down["outcome"] == "not-queued" and "systemctl start mfdrelay" in down["error"]
    assert sorted(down) == ["error", "ok", "outcome"]


def test_without_a_daemon_nothing_is_queued(sim, relay):
    relay.stop()
    text = send(relay, status=1)
    assert "Nothing was queued" in text and "systemctl start mfdrelay" in text and relay.queue_ids() == []


def test_a_wrong_question_is_answered_before_anything_is_queued(sim, make_relay):
    relay = make_relay(sim, routes=[{"recipients": ["*@contoso.com"], "via": ["submission"]}])
    assert "no route" in send(relay, to="a@fabrikam.com", status=1)
    assert 'the name "nope"' in send(relay, "--device", "nope", status=64)
    assert "no mail address" in send(relay, to="boss", status=64)
    assert "no duration" in send(relay, "--timeout", "soon", status=64)
    assert relay.cli("test").returncode == 64
    assert relay.queue_ids() == [] and relay.status()["queue"]["messages"] == 0


@pytest.fixture
def others_relay():
    """A relay that runs as nobody, in a folder that nobody else's tests shut, and its simulator."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        sim = harness.Sim(folder + "/sim").start()
        relay = harness.Relay(folder + "/relay", sim, user="nobody")
        os.chown(relay.dir / "client-secret", 65534, -1)
        relay.dir.chmod(0o755)
        try:
            yield relay.start()
        finally:
            harness.stop_all(relay, sim)


@needs.root("changing to another user")
def test_root_becomes_the_relays_user(others_relay):
    assert others_relay.cli("check", "--online").returncode == 0
    others_relay.sim.faults("connect refuse")
    text = send(others_relay, "--timeout", "1s", status=2)
    assert (others_relay.spool / "queue" / queue_id(text)).stat().st_uid == 65534
    others_relay.sim.clear()
    send(others_relay, status=0)
    others_relay.wait_empty()


@needs.root("changing to another user")
def test_root_becomes_the_owner_of_the_spool_where_the_config_names_no_user(others_relay):
    """As where the unit alone has User=."""
    relay = others_relay
    relay.settings["user"] = None
    relay.write_config()
    relay.sim.faults("connect refuse")
    text = send(relay, "--timeout", "1s", status=2)
    assert (relay.spool / "queue" / queue_id(text)).stat().st_uid == 65534
    relay.sim.clear()
    send(relay, status=0)
    relay.wait_empty()


@needs.root("changing to another user")
@pytest.mark.parametrize("command", [["status"], ["queue", "list"], ["test", "--to", "it@contoso.com"], ["unknown"], ["login", "submission"]])
def test_who_may_not_read_the_config_is_told_so_and_has_77(others_relay, command):
    relay = others_relay
    mfdrelay = shutil.copy(harness.binary("mfdrelay"), relay.dir / "mfdrelay")
    relay.config.chmod(0o600)
    done = subprocess.run([mfdrelay, *command, "-c", str(relay.config)], capture_output=True, text=True, timeout=20, user=1,
                          group=1, extra_groups=[])
    assert done.returncode == 77 and f"{relay.config}: cannot be read: Permission denied; run this as root" in done.stderr, done


def test_a_config_that_has_errors_by_now_is_good_enough_for_a_test(sim, relay):
    """The daemon goes on with what it had."""
    good = relay.config.read_text()
    relay.config.write_text(good.replace("via = ", "vai = "))
    assert "has errors now" in send(relay, status=0)
    relay.config.write_text(good.replace("devices = (", 'devices = ( { address = "10.0.0.9"; },'))
    assert 'the name "nope"' in send(relay, "--device", "nope", status=64)
    assert "has errors now" in send(relay, "--device", "lan", status=0)


@needs.root("changing to another user")
@pytest.mark.parametrize("command", [["status"], ["queue", "list"], ["queue", "retry", "all"], ["unknown"], ["test", "--to", "it@contoso.com"]])
def test_who_may_not_is_told_so_and_has_77(others_relay, command):
    # A copy, as the tree may be where others cannot enter; the secret is theirs, so that the spool alone is shut.
    relay = others_relay
    mfdrelay = shutil.copy(harness.binary("mfdrelay"), relay.dir / "mfdrelay")
    relay.config.chmod(0o644)
    os.chown(relay.dir / "client-secret", 1, -1)
    done = subprocess.run([mfdrelay, *command, "-c", str(relay.config)], capture_output=True, text=True, timeout=20, user=1,
                          group=1, extra_groups=[])
    os.chown(relay.dir / "client-secret", 65534, -1)
    assert done.returncode == 77 and "the daemon's user" in done.stderr, done


@needs.root("changing to another user")
def test_check_as_root_tells_of_a_config_that_the_service_cannot_read(others_relay):
    relay = others_relay
    folder = relay.config.parent / "conf.d"
    folder.mkdir()
    erp = folder / "erp.conf"
    erp.write_text('devices = ( { name = "erp"; address = "10.0.0.9"; } );\n')
    for shut, mode, bits in ((None, 0, ""), (relay.config, 0o600, "r"), (folder, 0o700, "rx"), (erp, 0o640, "r")):
        for path in (relay.config, folder, erp):
            path.chmod(0o755 if path == folder else 0o644)
        if shut:
            shut.chmod(mode)
        checked = relay.cli("check", check=True)
        told = [line for line in checked.stderr.splitlines() if "cannot read this" in line]
        assert [line.partition(": ")[0] for line in told] == ([str(shut)] if shut else []), checked.stderr
        assert not shut or "user nobody cannot read this: Permission denied" in told[0]
        assert not shut or f"chgrp nogroup {shut} && chmod g+{bits} {shut}" in told[0]
        assert f"with {checked.stderr.count('warning:')} warning" in checked.stdout


@needs.root("changing to another user")
def test_the_advice_for_open_hashes_leads_to_a_file_that_the_service_can_read(others_relay):
    relay = others_relay
    relay.config.chmod(0o644)
    folder = relay.config.parent / "conf.d"
    folder.mkdir(mode=0o755)
    erp = folder / "erp.conf"
    made = subprocess.run([harness.binary("mfdrelay"), "passwd"], input="tray-2\n", capture_output=True, text=True, check=True).stdout
    erp.write_text('devices = ( { name = "erp"; user = "erp"; password = "%s"; } );\n' % re.search(r"\$y\$[^\"\s]+", made)[0])
    erp.chmod(0o644)
    advice = relay.cli("check", check=True).stderr.partition("can read the password hashes in the config; run: ")[2]
    subprocess.run(advice, shell=True, check=True)
    checked = relay.cli("check", check=True)
    assert str(erp) not in checked.stderr and (erp.stat().st_gid, erp.stat().st_mode & 0o777) == (65534, 0o640)
