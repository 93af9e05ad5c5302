"""What an admin, a disk, a device or a peer can get wrong: a clear error, nothing lost, nothing crashed."""

import os
import quopri
import socket
import subprocess
import time

import pytest

import harness
import needs
from harness import expect, make_mail, raw, raw_begin_data as begin_data, talk


def refused_start(relay, *words, status=1):
    """The daemon must end by itself with that status and say all the words."""
    relay.start(wait=False)
    assert relay.wait_end() == status
    log = relay.log()
    for word in words:
        assert word in log, log
    return log


def still_works(sim, relay):
    before = len(sim.messages())
    relay.send(make_mail(subject="still here"))
    sim.wait_messages(before + 1, 30)
    assert not relay.events("worker-died")


def test_unknown_key_names_file_line_and_the_nearest_key(sim, make_relay):
    relay = make_relay(sim, start=False, hostnam="x")
    refused_start(relay, "mfdrelay.conf:", "hostnam", "did you mean", "hostname", status=78)


def test_all_errors_in_one_run(sim, make_relay):
    relay = make_relay(sim, start=False, retry={"first": "soon"}, limits={"sessions": -1}, devices=[{"name": "x"}])
    result = relay.cli("check")
    assert result.returncode == 1
    for word in ("retry.first", "limits.sessions", "a device is known by"):
        assert word in result.stderr, result.stderr


def test_secret_that_is_not_there(sim, make_relay):
    relay = make_relay(sim, start=False)
    os.unlink(relay.dir / "client-secret")
    refused_start(relay, "client-secret", "No such file", status=78)


def test_secret_that_others_can_read(sim, make_relay):
    relay = make_relay(sim, start=False)
    (relay.dir / "client-secret").chmod(0o644)
    refused_start(relay, "client-secret", "chmod", status=78)


def test_secret_that_goes_away_while_it_runs(sim, relay):
    os.rename(relay.dir / "client-secret", relay.dir / "aside")
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert "client-secret" in held["text"]
    os.rename(relay.dir / "aside", relay.dir / "client-secret")
    sim.wait_messages(1, 30)


def test_port_in_use(sim, make_relay):
    with socket.create_server(("127.0.0.1", 0)) as other:
        relay = make_relay(sim, start=False, listen=[{"address": "127.0.0.1", "port": other.getsockname()[1]}])
        refused_start(relay, "in use", str(other.getsockname()[1]))


def test_port_that_is_in_use_a_moment_longer(sim, make_relay):
    while True:
        begun = time.monotonic()
        with socket.create_server(("127.0.0.1", 0)) as other:
            relay = make_relay(sim, start=False, listen=[{"address": "127.0.0.1", "port": other.getsockname()[1]}])
            relay.start(wait=False)
            time.sleep(0.2)
        if time.monotonic() - begun < 0.7:  # a start waits a second for it
            break
        relay.kill_all()
    relay.wait_event("ready")


def test_spool_not_writable(sim, make_relay):
    relay = make_relay(sim, start=False, spool="/proc/spool")
    refused_start(relay, "/proc/spool")


@needs.root("mounting")
def test_spool_on_a_disk_that_is_read_only(sim, make_relay, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    tried = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", disk], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"mounting takes CAP_SYS_ADMIN, which this container withholds: {tried.stderr.strip()}")
    try:
        relay = make_relay(sim, start=False, spool=str(disk / "spool"))
        refused_start(relay, "ReadWritePaths=")
    finally:
        subprocess.run(["umount", disk], check=True)


@needs.root("trying it as another user")
def test_spool_where_its_user_cannot_go(sim, make_relay, tmp_path):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o700)
    relay = make_relay(sim, start=False, spool=str(shut / "spool"), user="nobody")
    harness.let_others_enter(tmp_path)
    check = relay.cli("check")
    assert check.returncode == 1 and f"user nobody cannot enter {shut}" in check.stderr


def test_spool_is_a_file(sim, make_relay, tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    relay = make_relay(sim, start=False, spool=str(path))
    refused_start(relay, str(path), status=78)


def test_ca_file_that_does_not_parse(sim, make_relay, tmp_path):
    path = tmp_path / "ca.pem"
    path.write_text("-----BEGIN CERTIFICATE-----\nbm90IG9uZQ==\n-----END CERTIFICATE-----\n")
    relay = make_relay(sim, start=False)
    relay.settings["upstreams"][0]["ca"] = str(path)
    refused_start(relay, str(path), status=78)


@pytest.mark.parametrize("fault", ["connect refuse", "handshake tls-max 1.1", "ehlo without STARTTLS", "ehlo without XOAUTH2"])
def test_upstream_is_no_place_to_send_by(sim, relay, fault):
    sim.faults(fault)
    relay.send(make_mail())
    harness.wait_until(lambda: relay.events("upstream-held") or relay.events("deferred"), 15, lambda: relay.log())
    assert sim.messages() == []
    sim.clear()
    relay.cli("queue", "retry", "all", check=True)
    harness.wait_until(lambda: not relay.queue_ids(), 30, lambda: relay.log())
    assert len(sim.messages()) >= 1
    assert relay.queue_ids("failed") == []
    assert not relay.events("worker-died")


def test_content_behind_the_end_of_a_message_is_told(sim, relay):
    with raw(relay) as s:
        begin_data(s)
        queue_id = talk(s, b"Subject: x\r\n\r\none\r\n.\r\n").split()[-1].decode()
        assert talk(s, b"two\r\n.\r\n").startswith(b"421 ")
    event = relay.wait_event("garbage-after-message")[0]
    assert event["id"] == queue_id and "dot" in event["cause"]


def test_message_over_the_limit_is_read_to_its_end_and_refused_with_the_limit(sim, make_relay):
    relay = make_relay(sim, limits={"message_size": "100K"})
    with relay.smtp() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "102400"
        client.mail("printer@contoso.com")
        client.rcpt("boss@contoso.com")
        expect(client.docmd("DATA"), 354)
        client.send(b"x" * 70 + b"\r\n")
        for _ in range(1700):
            client.send(b"y" * 70 + b"\r\n")
        client.send(b".\r\n")
        code, text = client.getreply()
        assert code == 552 and b"102400" in text
        code, text = client.docmd("MAIL FROM:<printer@contoso.com> SIZE=200000")
        assert code == 552 and b"102400" in text
    assert relay.queue_ids() == [] and sim.messages() == []
    still_works(sim, relay)


def test_a_line_without_end(sim, relay):
    with raw(relay) as s:
        code = b""
        try:
            for _ in range(64):
                s.sendall(b"A" * 65536)
            code = s.recv(1000)
        except OSError:
            pass
    assert code[:3] in (b"500", b"421", b"")
    still_works(sim, relay)


def test_a_content_line_of_5_megabytes_passes(sim, relay):
    content = make_mail(body=b"z" * 5_000_000 + b"\r\n")
    relay.send(content)
    # As quoted-printable, since servers take no such line.
    body = sim.wait_messages(1, 30)[0].content.split(b"\r\n\r\n", 1)[1]
    assert max(map(len, body.split(b"\r\n"))) <= 76
    assert quopri.decodestring(body) == content.split(b"\r\n\r\n", 1)[1]


def test_nul_bytes_bare_cr_and_bare_lf_never_leave(sim, relay):
    with raw(relay) as s:
        begin_data(s)
        assert talk(s, b"Subject: a\0b\r\n\r\none\ntwo\rthree\0\n.\nfour\r\n.\r\n").startswith(b"250")
    content = sim.wait_messages(1)[0].content
    assert b"\r\nSubject: ab\r\n" in content
    assert content.endswith(b"\r\n\r\none\r\ntwo three\r\n.\r\nfour\r\n")
    stats = sim.stats()
    assert stats["bare_lf"] == stats["bare_cr"] == stats["nul_bytes"] == stats["unstuffed_dots"] == 0
    accepted = relay.events("accepted")[0]
    assert accepted["nul"] == "2" and accepted["bare_cr"] == "1"


def test_nul_bytes_in_a_command(sim, relay):
    with raw(relay) as s:
        assert talk(s, b"HELO a\0b\r\n")[:3] in (b"250", b"500", b"501")
        assert talk(s, b"MAIL FROM:<a\0b@contoso.com>\r\n").startswith(b"50")
    still_works(sim, relay)


def test_unlisted_address_is_told_so_with_its_address(sim, make_relay):
    relay = make_relay(sim, devices=[{"name": "far", "address": ["10.0.0.1"]}])
    with relay.smtp() as client:
        client.helo("stranger")
        expect(client.mail("printer@contoso.com"), 250)
        code, text = client.rcpt("boss@contoso.com")
        assert code == 550 and b"127.0.0.1" in text and b"not listed in devices" in text
        assert client.docmd("DATA")[0] in (503, 554)
    assert relay.queue_ids() == []


def test_a_damaged_queue_file_goes_to_failed_and_harms_nobody(make_sim, make_relay):
    sim = make_sim()
    relay = make_relay(sim)
    sim.stop()
    good, cut, odd = (relay.send(make_mail(subject=s)) for s in ("good", "cut", "odd"))
    relay.stop()
    (relay.spool / "queue" / cut).write_bytes((relay.spool / "queue" / cut).read_bytes()[:-20])
    (relay.spool / "queue" / odd).write_bytes(b"mfdrelay-envelope 99\nid: x\n\n")
    (relay.spool / "queue" / "README").write_text("a foreign file")
    sim.start()
    relay.start()
    sim.wait_messages(1)
    harness.wait_until(lambda: relay.queue_ids("failed") == sorted([cut, odd]), 10, "both in failed")
    assert (relay.spool / "queue" / "README").exists()
    harness.wait_until(lambda: good not in relay.queue_ids(), 5, "the good one to be gone")
    listing = relay.cli("queue", "list")
    assert cut in listing.stdout and "damaged" in listing.stdout


def test_sessions_over_the_limits_are_told_which(sim, make_relay):
    relay = make_relay(sim, limits={"sessions_per_address": 3})
    harness.wait_until(lambda: relay.status()["counters"]["sessions_now"] == 0, 5,
                       "the harness's own session to be gone")
    open_sessions = [raw(relay) for _ in range(3)]
    s = socket.create_connection(("127.0.0.1", relay.port), 10)
    answer = s.recv(1000)
    assert answer.startswith(b"421") and b"sessions_per_address" in answer
    for one in [*open_sessions, s]:
        one.close()
    harness.wait_until(lambda: accepted(relay), 10, "a free place")
    still_works(sim, relay)


def test_a_silent_session_is_closed(sim, make_relay):
    relay = make_relay(sim, clock=True, limits={"idle": "1m"})
    with raw(relay) as s:
        assert talk(s, b"HELO p\r\n").startswith(b"250")
        relay.clock.forward(61)
        assert s.recv(1000).startswith(b"421")


def test_below_the_floor_of_free_space_452_and_then_again_250(sim, make_relay):
    relay = make_relay(sim, limits={"free_space": "16384G"})
    with relay.smtp() as client:
        client.helo("printer")
        code, text = client.mail("printer@contoso.com")
        assert code == 452, text
    assert relay.cli("status").returncode == 2
    relay.reload(limits={"free_space": "1M"})
    harness.wait_until(lambda: accepted(relay), 10, "the relay to accept again")
    sim.wait_messages(1)


def accepted(relay):
    try:
        return relay.send(make_mail())
    except (harness.HarnessError, OSError, harness.smtplib.SMTPException):
        return None


def stranger(relay, address="127.0.0.9"):
    return socket.create_connection(("127.0.0.1", relay.port), 10, source_address=(address, 0))


def test_strangers_cannot_shut_the_devices_out(sim, make_relay):
    relay = make_relay(sim, devices=[{"name": "printer", "address": ["127.0.0.1"]}],
                       limits={"sessions": 8, "sessions_per_address": 8})
    harness.wait_until(lambda: relay.status()["counters"]["sessions_now"] == 0, 5,
                       "the harness's own session to be gone")
    crowd = [stranger(relay) for _ in range(7)]
    answers = [s.recv(200)[:3] for s in crowd]
    assert answers == [b"220"] * 6 + [b"421"]
    relay.send(make_mail())
    sim.wait_messages(1)
    for s in crowd:
        s.close()


def test_sessions_that_linger_after_quit_are_bounded(sim, make_relay):
    relay = make_relay(sim, devices=[{"name": "printer", "address": ["127.0.0.1"]}])
    pid, crowd = relay.pid("listener"), []
    for _ in range(400):
        s = stranger(relay)
        s.sendall(b"QUIT\r\n")
        while b"221" not in s.recv(500):
            pass
        crowd.append(s)
    assert len(os.listdir(f"/proc/{pid}/fd")) < 200
    for s in crowd:
        s.close()
    still_works(sim, relay)


def test_a_wrong_password_costs_time_and_the_true_device_is_not_locked_out(sim, make_relay):
    relay = make_relay(sim, devices=[{"name": "erp", "user": "erp", "password": harness.password_hash("right")}])
    with relay.smtp() as client:
        client.ehlo()
        begun = time.monotonic()
        client.user, client.password = "erp", "guess"
        with pytest.raises(harness.smtplib.SMTPAuthenticationError):
            client.auth("LOGIN", client.auth_login)
        assert time.monotonic() - begun > 3
        client.password = "right"
        client.auth("LOGIN", client.auth_login)
        client.sendmail("erp@contoso.com", ["boss@contoso.com"], make_mail())
    sim.wait_messages(1)
