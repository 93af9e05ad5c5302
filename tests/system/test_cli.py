"""The subcommands, with the daemon up and down."""

import json
import re
import subprocess
import time

import pytest

import harness
from harness import make_mail


def run(*arguments, **options):
    return subprocess.run([harness.binary("mfdrelay"), *arguments], capture_output=True, text=True, env=harness.environment(),
                          timeout=20, **options)


def test_version_and_help():
    assert re.fullmatch(r"mfdrelay \d+\.\d+\.\d+\n", run("--version").stdout)
    assert run("--help").returncode == 0
    for command in ("allow", "unknown", "serve", "check", "status", "queue", "test", "explain", "passwd"):
        result = run(command, "--help")
        assert result.returncode == 0 and result.stdout.startswith("usage: mfdrelay " + command), command
        assert command in run("--help").stdout
    result = run("frobnicate")
    assert result.returncode == 64 and "usage" in result.stderr


@pytest.mark.parametrize("command, words", [
    (["statsu"], 'did you mean "status"?'),
    (["allow", "10.1.2.19"], "--name NAME"),
    (["login"], "UPSTREAM"),
    (["status", "--to", "a@contoso.com"], "status does not take the option --to"),
    (["explain", "-c", "relay.conf"], "explain does not take the option -c"),
    (["queue", "retry", "all", "--json"], "show ID [--json]; retry ID; retry all"),
    (["test", "--to", "it"], '--to "it" is no mail address'),
    (["test", "--to", "it@contoso.com", "--timeout", "soon"], '--timeout "soon" is no duration'),
])
def test_a_command_line_that_is_wrong_is_told_what_is_wrong(command, words):
    result = run(*command)
    assert result.returncode == 64 and words in result.stderr.splitlines()[0]


def test_explain_says_cause_remedy_and_class_without_a_config():
    result = run("explain", "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.")
    assert result.returncode == 0 and result.stderr == ""
    assert "smtp-auth-off-mailbox" in result.stdout and "Set-CASMailbox" in result.stdout
    assert "Exchange administrator" in result.stdout and "C, configuration" in result.stdout
    found, = json.loads(run("explain", "--json", "AADSTS7000222: The provided client secret keys are expired.").stdout)
    assert (found["name"], found["class"], found["listed"]) == ("client-secret-expired", "C", True)
    assert found["remedy"] and "Entra" in found["who_acts"]
    silent = run("explain", "nothing", "arrives")
    assert silent.returncode == 0 and "Message trace" in silent.stdout and "Quarantine" in silent.stdout
    assert json.loads(run("explain", "--json", "nothing arrives").stdout)[0]["class"] is None


def test_explain_says_what_it_is_where_all_mail_meets_it():
    said = run("explain", "550 5.7.60 SMTP; Client does not have permissions to send as this sender").stdout
    assert re.search(r"Class: +P, ", said) and "send-as-denied-to-all" in said
    assert "Becomes:" not in run("explain", "550 5.1.10 RESOLVER.ADR.RecipientNotFound").stdout


def test_explain_reads_a_whole_report_and_says_what_it_does_not_know():
    report = "Delivery has failed.\n\nRemote server returned '550 5.1.10 RESOLVER.ADR.RecipientNotFound; not found'\n\nFrom: a@b.c\n"
    assert [f["name"] for f in json.loads(run("explain", "--json", input=report).stdout)] == ["recipient-not-found"]
    unlisted = run("explain", "550 5.9.9 The moon is full")
    assert unlisted.returncode == 1 and "does not know" in unlisted.stdout and "unlisted-permanent" in unlisted.stdout
    nothing = run("explain", "--json", "The printer is on fire.")
    assert (nothing.returncode, json.loads(nothing.stdout)) == (1, []) and "--list" in nothing.stderr
    assert run("explain", input="").returncode == 1
    assert run("explain", input="5" * 200000).returncode == 74


def test_explain_lists_the_whole_catalogue():
    rows = json.loads(run("explain", "--list", "--json").stdout)
    assert len({row["name"] for row in rows}) == len(rows) > 180
    listed = run("explain", "--list").stdout
    assert f"{len(rows)} causes" in listed and all(row["name"] in listed for row in rows)
    assert max(len(line) for line in listed.splitlines()) <= 110


def test_the_sample_config_lacks_nothing_but_its_secret(tmp_path):
    secret, config = tmp_path / "client-secret", tmp_path / "mfdrelay.conf"
    sample = (harness.ROOT / "conf/mfdrelay.conf").read_text()
    config.write_text(sample.replace("/etc/mfdrelay/client-secret", str(secret)))
    result = run("check", "-c", str(config))
    missing, = [line for line in result.stderr.splitlines() if ": error: " in line]
    assert result.returncode == 1 and "put the secret's value into this file" in missing
    secret.write_text("a secret\n")
    secret.chmod(0o600)
    result = run("check", "-c", str(config))
    assert result.returncode == 0, result.stderr
    assert "smtp.office365.com:587" in result.stdout


def test_check_says_what_the_config_is(sim, make_relay):
    relay = make_relay(sim, start=False)
    result = relay.cli("check")
    assert result.returncode == 0
    assert "submission" in result.stdout and "lan" in result.stdout
    missing = run("check", "-c", "/nonexistent.conf")
    assert missing.returncode == 1 and "/nonexistent.conf" in missing.stderr


def test_queue_list_and_show_with_the_daemon_up_and_down(make_sim, make_relay):
    sim = make_sim()
    relay = make_relay(sim)
    sim.stop()
    queue_id = relay.send(make_mail(subject="look at me"), recipients=["boss@contoso.com", "it@contoso.com"])
    for daemon in ("up", "down"):
        if daemon == "down":
            relay.stop()
        listing = relay.cli("queue", "list", check=True).stdout
        assert queue_id in listing and "lan" in listing and "1 message" in listing
        entry, = json.loads(relay.cli("queue", "list", "--json", check=True).stdout)
        assert entry["id"] == queue_id and entry["folder"] == "queue" and entry["device"] == "lan"
        assert [r["address"] for r in entry["recipients"]] == ["boss@contoso.com", "it@contoso.com"]
        shown = relay.cli("queue", "show", queue_id, check=True).stdout
        assert "Subject: look at me" in shown and "it@contoso.com" in shown and "pending" in shown
        assert json.loads(relay.cli("queue", "show", queue_id, "--json", check=True).stdout) == entry
    gone = relay.cli("queue", "show", "1j0ur49jjr08tb8f9")
    assert gone.returncode == 1 and "neither" in gone.stderr
    for odd in ("../../etc/passwd", "x" * 500, ""):
        assert relay.cli("queue", "show", odd).returncode == 64


def test_retry_needs_the_daemon_and_says_so(sim, make_relay):
    relay = make_relay(sim)
    result = relay.cli("queue", "retry", "1j0ur49jjr08tb8f9")
    assert result.returncode == 1 and result.stderr
    assert relay.cli("queue", "retry", "all").returncode == 0
    relay.stop()
    result = relay.cli("queue", "retry", "all")
    assert result.returncode == 1 and "daemon" in result.stderr


def test_retry_waits_for_a_sender_that_is_started_again(sim, relay):
    for restarts in range(1, 3):
        relay.kill("sender")
        begun = time.monotonic()
        result = relay.cli("queue", "retry", "all")
        assert result.returncode == 0 or time.monotonic() - begun > 1.5, result.stderr  # it waits, but not for ever
        relay.wait_event("worker-died", restarts)


def test_retry_does_not_wait(sim, make_relay):
    relay = make_relay(sim, retry={"first": "1h", "max": "1h"})
    sim.faults("rcpt reply 451 4.3.2 Temporary server error times=1")
    queue_id = relay.send(make_mail())
    relay.wait_event("deferred")
    relay.cli("queue", "retry", queue_id, check=True)
    sim.wait_messages(1)


def test_status_up_and_down(sim, relay):
    relay.send(make_mail())
    sim.wait_messages(1)
    relay.wait_empty()
    result = relay.cli("status")
    assert result.returncode == 0 and "submission" in result.stdout
    status = relay.status()
    assert status["counters"]["messages_accepted"] == status["counters"]["messages_delivered"] == 1
    assert status["counters"]["upstream_connections"] == status["counters"]["tokens_fetched"] == 1
    assert status["counters"]["deferrals"] == 0
    assert status["workers"]["listener"]["pid"] == relay.pid("listener")
    assert status["queue"]["messages"] == 0
    relay.stop()
    result = relay.cli("status")
    assert result.returncode == 1 and "does not run" in result.stdout
    assert relay.status() == {"ok": False, "running": False, "queue": {"messages": 0, "failed": 0}}


def test_status_counts_nothing_where_there_is_no_spool(relay):
    """A monitor must not read an empty queue where nobody has looked."""
    relay.stop()
    relay.spool.rename(relay.spool.with_name("moved"))
    result = relay.cli("status")
    assert result.returncode == 1 and "cannot be looked at" in result.stdout and "0 messages" not in result.stdout
    assert relay.status() == {"ok": False, "running": False, "queue": None}


def test_status_shows_the_queue_by_reason(sim, make_relay):
    relay = make_relay(sim, retry={"first": "10m", "max": "1h"})
    sim.faults("rcpt=busy@* reply 451 4.3.2 Temporary server error. Please try again later ATTR5",
               "rcpt=short@* reply 450 5.2.121 The recipient has exceeded their limit for hourly messages")
    for recipient in ("busy@contoso.com", "busy@contoso.com", "short@contoso.com"):
        relay.send(make_mail(), recipients=[recipient])
    relay.wait_event("deferred", 3)
    reasons = relay.status()["queue"]["reasons"]
    assert sorted(r["messages"] for r in reasons) == [1, 2] and len({r["reason"] for r in reasons}) == 2
    text = relay.cli("status").stdout
    for reason in reasons:
        assert f"{reason['messages']} because: {reason['cause']}" in text
    sim.clear()
    relay.cli("queue", "retry", "all", check=True)
    relay.wait_empty()
    assert relay.status()["queue"]["reasons"] == []


def test_passwd_makes_a_hash_that_the_listener_takes_and_a_password_a_panel_can_type():
    result = run("passwd", input="tray-2\n")
    assert result.returncode == 0 and "$y$" in result.stdout and "tray-2" not in result.stdout
    result = run("passwd", "--generate")
    assert result.returncode == 0
    assert re.search(r"\b[A-Za-z0-9]{14}\b", result.stdout) and "$y$" in result.stdout


def test_secrets_are_in_no_log_and_no_command_line(sim, relay):
    relay.send(make_mail())
    sim.wait_messages(1)
    log = relay.log()
    assert harness.SECRET not in log
    assert "eyJ" not in log
    for role in ("supervisor", "listener", "sender"):
        pid = relay.pid(role)
        assert harness.SECRET not in harness.read_text(f"/proc/{pid}/cmdline")
        assert harness.SECRET not in harness.read_text(f"/proc/{pid}/environ")
