"""Attacks that have worked on others, each with its number, from both sides: a stranger or a hostile device on the LAN, and a
hostile upstream."""

import re
import socket
import time

import pytest

import harness
from harness import make_mail, raw, raw_begin_data, talk, wait_until

SMUGGLED = b"MAIL FROM:<admin@contoso.com>\r\nRCPT TO:<boss@contoso.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n"
ENDS = {"lf-dot-lf": b"\n.\n", "lf-dot-crlf": b"\n.\r\n", "crlf-dot-lf": b"\r\n.\n", "cr-dot-cr": b"\r.\r",
        "crlf-dot-cr-crlf": b"\r\n.\r\r\n", "crlf-nul-dot-crlf": b"\r\n\0.\r\n"}


def read_all(s):
    """Everything until the peer closes or is silent for a second."""
    s.settimeout(1)
    got = b""
    try:
        while part := s.recv(4096):
            got += part
    except OSError:
        pass
    return got


# --- SMTP smuggling: two servers that see the end of a message in different places

@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_cve_2023_51764_51765_51766_no_other_end_of_data_smuggles_a_message(sim, relay, end):
    with raw(relay) as s:
        raw_begin_data(s)
        assert talk(s, b"Subject: one\r\n\r\nbody" + end + SMUGGLED + b".\r\n").startswith(b"250")
    messages = sim.wait_messages(1)
    time.sleep(0.3)
    assert len(sim.messages()) == 1
    assert b"MAIL FROM:<admin@contoso.com>" in messages[0].content
    stats = sim.stats()
    assert stats["bare_lf"] == stats["bare_cr"] == stats["unstuffed_dots"] == 0


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
def test_cve_2023_51764_holds_wherever_the_network_cuts_the_bytes(sim, relay, end):
    """Every split of what lies around the false end, in one session, a message a split."""
    head, tail = b"Subject: one\r\n\r\nbody", end + b"MAIL FROM:<admin@contoso.com>\r\n.\r\n"
    with raw(relay) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert talk(s, b"HELO p\r\n").startswith(b"250")
        for cut in range(1, len(end) + 2):
            for line, code in ((b"MAIL FROM:<printer@contoso.com>\r\n", b"250"), (b"RCPT TO:<boss@contoso.com>\r\n", b"250"),
                               (b"DATA\r\n", b"354")):
                assert talk(s, line).startswith(code)
            s.sendall(head + tail[:cut])
            time.sleep(0.01)
            assert talk(s, tail[cut:]).startswith(b"250")
    messages = sim.wait_messages(len(end) + 1)
    assert len({m.content.split(b"\r\n\r\n", 1)[1] for m in messages}) == 1


# --- command injection: addresses, names, logins

@pytest.mark.parametrize("sender", [b"<;sleep 66;>", b"<`id`@>", b"<$(id)@contoso.com>", b"<a@b|id>"])
def test_cve_2020_7247_a_sender_is_data_and_never_a_command(sim, relay, sender):
    with raw(relay) as s:
        talk(s, b"HELO p\r\n")
        answer = talk(s, b"MAIL FROM:" + sender + b"\r\n")
        assert answer[:3] in (b"250", b"501"), answer
    relay.send(make_mail())
    sim.wait_messages(1)


def test_cve_2020_28021_and_28015_no_parameter_or_address_becomes_a_line_of_the_envelope(sim, relay):
    """As each stands in the spool: a line more, and a forger would be the device, or write to whom he likes."""
    sim.stop()
    accepted = 0
    for line in (b"MAIL FROM:<a@contoso.com> AUTH=x+0Auser:+20root\r\n", b"MAIL FROM:<a@contoso.com> ENVID=x\ruser: root\r\n",
                 b"MAIL FROM:<\"a\rrecipient: <x@evil.example>\"@contoso.com>\r\n", b"MAIL FROM:<a@contoso.com>\r\n"):
        with raw(relay) as s:
            talk(s, b"HELO p\rdevice: forged\r\n")
            if talk(s, line).startswith(b"250"):
                assert talk(s, b"RCPT TO:<boss@contoso.com>\r\n").startswith(b"250")
                assert talk(s, b"DATA\r\n").startswith(b"354")
                assert talk(s, b"Subject: x\r\n\r\nx\r\n.\r\n").startswith(b"250")
                accepted += 1
    assert accepted >= 1
    assert len(relay.queue_ids()) == accepted
    for queue_id in relay.queue_ids():
        envelope = (relay.spool / "queue" / queue_id).read_bytes().split(b"\n\n")[0].split(b"\n")
        for name, values in ((b"user", [b""]), (b"device", [b"lan"]), (b"recipient", [b"boss@contoso.com"])):
            assert [line.split(b": ", 1)[1] for line in envelope if line.startswith(name + b": ")] == values, envelope
    sim.start()
    relay.cli("queue", "retry", "all", check=True)
    assert all(m["rcpt"] == ["boss@contoso.com"] for m in sim.wait_messages(accepted))
    relay.wait_empty()
    assert relay.queue_ids("failed") == []


def test_cve_2019_16928_a_very_long_ehlo_is_cut_and_answered(sim, relay):
    with raw(relay) as s:
        assert talk(s, b"EHLO " + b"A" * 4000 + b"\r\n").startswith(b"250")
        assert talk(s, b"EHLO " + b"A" * 200000 + b"\r\n")[:1] in (b"5", b"4")
    relay.send(make_mail())
    sim.wait_messages(1)


@pytest.mark.parametrize("junk", [b"=", b"A", b"AA=A", b"A===", b"====", b"A" * 11999, b"/" * 12288], ids=len)
def test_cve_2018_6789_no_base64_of_any_length_harms_the_login(sim, make_relay, junk):
    relay = make_relay(sim, devices=[{"name": "erp", "user": "erp", "password": harness.password_hash("right")}])
    for command in (b"AUTH PLAIN " + junk, b"AUTH LOGIN " + junk):
        with raw(relay) as s:
            talk(s, b"EHLO p\r\n")
            assert talk(s, command + b"\r\n")[:1] in (b"3", b"4", b"5")
    assert not relay.events("worker-died")


def test_what_strangers_say_forges_no_line_of_the_log(sim, relay):
    with raw(relay) as s:
        talk(s, b"HELO x\x1b[2J\r2026-01-01T00:00:00.000Z sender delivered id=forged\r\n")
        talk(s, b"MAIL FROM:<a@contoso.com> X=\x07\x1b]0;title\x07\r\n")
        talk(s, b"RCPT TO:<\"\x1b[31m\"@contoso.com>\r\n")
        talk(s, b"NONSENSE \xff\xfe\x00 id=forged\r\n")
    relay.send(make_mail())
    sim.wait_messages(1)
    log = relay.log_file.read_bytes()
    assert all(32 <= byte < 127 or byte == 10 for byte in log)
    assert not re.search(rb"^\S+ sender delivered id=forged", log, re.M)


# --- STARTTLS: text from before the handshake, taken as if it came over TLS (NO STARTTLS, 2021)

@pytest.mark.parametrize("injected", ["250 AUTH XOAUTH2", "235 2.7.0 Authentication successful", "250-x\\n250 SIZE 1"])
def test_cve_2011_0411_mirrored_a_reply_from_before_the_handshake_ends_the_connection(sim, make_relay, injected):
    relay = make_relay(sim, retry={"first": "1s", "max": "1s"})
    sim.faults(rf"starttls reply 220 2.0.0 ready\n{injected} times=1")
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert "before the TLS handshake" in held["text"]
    assert sim.stats()["auth_plaintext"] == 0
    assert len(sim.wait_messages(1)) == 1


def test_an_upstream_without_starttls_gets_neither_token_nor_mail(sim, relay):
    sim.faults("ehlo without STARTTLS")
    relay.send(make_mail())
    relay.wait_event("upstream-held")
    relay.cli("queue", "retry", "all", check=True)
    relay.wait_event("upstream-held", 2)
    assert sim.messages() == [] and "AUTH" not in sim.log().replace("AUTH LOGIN XOAUTH2", "")
    assert relay.queue_ids()


# --- replies as a weapon

@pytest.mark.parametrize("reply", [
    r"250-" + "A" * 400 + r"\n250-" + "B" * 400 + r"\n250 ok", r"550-\n550-\n550-\n550 5.1.1 no", r"450 %s%n%s%n", r"553-\n553 5.7.1 x"],
    ids=["long-lines", "empty-lines", "format", "no-text"])
def test_cve_2020_8794_a_reply_of_many_lines_is_only_text(sim, relay, reply):
    sim.faults(f"rcpt reply {reply} times=1")
    relay.send(make_mail())
    wait_until(lambda: sim.messages() or relay.queue_ids("failed"), 20, "an end")
    assert not relay.events("worker-died")
    assert relay.cli("queue", "list").returncode == 0
    log = relay.log_file.read_bytes()
    assert all(32 <= byte < 127 or byte == 10 for byte in log)


def test_a_reply_of_the_upstream_forges_neither_log_nor_report(sim, relay):
    sim.faults("rcpt=nobody@* reply 550 5.1.1 no\x1b[2J such \rX-Forged: user <script>")
    queue_id = relay.send(make_mail(), recipients=["nobody@contoso.com"])
    report = sim.wait_messages(1)[0]
    assert queue_id.encode() in report.content
    assert b"\x1b" not in report.content and b"\nX-Forged" not in report.content and b"\rX-Forged" not in report.content.replace(b"\r\n", b"")
    assert b"\x1b" not in relay.log_file.read_bytes() and "\x1b" not in relay.cli("queue", "show", queue_id).stdout
