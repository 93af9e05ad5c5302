"""The processes: stop, reload, restart, kill -9 of each and all, one daemon a spool."""

import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

import harness
import needs
from harness import behind_trace, expect, has_read, kill, make_mail, make_pdf, make_scan, wait_until


def begin_data(client):
    client.helo("printer")
    expect(client.mail("printer@contoso.com"), 250)
    expect(client.rcpt("boss@contoso.com"), 250)
    expect(client.docmd("DATA"), 354)


def test_a_restart_with_a_backlog_sends_everything_once(make_sim, make_relay):
    sim = make_sim()
    relay = make_relay(sim)
    sim.stop()
    for i in range(100):
        relay.send(make_mail(subject=f"number {i}"))
    relay.stop()
    assert len(relay.queue_ids()) == 100
    sim.start()
    relay.start()
    messages = sim.wait_messages(100, 30)
    relay.wait_empty()
    assert len(messages) == 100
    assert len({re.search(rb"Subject: number (\d+)", m.content)[1] for m in messages}) == 100


def test_sigterm_inside_a_30_mb_data_is_answered_and_nothing_is_lost(sim, relay):
    """What came before the 250 is refused or cut within the deadline; what was acknowledged is kept."""
    scan = make_scan(make_pdf(pages=12, size=21_500_000))
    with relay.smtp(timeout=30) as client:
        begin_data(client)
        half = len(scan) // 2
        client.send(scan[:half])
        begun = time.monotonic()
        relay.process.send_signal(signal.SIGTERM)
        code, text = client.getreply()
        assert code == 421, (code, text)
        client.close()
    assert relay.wait_end(30) == 0
    assert time.monotonic() - begun > 8 and not relay.events("worker-killed")
    assert relay.queue_ids() == [] and not list((relay.spool / "queue").iterdir())


def test_sigterm_lets_a_data_that_ends_in_time_through(sim, relay):
    scan = make_scan(make_pdf(pages=2, size=2_000_000))
    with relay.smtp() as client:
        begin_data(client)
        client.send(scan[:1_000_000])
        relay.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        client.send(scan[1_000_000:] + b".\r\n")
        code, _ = client.getreply()
        assert code == 250
    assert relay.wait_end() == 0
    relay.start()
    assert behind_trace(sim.wait_messages(1)[0].content, scan)


def test_a_reload_changes_who_may_send_and_breaks_no_session(sim, relay):
    scan = make_scan(make_pdf(pages=2, size=2_000_000))
    with relay.smtp() as slow:
        begin_data(slow)
        slow.send(scan[:1_000_000])
        relay.reload(devices=[{"name": "other", "address": ["10.0.0.1"]}])
        relay.wait_event("reloading")

        def refused():
            with relay.smtp() as client:
                client.helo("printer")
                client.mail("printer@contoso.com")
                return client.rcpt("boss@contoso.com")[0] == 550
        wait_until(refused, 10, "the new config to count")
        slow.send(scan[1_000_000:] + b".\r\n")
        assert slow.getreply()[0] == 250
    assert behind_trace(sim.wait_messages(1)[0].content, scan)


def test_a_reload_with_a_broken_config_is_refused_with_file_and_line(sim, relay):
    relay.reload(limits={"sesions": 5})
    event = relay.wait_event("reload-refused")[0]
    assert event["file"] == str(relay.config)
    assert re.search(r"mfdrelay\.conf:\d+", relay.log()) and "sessions" in relay.log()
    assert re.search("a reload was refused .* why: journalctl -u mfdrelay\n", relay.cli("status").stdout)
    relay.send(make_mail())
    sim.wait_messages(1)


def test_a_reload_moves_to_another_port(sim, relay):
    old, new = relay.port, harness.free_port()
    relay.reload(listen=[{"address": "127.0.0.1", "port": new}])
    relay.port = new
    relay.wait_banner()
    relay.send(make_mail())
    sim.wait_messages(1)

    def closed():
        try:
            socket.create_connection(("127.0.0.1", old), 1).close()
            return False
        except OSError:
            return True
    wait_until(closed, 10, "the old port to be closed")


def test_a_reload_that_needs_its_own_port_on_another_address_says_so(sim, relay):
    relay.reload(listen=[{"address": "*", "port": relay.port}])
    relay.wait_event("reload-refused")
    assert "this daemon itself has port" in relay.log() and "restart" in relay.log()
    relay.send(make_mail())
    sim.wait_messages(1)


def test_a_session_between_two_messages_sends_one_more_after_a_reload(sim, relay):
    def send(client):
        expect(client.mail("printer@contoso.com"), 250)
        expect(client.rcpt("boss@contoso.com"), 250)
        expect(client.data(make_mail()), 250)
    with relay.smtp() as client:
        client.helo("printer")
        send(client)
        relay.reload()
        relay.wait_event("reloaded")
        send(client)
        code, text = client.mail("printer@contoso.com")
        assert code == 421 and b"has a new configuration" in text
    assert len(sim.wait_messages(2)) == 2


def test_a_second_reload_gives_what_is_under_way_the_time_of_a_stop(sim, relay):
    with relay.smtp() as slow:
        begin_data(slow)
        slow.send(b"Subject: slow\r\n\r\n")
        relay.reload()
        relay.wait_event("reloaded")
        relay.reload()
        relay.wait_event("reloaded", 2)
        time.sleep(1)
        slow.send(b"end\r\n.\r\n")
        assert slow.getreply()[0] == 250
    sim.wait_messages(1)


def test_a_sender_that_a_reload_waits_for_is_no_secret(sim, make_relay):
    relay = make_relay(sim, clock=True)
    sim.faults(rule := "final-dot delay 60000 times=1")
    relay.send(make_mail(subject="slow"))
    wait_until(lambda: sim.used(rule), 10, "the final dot")
    relay.reload()
    relay.wait_event("reloading")
    waiting = relay.send(make_mail(subject="next"))

    def ending():
        status = relay.status()
        return status if "ends_within_s" in status else None
    status = wait_until(ending, 5, "the old sender's word")
    assert status["ends_within_s"] <= 660 and status["alarms"] == []
    told = relay.cli("status")
    assert told.returncode == 0 and "the old sender finishes its last transaction, for 1" in told.stdout
    relay.clock.forward(60)
    told = relay.cli("status")
    assert told.returncode == 2 and re.search("ALARM .* restart", told.stdout)
    assert "finishes" in relay.cli("queue", "retry", waiting).stderr
    relay.reload()
    relay.wait_event("reloading", 2)
    sim.clear()
    assert len(sim.wait_messages(2, 30)) == 2
    wait_until(lambda: relay.cli("status").returncode == 0, 10, "all to be well again")


def test_a_sender_that_hangs_is_told_from_a_daemon_that_does_not_run(sim, relay):
    sender = relay.pid("sender")
    kill(sender, signal.SIGSTOP)
    try:
        status = relay.cli("status")
        assert status.returncode == 1 and "runs, but its sender does not answer" in status.stdout
        assert relay.status()["running"] is True
    finally:
        kill(sender, signal.SIGCONT)
    relay.stop()
    assert "does not run" in relay.cli("status").stdout


def test_status_without_a_spool_counts_nothing(sim, relay):
    relay.stop()
    relay.spool.rename(relay.spool.with_name("elsewhere"))
    status = relay.cli("status")
    relay.spool.with_name("elsewhere").rename(relay.spool)
    assert status.returncode == 1 and "put it back" in status.stdout and "messages" not in status.stdout


def test_a_second_daemon_on_the_same_spool_is_refused(sim, relay, make_relay):
    second = make_relay(sim, start=False, spool=str(relay.spool))
    begun = time.monotonic()
    second.start(wait=False)
    assert second.wait_end() == 1
    assert time.monotonic() - begun > 4
    assert "spool" in second.log() and str(relay.spool) in second.log()
    relay.send(make_mail())
    sim.wait_messages(1)


def test_workers_end_with_their_supervisor(sim, relay):
    workers = list(relay.pids().values())
    assert len(workers) == 2
    relay.kill("supervisor")
    wait_until(lambda: not any(harness.alive(pid) for pid in workers), 10, "the workers to end")
    relay.start()
    relay.send(make_mail())
    sim.wait_messages(1)


@pytest.mark.parametrize("role", ["listener", "sender"])
def test_a_killed_worker_is_started_again(sim, relay, role):
    old = relay.pid(role)
    relay.kill(role)
    relay.wait_replaced(role, old)

    def sent():
        try:
            return relay.send(make_mail())
        except OSError:
            return None
    wait_until(sent, 10, "the relay to accept again")
    sim.wait_messages(1)
    assert relay.events("worker-died")


@pytest.mark.parametrize("role", ["listener", "sender"])
def test_no_test_passes_over_a_worker_that_dies_of_a_fault(sim, relay, role):
    kill(relay.pid(role), signal.SIGABRT)
    relay.wait_event("worker-died")
    with pytest.raises(harness.HarnessError, match="a worker has died"):
        relay.stop()
    relay.may_die = True


@pytest.mark.parametrize("role", ["listener", "sender", "supervisor", "all"])
def test_kill_9_under_load_loses_nothing(sim, relay, role):
    """Acknowledged is delivered; twice only what was in flight when the sender died."""
    acknowledged = []
    stop = threading.Event()

    def device(n):
        i = 0
        while not stop.is_set():
            i += 1
            try:
                relay.send(make_mail(subject=f"d{n}-{i}."), sender=f"d{n}@contoso.com")
                acknowledged.append(f"d{n}-{i}.")
            except (OSError, harness.smtplib.SMTPException, harness.HarnessError):
                time.sleep(0.05)
    threads = [threading.Thread(target=device, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for enough in (7, 14, 21):
            time.sleep(0.7)
            wait_until(lambda: len(acknowledged) >= enough, 20, f"{enough} messages to be taken")
            if role == "all":
                relay.kill_all()
                relay.start()
            elif role == "supervisor":
                relay.kill("supervisor")
                relay.start()
            else:
                old = relay.kill(role)
                relay.wait_replaced(role, old)
        time.sleep(0.5)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    relay.wait_empty()
    arrived = [re.search(rb"Subject: (d\d-\d+\.)", m.content)[1].decode() for m in sim.messages()]
    assert len(acknowledged) > 20
    assert set(acknowledged) - set(arrived) == set()
    # Two connections, three kills: no more than six can have been between the 250 and its record.
    assert len(arrived) - len(set(arrived)) <= (0 if role == "listener" else 6)


def test_a_cut_before_the_dot_keeps_nothing(sim, relay):
    client = relay.smtp()
    begin_data(client)
    client.send(make_mail())
    client.close()
    relay.wait_event("incomplete")
    assert relay.queue_ids() == [] and sim.messages() == []


def test_a_reset_right_after_the_dot_loses_nothing_that_was_acknowledged(sim, relay):
    client = relay.smtp()
    begin_data(client)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.send(make_mail() + b".\r\n")
    wait_until(lambda: has_read(relay, client.sock), 10, "all of it to be read")
    client.close()
    relay.wait_event("accepted")
    sim.wait_messages(1)
    relay.wait_empty()


def test_sockets_from_systemd(sim, make_relay):
    relay = make_relay(sim, start=False)
    listening = socket.create_server(("127.0.0.1", 0))
    relay.port = listening.getsockname()[1]
    environment = dict(harness.environment(), LISTEN_FDS="1")

    def hand_over():
        if listening.fileno() == 3:
            os.set_inheritable(3, True)
        else:
            os.dup2(listening.fileno(), 3)
    script = 'export LISTEN_PID=$$; exec "$0" "$@"'
    with open(relay.log_file, "ab") as log:
        relay.process = subprocess.Popen(["sh", "-c", script, harness.binary("mfdrelay"), "serve", "-c", str(relay.config)],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, close_fds=False,
                                         preexec_fn=hand_over)
    listening.close()
    relay.wait_banner()
    relay.send(make_mail())
    sim.wait_messages(1)


def test_systemd_is_told_ready_reloading_and_stopping(sim, make_relay, tmp_path):
    path = tmp_path / "notify"
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(path))
    notify.settimeout(10)
    os.environ["NOTIFY_SOCKET"] = str(path)
    try:
        relay = make_relay(sim)
    finally:
        del os.environ["NOTIFY_SOCKET"]

    def told(word):
        while word not in notify.recv(4096).decode().splitlines():
            pass
    told("READY=1")
    relay.reload()
    told("RELOADING=1")
    told("READY=1")
    relay.process.send_signal(signal.SIGTERM)
    told("STOPPING=1")
    assert relay.wait_end() == 0
    notify.close()


def test_a_hanging_worker_does_not_stop_a_clean_stop(sim, relay):
    """A worker that does not answer is killed 5 s after the deadline."""
    relay.may_die = True
    kill(relay.pid("listener"), signal.SIGSTOP)
    begun = time.monotonic()
    relay.process.send_signal(signal.SIGTERM)
    assert relay.wait_end(30) == 0
    assert 14 < time.monotonic() - begun and relay.events("worker-killed")[0]["worker"] == "listener"


@pytest.mark.parametrize("role", ["listener", "sender"])
def test_a_worker_that_hangs_is_replaced(sim, make_relay, role):
    """It is asked every ten seconds, and has a minute to answer. One that is stopped takes no SIGABRT."""
    relay = make_relay(sim, clock=True)
    pids = relay.pids()
    kill(pids[role], signal.SIGSTOP)
    wait_until(lambda: relay.pids().get(role) not in (None, pids[role]) or relay.leap(11, without=role), 30, f"a new {role}", step=0.3)
    assert [e["worker"] for e in relay.events("worker-hangs")] == [role] * 2
    relay.wait_banner()
    relay.send(make_mail())
    sim.wait_messages(1)
    assert {other: pid for other, pid in relay.pids().items() if other != role} == {o: p for o, p in pids.items() if o != role}


def test_sessions_are_counted_right_when_a_listener_dies_while_another_one_drains(relay):
    def wait_sessions(n):
        wait_until(lambda: relay.status()["counters"]["sessions_now"] == n, 10, f"{n} sessions to be counted")
    with relay.smtp() as slow:
        begin_data(slow)
        relay.reload()
        relay.wait_event("reloaded")
        devices = [relay.smtp() for _ in range(2)]
        wait_sessions(3)
        killed = relay.kill("listener")
        relay.wait_replaced("listener", killed)
        wait_sessions(1)
        for device in devices:
            device.close()
    wait_sessions(0)


def test_a_reload_gives_a_slow_scan_five_minutes(sim, make_relay):
    relay = make_relay(sim, clock=True, limits={"idle": "1h"})
    with relay.smtp() as slow:
        begin_data(slow)
        slow.send(b"Subject: slow\r\n\r\n" + b"page\r\n" * 10000)
        wait_until(lambda: has_read(relay, slow.sock), 10, "the pages to be read")
        relay.reload()
        relay.wait_event("reloaded")
        wait_until(lambda: relay.events("draining", "listener"), 10, "the listener to have heard of it")
        relay.clock.forward(295)
        time.sleep(0.5)
        slow.send(b"page\r\n")
        wait_until(lambda: has_read(relay, slow.sock), 10, "one more")
        relay.clock.forward(6)
        code, text = slow.getreply()
        assert code == 421 and b"has a new configuration" in text
    wait_until(lambda: len(harness.children(relay.process.pid)) == 2, 10, "the old listener to be gone")
    assert not relay.events("worker-killed") and relay.queue_ids() == []


@needs.root("changing to another user")
def test_workers_drop_to_the_configured_user(sim, make_relay, tmp_path):
    harness.let_others_enter(tmp_path)
    relay = make_relay(sim, start=False, user="nobody")
    os.chown(relay.dir / "client-secret", 65534, -1)
    relay.dir.chmod(0o755)
    relay.start()
    for role in ("listener", "sender"):
        text = harness.read_text(f"/proc/{relay.pid(role)}/status")
        assert re.search(r"^Uid:\s+65534\s+65534\s+65534\s+65534$", text, re.M)
        assert re.search(r"^CapEff:\s+0+$", text, re.M)
        assert re.search(r"^NoNewPrivs:\s+1$", text, re.M)
    relay.send(make_mail())
    sim.wait_messages(1)


def test_what_each_recipient_got_is_known_after_a_restart(sim, make_relay):
    relay = make_relay(sim, retry={"first": "1h", "max": "1h"})
    sim.faults("rcpt=it@* reply 451 4.3.2 Temporary server error. Please try again later ATTR5")
    queue_id = relay.send(make_mail(), recipients=["boss@contoso.com", "it@contoso.com"])
    relay.wait_event("deferred")
    sim.clear()
    relay.stop()
    relay.start()
    entry, = json.loads(relay.cli("queue", "list", "--json", check=True).stdout)
    got = {r["address"]: (r["status"], r["attempts"]) for r in entry["recipients"]}
    assert got == {"boss@contoso.com": ("delivered", 0), "it@contoso.com": ("pending", 1)}
    time.sleep(1)
    assert len(sim.messages()) == 1, "the wait goes on after a restart"
    relay.cli("queue", "retry", queue_id, check=True)
    assert [m["rcpt"] for m in sim.wait_messages(2)] == [["boss@contoso.com"], ["it@contoso.com"]]


def test_ipv6_devices_and_listeners(sim, make_relay):
    relay = make_relay(sim, start=False, devices=[{"name": "six", "address": ["::1"]}])
    relay.settings["listen"].append({"address": "::1", "port": relay.port})
    relay.start()
    with harness.smtplib.SMTP("::1", relay.port, timeout=10) as client:
        client.sendmail("printer@contoso.com", ["boss@contoso.com"], make_mail())
    assert b"[IPv6:::1]" in sim.wait_messages(1)[0].content
    assert relay.events("accepted")[0]["device"] == "six"
    with relay.smtp() as client:
        client.helo("four")
        client.mail("printer@contoso.com")
        assert client.rcpt("boss@contoso.com")[0] == 550
