"""TLS on the side of the devices: STARTTLS, TLS from the first octet, old devices, and what is said to those that fail."""

import pathlib
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import struct
import subprocess

import pytest

import harness
import needs
from harness import free_port, make_mail, raw, talk, wait_until

PASSWORD = "geheim1234"


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """A folder with certificates for relay.test and their keys: rsa.crt, rsa.key, ec.crt, ec.key, other.crt, other.key."""
    folder = tmp_path_factory.mktemp("pairs")
    for name, kind in (("rsa", ["rsa:2048"]), ("ec", ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]), ("other", ["rsa:2048"])):
        subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "90", "-newkey", *kind, "-subj", "/CN=relay.test",
                        "-addext", "subjectAltName=DNS:relay.test,IP:127.0.0.1",
                        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt"], check=True, capture_output=True)
        (folder / f"{name}.key").chmod(0o600)
    return folder


def named(pairs, **more):
    return {"certificate": f"{pairs}/rsa.crt", "key": f"{pairs}/rsa.key", **more}


class Doors:
    """A relay with one listener of each kind, by name: relay.port offers STARTTLS."""

    def __init__(self, make_relay, sim, pairs, **config):
        relay = make_relay(sim, start=False, tls=named(pairs), **config)
        self.ports = {"offered": relay.port, "required": free_port(), "implicit": free_port(), "none": free_port()}
        relay.settings["listen"] = [{"address": "127.0.0.1", "port": port, "tls": name} for name, port in self.ports.items()]
        self.relay = relay.start()


@pytest.fixture
def doors(make_relay, sim, pairs):
    return Doors(make_relay, sim, pairs, devices=[
        {"name": "lan", "address": ["127.0.0.1"]},
        {"name": "erp", "user": "erp", "password": harness.password_hash(PASSWORD)}])


def trusting(pairs):
    return ssl.create_default_context(cafile=pairs / "rsa.crt")


def connect(port, sent=b"", source=None):
    s = socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0) if source else None)
    s.settimeout(15)
    s.sendall(sent)
    return s


def read_all(s):
    """What comes until the other side closes."""
    got = b""
    try:
        while piece := s.recv(4096):
            got += piece
    except ConnectionError:
        pass
    return got


def starttls(port, context, before=b"EHLO x\r\n"):
    """A TLS socket; the relay's replies to what was said before STARTTLS are thrown away."""
    s = connect(port)
    assert s.recv(1000).startswith(b"220 ")
    if before:
        talk(s, before)
    assert talk(s, b"STARTTLS\r\n").startswith(b"220 ")
    return context.wrap_socket(s, server_hostname="relay.test")


def deliver(s, subject):
    """One message over a socket that has been greeted, without EHLO."""
    for line, code in ((b"MAIL FROM:<printer@contoso.com>\r\n", b"250"), (b"RCPT TO:<boss@contoso.com>\r\n", b"250"),
                       (b"DATA\r\n", b"354")):
        assert talk(s, line).startswith(code)
    assert talk(s, make_mail(subject=subject) + b".\r\n").startswith(b"250")


# --- STARTTLS ----------------------------------------------------------------------------------------------------------

def test_mail_over_starttls_is_traced_and_logged_with_its_version_and_suite(doors, sim, pairs):
    with doors.relay.smtp() as client:
        client.ehlo()
        assert "starttls" in client.esmtp_features
        client.starttls(context=trusting(pairs))
        client.ehlo()
        assert "starttls" not in client.esmtp_features
        client.sendmail("printer@contoso.com", "boss@contoso.com", make_mail())
    content = sim.wait_messages(1)[0].content
    assert re.search(rb"with ESMTPS \(TLSv1\.3 TLS_AES_256_GCM_SHA384\) id", content), content[:600]
    assert doors.relay.events("accepted")[0]["tls"] == "TLSv1.3"


def test_a_login_over_tls_is_traced_as_esmtpsa(doors, sim, pairs):
    with smtplib.SMTP_SSL("127.0.0.1", doors.ports["implicit"], context=trusting(pairs)) as client:
        client.login("erp", PASSWORD)
        client.sendmail("printer@contoso.com", "boss@contoso.com", make_mail())
    assert b"with ESMTPSA (TLSv1.3 " in sim.wait_messages(1)[0].content


def test_after_starttls_no_ehlo_is_demanded_and_nothing_from_before_is_remembered(doors, sim, pairs):
    s = starttls(doors.relay.port, trusting(pairs), b"EHLO injected\r\n")
    deliver(s, "no ehlo")
    s.close()
    content = sim.wait_messages(1)[0].content
    assert b"injected" not in content and b"from unknown (" in content


def test_a_login_from_before_starttls_is_forgotten(make_relay, sim, pairs):
    relay = Doors(make_relay, sim, pairs, devices=[
        {"name": "erp", "user": "erp", "password": harness.password_hash(PASSWORD)}]).relay
    with relay.smtp() as client:
        client.login("erp", PASSWORD)
        client.starttls(context=trusting(pairs))
        client.mail("printer@contoso.com")
        assert client.rcpt("boss@contoso.com")[0] == 550
        client.rset()
        client.login("erp", PASSWORD)
        client.mail("printer@contoso.com")
        assert client.rcpt("boss@contoso.com")[0] == 250


def test_starttls_with_an_argument_is_a_syntax_error(doors):
    with raw(doors.relay) as s:
        assert talk(s, b"STARTTLS now\r\n").startswith(b"501 5.5.4")
        assert talk(s, b"NOOP\r\n").startswith(b"250")


def test_starttls_is_not_taken_twice(doors, pairs):
    s = starttls(doors.relay.port, trusting(pairs))
    assert talk(s, b"STARTTLS\r\n").startswith(b"503 5.5.1")


def test_starttls_where_there_is_none(doors):
    with connect(doors.ports["none"]) as s:
        assert s.recv(1000).startswith(b"220 ")
        assert b"STARTTLS" not in talk(s, b"EHLO x\r\n")
        assert talk(s, b"STARTTLS\r\n").startswith(b"502")


@pytest.mark.parametrize("behind", [b"RSET\r\n", b"MAIL FROM:<evil@example.net>\r\n", b"QUIT\r\n", b"\r\n", b"\0"])
def test_cve_2011_0411_plain_text_behind_starttls_is_never_run(doors, behind):
    with raw(doors.relay) as s:
        talk(s, b"EHLO x\r\n")
        s.sendall(b"STARTTLS\r\n" + behind)
        assert re.fullmatch(rb"220 [^\r\n]*\r\n", read_all(s))
    assert doors.relay.wait_event("starttls-refused")


def test_who_goes_right_behind_starttls_is_no_attack(doors):
    for reset in (False, True) * 10:
        with raw(doors.relay) as s:
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.sendall(b"NOOP\r\n" * 10 + b"STARTTLS\r\n")
            if not reset:
                s.shutdown(socket.SHUT_WR)
                read_all(s)
    wait_until(lambda: doors.relay.status()["counters"]["sessions_now"] == 0, 10, "the sessions to be gone")
    assert not doors.relay.events("starttls-refused")


@pytest.mark.parametrize("behind", [b"RSET\r\n", b"MAIL FROM:<evil@example.net>\r\n"])
def test_cve_2011_0411_plain_text_in_place_of_the_handshake_is_never_run(doors, behind):
    with raw(doors.relay) as s:
        talk(s, b"EHLO x\r\n")
        assert talk(s, b"STARTTLS\r\n").startswith(b"220 ")
        s.sendall(behind)
        assert not re.search(rb"\d\d\d[ -]", read_all(s))


def test_cve_2021_38371_replies_to_plain_text_do_not_come_over_tls(doors, pairs):
    """Response injection's mirror: what was answered before the handshake is out before it, in plain text."""
    context = trusting(pairs)
    s = connect(doors.relay.port)
    s.sendall(b"EHLO x\r\nNOOP\r\nSTARTTLS\r\n")
    got = b""
    while b"220 2.0.0" not in got:
        got += s.recv(1000)
    tls = context.wrap_socket(s, server_hostname="relay.test")
    assert talk(tls, b"VRFY x\r\n").startswith(b"252")


def hello_of(context, name="relay.test"):
    """The bytes of a ClientHello, and the SSL object and BIOs that go on with it."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(inward, outward, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outward.read(), tls, inward, outward


def go_on(s, tls, inward, outward):
    """Finish the handshake over socket s; returns a function that sends and receives once over TLS."""
    def run(what):
        while True:
            try:
                result = what()
                s.sendall(outward.read())
                return result
            except ssl.SSLWantReadError:
                s.sendall(outward.read())
                piece = s.recv(4096)
                assert piece, "closed"
                inward.write(piece)
    run(tls.do_handshake)
    return lambda line: (run(lambda: tls.write(line)) if line else None, run(lambda: tls.read(4096)))[1]


def test_a_client_hello_glued_to_starttls_is_served_wherever_it_is_cut(doors, pairs):
    for cut in (1, 2, 5, 6, 100, 10000):
        hello, tls, inward, outward = hello_of(trusting(pairs))
        with raw(doors.relay) as s:
            s.sendall(b"STARTTLS\r\n" + hello[:cut])
            got = b""
            while not got.endswith(b"\r\n"):
                got += s.recv(1)
            s.sendall(hello[cut:])
            say = go_on(s, tls, inward, outward)
            assert say(b"NOOP\r\n").startswith(b"250")


def test_a_client_hello_glued_to_starttls_with_a_command_behind_it_is_not(doors, pairs):
    hello, *_ = hello_of(trusting(pairs))
    with raw(doors.relay) as s:
        s.sendall(b"STARTTLS\r\n" + hello + b"MAIL FROM:<evil@example.net>\r\n")
        assert b"250" not in read_all(s)


# --- required, implicit, first octet -----------------------------------------------------------------------------------

def test_required_refuses_mail_and_logins_in_plain_text(doors, sim, pairs):
    with connect(doors.ports["required"]) as s:
        assert s.recv(1000).startswith(b"220 ")
        assert b"AUTH" not in talk(s, b"EHLO x\r\n")
        assert talk(s, b"MAIL FROM:<printer@contoso.com>\r\n").startswith(b"530 5.7.0 Must issue a STARTTLS command first")
        assert talk(s, b"AUTH LOGIN\r\n").startswith(b"530 5.7.0")
        assert talk(s, b"NOOP\r\n").startswith(b"250")
    s = starttls(doors.ports["required"], trusting(pairs))
    assert b"AUTH LOGIN PLAIN" in talk(s, b"EHLO x\r\n")
    deliver(s, "required")
    sim.wait_messages(1)


def test_a_client_hello_on_a_plain_port_is_served(doors, sim, pairs):
    """HP 477dw. The first time the plain greeting has gone out already; most clients need the next one."""
    context = trusting(pairs)
    hello, tls, inward, outward = hello_of(context)
    with raw(doors.relay) as s:
        s.sendall(hello)
        say = go_on(s, tls, inward, outward)
        assert say(b"").startswith(b"220 relay.test")
        assert say(b"EHLO x\r\n").startswith(b"250")
    with smtplib.SMTP_SSL("127.0.0.1", doors.relay.port, context=context) as client:
        client.sendmail("printer@contoso.com", "boss@contoso.com", make_mail())
    sim.wait_messages(1)
    doors.relay.send(make_mail(subject="plain text from the same address"))
    sim.wait_messages(2)


def test_who_begins_with_tls_on_a_plain_port_is_known_after_a_reload(doors, sim, pairs):
    """And when the listener has died: it fails once."""
    context = trusting(pairs)
    with pytest.raises(ssl.SSLError):
        smtplib.SMTP_SSL("127.0.0.1", doors.relay.port, context=context)
    doors.relay.reload(limits={"recipients": 50})
    doors.relay.wait_event("reloaded")
    failed = doors.relay.wait_event("tls-failed")[0]
    assert failed["why"].startswith("our greeting came before its hello; ") and "its next try is waited for" in failed["remedy"]
    before = doors.relay.kill("listener")
    wait_until(lambda: doors.relay.pid("listener") != before, 10, "another listener")
    with smtplib.SMTP_SSL("127.0.0.1", doors.relay.port, context=context) as client:
        client.sendmail("printer@contoso.com", "boss@contoso.com", make_mail())
    sim.wait_messages(1)


def test_handshakes_under_way_do_not_hold_up_a_reload_or_a_stop(doors, pairs):
    hello, *_ = hello_of(trusting(pairs))
    waiting = [connect(doors.ports["implicit"], hello[:cut]) for cut in (0, 1, 50)]
    starting = raw(doors.relay)
    assert talk(starting, b"STARTTLS\r\n").startswith(b"220 ")
    doors.relay.reload()
    doors.relay.wait_event("reloaded")
    doors.relay.stop()
    for s in [*waiting, starting]:
        assert read_all(s) == b""


def test_a_handshake_that_does_not_go_on_has_half_a_minute(make_relay, sim, pairs):
    doors = Doors(make_relay, sim, pairs, clock=True)
    hello, *_ = hello_of(trusting(pairs))
    waiting = [connect(doors.ports["implicit"], hello[:cut]) for cut in (0, 1, 50)]
    starting = raw(doors.relay)
    assert talk(starting, b"STARTTLS\r\n").startswith(b"220 ")
    doors.relay.clock.forward(31)
    for s in [*waiting, starting]:
        assert read_all(s) == b""
    wait_until(lambda: doors.relay.status()["counters"]["sessions_now"] == 0, 10, "the sessions to be gone")


def test_junk_in_the_handshake_ends_nothing_but_its_session(doors, pairs):
    noise = random.Random(2011)
    hello, *_ = hello_of(trusting(pairs))
    pid = doors.relay.pid("listener")
    for turn in range(200):
        junk = bytearray(hello)
        for _ in range(noise.randint(1, 8)):
            junk[noise.randrange(5, len(junk))] = noise.randrange(256)
        with connect(doors.ports["implicit"] if turn % 2 else doors.relay.port, bytes(junk)) as s:
            s.shutdown(socket.SHUT_WR)
            read_all(s)
    starttls(doors.relay.port, trusting(pairs)).close()
    assert doors.relay.pid("listener") == pid and not doors.relay.events("worker-died")


def test_a_client_hello_where_there_is_no_tls_is_told_in_the_log(doors, pairs):
    hello, *_ = hello_of(trusting(pairs))
    with connect(doors.ports["none"]) as s:
        assert s.recv(1000).startswith(b"220 ")
        s.sendall(hello)
        assert read_all(s) == b""
    said = doors.relay.wait_event("tls-unexpected")[0]
    assert said["peer"] == "127.0.0.1" and "switch TLS (SSL) off in the device" in said["remedy"]


def test_a_client_hello_where_the_certificate_cannot_be_loaded_is_told_where_to_look(make_relay, sim, pairs, tmp_path):
    """It was spoilt after the start, and the listener has died meanwhile."""
    certificate = pathlib.Path(shutil.copy(pairs / "rsa.crt", tmp_path))
    relay = make_relay(sim, tls={"certificate": str(certificate), "key": f"{pairs}/rsa.key"})
    certificate.write_text("spoilt")
    relay.kill("listener")
    relay.wait_event("tls-unavailable")
    hello, *_ = hello_of(trusting(pairs))
    with raw(relay) as s:
        s.sendall(hello)
        assert read_all(s) == b""
    assert relay.wait_event("tls-unexpected")[0]["remedy"] == "see tls-unavailable in the log"


def test_real_clients(doors, sim, pairs, tmp_path):
    mail = tmp_path / "mail"
    mail.write_bytes(make_mail())
    swaks = ["swaks", "--from", "printer@contoso.com", "--to", "boss@contoso.com", "--server", "127.0.0.1"]
    for command in ([*swaks, "--port", str(doors.ports["required"]), "--tls", "--tls-protocol", "tlsv1_2"],
                    [*swaks, "--port", str(doors.ports["implicit"]), "--tls-on-connect"],
                    ["curl", "-sS", "--cacert", pairs / "rsa.crt", f"smtps://127.0.0.1:{doors.ports['implicit']}",
                     "--mail-from", "printer@contoso.com", "--mail-rcpt", "boss@contoso.com", "-T", mail],
                    ["curl", "-sS", "--ssl-reqd", "--cacert", pairs / "rsa.crt", f"smtp://127.0.0.1:{doors.ports['required']}",
                     "--mail-from", "printer@contoso.com", "--mail-rcpt", "boss@contoso.com", "-T", mail]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    assert all(b"with ESMTPS (" in m.content for m in sim.wait_messages(4))


def test_a_renewed_certificate_is_shown_after_sighup_and_half_a_renewal_is_refused(doors, pairs):
    relay, port = doors.relay, doors.ports["implicit"]

    def shown():
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    before = shown()
    relay.reload(tls={"certificate": f"{pairs}/other.crt"})
    relay.wait_event("reload-refused")
    assert "key values mismatch" in relay.log() and shown() == before
    relay.reload(tls={"key": f"{pairs}/other.key"})
    wait_until(lambda: shown().strip() == (pairs / "other.crt").read_text().strip(), 15, "the other certificate")


def test_two_certificates_serve_rsa_and_elliptic_curves(make_relay, sim, pairs):
    relay = make_relay(sim, tls=named(pairs, ecdsa_certificate=f"{pairs}/ec.crt", ecdsa_key=f"{pairs}/ec.key"))
    for suite, kind in (("ECDHE-ECDSA-AES128-GCM-SHA256", b"ec"), ("ECDHE-RSA-AES128-GCM-SHA256", b"rsa"), ("AES128-SHA", b"rsa")):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(pairs / f"{kind.decode()}.crt")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(suite)
        s = starttls(relay.port, context)
        assert s.cipher()[0] == suite
        s.close()


# --- old devices -------------------------------------------------------------------------------------------------------

def wait_made(relay):
    """Until the relay has made its certificates and a new listener has taken over."""
    relay.wait_event("certificate-made", timeout=60)
    relay.wait_event("worker-ended", timeout=60)


@pytest.fixture
def island(make_relay, sim, pairs):
    """Listeners with TLS from the first octet and with STARTTLS. 127.0.0.2 is an old device, 127.0.0.1 is not."""
    relay = make_relay(sim, start=False, tls=named(pairs), devices=[
        {"name": "old", "address": ["127.0.0.2"], "tls_min": "1.0"}, {"name": "lan", "address": ["127.0.0.1"]}])
    relay.implicit = free_port()
    relay.settings["listen"].append({"address": "127.0.0.1", "port": relay.implicit, "tls": "implicit"})
    relay.start()
    wait_made(relay)
    return relay


def s_client(relay, source, *options):
    """What openssl s_client says of a handshake behind STARTTLS and of a NOOP."""
    return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{relay.port}", "-bind", f"{source}:0", "-starttls", "smtp",
                           "-crlf", *options], input="NOOP\nQUIT\n", capture_output=True, text=True, timeout=60).stdout


def test_each_version_by_a_real_client(island):
    for version in ("1", "1_1", "1_2", "1_3"):
        option = [f"-tls{version}", "-cipher", "ALL:@SECLEVEL=0"]
        name = "TLSv" + version.replace("_", ".")
        assert re.search(rf"New, \S+ Cipher is \w|Protocol *: {name}\n", said := s_client(island, "127.0.0.2", *option)), said
        assert "250 2.0.0 Ok" in said or "Cipher is (NONE)" not in said
        modern = s_client(island, "127.0.0.1", *option)
        assert ("Cipher is (NONE)" in modern) == (version in ("1", "1_1")), modern
    failed = island.wait_event("tls-failed", 2)
    assert [(f["device"], f["offers"].split(",")[0]) for f in failed] == [("lan", "TLS 1.0"), ("lan", "TLS 1.1")]
    assert "in the entry of lan in devices" in failed[0]["remedy"]


def test_required_is_content_with_the_tls_that_tls_min_lets_in(make_relay, sim, pairs):
    relay = make_relay(sim, start=False, tls=named(pairs), devices=[{"name": "old", "address": ["127.0.0.1"], "tls_min": "1.0"}])
    relay.settings["listen"][0]["tls"] = "required"
    relay.start()
    wait_made(relay)
    said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{relay.port}", "-starttls", "smtp", "-quiet", "-crlf", "-tls1",
                           "-cipher", "ALL:@SECLEVEL=0"], input="MAIL FROM:<printer@contoso.com>\nQUIT\n", capture_output=True,
                          text=True, timeout=60).stdout
    assert "250 2.1.0" in said and "530" not in said


def extension(number, body):
    return struct.pack("!HH", number, len(body)) + body


GROUPS = extension(10, bytes.fromhex("000400170018")) + extension(11, b"\1\0")
SHA256 = extension(13, bytes.fromhex("0006040105010201"))
SHA1 = extension(13, bytes.fromhex("000402010203"))
RSA_CBC, ECDHE_RSA, ECDHE_ECDSA, TRIPLE_DES, RC4, FALLBACK = 0x002F, 0xC02F, 0xC02B, 0x000A, 0x0005, 0x5600


def client_hello(version, suites, extensions=b"", record=None):
    body = struct.pack("!H", version) + bytes(range(32)) + b"\0" + struct.pack("!H", 2 * len(suites))
    body += b"".join(struct.pack("!H", suite) for suite in suites) + b"\1\0"
    body += struct.pack("!H", len(extensions)) + extensions if extensions else b""
    body = b"\1" + struct.pack("!I", len(body))[1:] + body
    return struct.pack("!BHH", 0x16, record or min(version, 0x0301), len(body)) + body


def sslv2_hello(version, suites):
    body = b"\1" + struct.pack("!HHHH", version, 3 * len(suites), 0, 16)
    body += b"".join(b"\0" + struct.pack("!H", suite) for suite in suites) + bytes(range(16))
    return struct.pack("!H", 0x8000 | len(body)) + body


WITHOUT = "this device can only be served without TLS"
LEGACY = 'tls_min = "1.0"; in the entry of lan in devices'

def test_what_an_old_device_says_counts_as_said_in_plain_text(make_relay, sim, pairs):
    """Where TLS 1.0 is let in, whoever is on the wire can ask for it: no login that needs TLS, whatever the version was."""
    relay = make_relay(sim, start=False, tls=named(pairs), devices=[
        {"name": "erp", "user": "erp", "password": harness.password_hash(PASSWORD), "auth_requires_tls": True},
        {"name": "old", "address": ["127.0.0.2"], "tls_min": "1.0"}, {"name": "lan", "address": ["127.0.0.1"]}])
    relay.start()
    wait_made(relay)
    for source, code in (("127.0.0.2", b"538 "), ("127.0.0.1", b"334 ")):
        with connect(relay.port, source=source) as plain:
            assert plain.recv(1000).startswith(b"220 ")
            assert talk(plain, b"STARTTLS\r\n").startswith(b"220 ")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain) as s:
                reply = talk(s, b"AUTH LOGIN\r\n")
                assert reply.startswith(code), source
                assert code != b"538 " or b"old: a port or address whose tls_min is 1.2 or later is needed" in reply


# Rows of the table of hellos: what is sent, whether the legacy and the modern context answer it, and the advice for the latter.
HELLOS = {
    "SSL 3.0 only": (client_hello(0x0300, [RSA_CBC], record=0x0300), False, False, WITHOUT),
    "TLS 1.0": (client_hello(0x0301, [RSA_CBC]), True, False, LEGACY),
    "TLS 1.1": (client_hello(0x0302, [RSA_CBC]), True, False, LEGACY.replace("1.0", "1.1")),
    "TLS 1.0 in a hello of SSL 2.0's form": (sslv2_hello(0x0301, [RSA_CBC]), True, False, LEGACY),
    "TLS 1.0 in a record of SSL 3.0": (client_hello(0x0301, [RSA_CBC], record=0x0300), True, False, LEGACY),
    "TLS 1.2 without signature_algorithms": (client_hello(0x0303, [ECDHE_RSA], GROUPS), True, False, LEGACY),
    "TLS 1.2 with SHA-1 alone": (client_hello(0x0303, [ECDHE_RSA], GROUPS + SHA1), True, False, LEGACY),
    "TLS 1.2 without elliptic curves (Ricoh)": (client_hello(0x0303, [RSA_CBC], SHA256), True, True, None),
    "only 3DES": (client_hello(0x0303, [TRIPLE_DES], SHA256), False, False, WITHOUT),
    "only RC4": (client_hello(0x0303, [RC4], SHA256), False, False, WITHOUT),
    "ECDHE without supported_groups": (client_hello(0x0303, [ECDHE_RSA], SHA256), False, False, WITHOUT),
    "ECDSA alone": (client_hello(0x0303, [ECDHE_ECDSA], GROUPS + SHA256), False, False, "add ecdsa_certificate and ecdsa_key to tls"),
    "a second try with TLS 1.0": (client_hello(0x0301, [RSA_CBC, FALLBACK]), False, False, None),
}


def answers(relay, hello, source):
    """Whether a hello gets a ServerHello."""
    with connect(relay.implicit, hello, source) as s:
        return s.recv(1) == b"\x16"


def test_hellos_of_all_ages(island):
    def of_lan():
        return [e for e in island.events("tls-failed") if e["device"] == "lan"]
    wrong = []
    for label, (hello, legacy, modern, advice) in HELLOS.items():
        before = len(of_lan())
        got = (answers(island, hello, "127.0.0.2"), answers(island, hello, "127.0.0.1"))
        if got != (legacy, modern):
            wrong.append((label, got))
        failed = wait_until(lambda: of_lan()[before:], 15, f"the log of {label}")[0]
        if advice and advice not in failed["remedy"].replace("\\", ""):
            wrong.append((label, failed))
    assert not wrong


def test_a_second_try_with_an_older_version_is_told_as_such(island):
    assert not answers(island, HELLOS["a second try with TLS 1.0"][0], "127.0.0.2")
    assert "later version before" in island.wait_event("tls-failed")[0]["remedy"]


def test_a_client_that_does_not_trust_us_is_told_of_in_the_log(doors):
    with pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(connect(doors.ports["implicit"]), server_hostname="relay.test")
    failed = doors.relay.wait_event("tls-failed")[0]
    assert "import the CA into the device" in failed["remedy"] and failed["sni"] == "relay.test"


def test_plain_text_on_a_port_for_tls_is_told_of_in_the_log(doors):
    with connect(doors.ports["implicit"], b"EHLO printer\r\n") as s:
        read_all(s)
    assert "switch its TLS on" in doors.relay.wait_event("tls-failed")[0]["remedy"]


def test_who_only_looks_whether_the_port_is_open_is_not_told_of(doors, pairs):
    connect(doors.ports["implicit"]).close()
    starttls(doors.ports["offered"], trusting(pairs)).close()
    assert not doors.relay.events("tls-failed")


# --- the certificate that the relay makes ------------------------------------------------------------------------------

def test_a_certificate_is_made_after_the_first_greeting_and_devices_can_check_it(make_relay, sim):
    relay = make_relay(sim, start=False)
    relay.settings["listen"][0]["tls"] = "offered"
    relay.start()
    wait_made(relay)
    folder = relay.spool / "var/tls"
    assert sorted(p.name for p in folder.iterdir()) == ["ca-private.pem", "ca.der", "ca.pem", "server.pem"]
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in folder.iterdir())
    assert relay.events("certificate-made")[0]["ca"] == str(folder / "ca.pem")
    subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "relay.test", "-CAfile", folder / "ca.pem",
                    folder / "server.pem"], check=True, capture_output=True)
    der = subprocess.run(["openssl", "x509", "-inform", "DER", "-in", folder / "ca.der"], check=True, capture_output=True).stdout
    assert der == (folder / "ca.pem").read_bytes()
    text = subprocess.run(["openssl", "x509", "-noout", "-text", "-in", folder / "server.pem"], check=True, capture_output=True,
                          text=True).stdout
    for words in ("CN = relay.test", "DNS:relay.test", "IP Address:127.0.0.1", "sha256WithRSAEncryption", "Public-Key: (2048 bit)"):
        assert words in text
    for name in ("relay.test", "127.0.0.1"):
        context = ssl.create_default_context(cafile=folder / "ca.pem")
        s = connect(relay.port)
        s.recv(1000)
        assert talk(s, b"STARTTLS\r\n").startswith(b"220 ")
        with context.wrap_socket(s, server_hostname=name) as tls:
            left = ssl.cert_time_to_seconds(tls.getpeercert()["notAfter"]) - ssl.cert_time_to_seconds(tls.getpeercert()["notBefore"])
            assert left <= 826 * harness.DAY
    relay.send(make_mail())
    sim.wait_messages(1)


def test_the_certificate_is_kept_and_made_again_for_another_name_or_by_its_end_with_the_same_ca(make_relay, sim):
    relay = make_relay(sim, start=False)
    relay.settings["listen"][0]["tls"] = "offered"
    relay.start()
    wait_made(relay)
    folder = relay.spool / "var/tls"
    ca, server = (folder / "ca.pem").read_bytes(), (folder / "server.pem").read_bytes()
    relay.reload()
    relay.wait_event("reloaded")
    wait_until(lambda: "certificate" not in relay.pids(), 30, "the look at the certificate")
    assert (folder / "server.pem").read_bytes() == server
    relay.reload(hostname="other.test")
    relay.wait_event("certificate-made", 2, timeout=60)
    assert (folder / "ca.pem").read_bytes() == ca and (folder / "server.pem").read_bytes() != server
    (folder / "server.pem").write_text("damaged")
    relay.reload()
    relay.wait_event("certificate-made", 3, timeout=60)
    subprocess.run(["openssl", "verify", "-verify_hostname", "other.test", "-CAfile", folder / "ca.pem", folder / "server.pem"],
                   check=True, capture_output=True)


def test_the_certificate_is_made_again_thirty_days_before_its_end(sim, make_relay):
    relay = make_relay(sim, start=False, clock=True)
    relay.settings["listen"][0]["tls"] = "offered"
    relay.start()
    wait_made(relay)
    relay.clock.set_wall(796 * harness.DAY)
    relay.clock.forward(13 * 3600)
    relay.wait_event("certificate-made", 2, timeout=60)


def test_a_death_over_the_certificate_is_told_and_it_is_made_ten_minutes_later(sim, make_relay):
    relay = make_relay(sim, start=False, clock=True)
    relay.may_die = True
    relay.settings["listen"][0]["tls"] = "offered"
    for n in range(1, 6):  # it may be made before the signal comes
        relay.start(wait=False)
        harness.kill(wait_until(lambda: relay.pids().get("certificate"), 10, "the process that makes it", step=0.001), signal.SIGABRT)
        wait_until(lambda: len(relay.events("worker-died") + relay.events("certificate-made")) == n, 30, "its end")
        if relay.events("worker-died"):
            break
        relay.stop()
        shutil.rmtree(relay.spool / "var/tls")
    died, = relay.events("worker-died")
    assert (died["worker"], died["signal"]) == ("certificate", "6")
    relay.clock.forward(601)
    relay.wait_event("certificate-made", n, timeout=60)


def test_the_next_look_at_the_certificate_is_counted_from_the_last_ones_beginning(sim, make_relay):
    relay = make_relay(sim, start=False, clock=True)
    relay.settings["listen"][0]["tls"] = "offered"
    relay.start(wait=False)
    first = wait_until(lambda: relay.pids().get("certificate"), 10, "the process that makes it", step=0.001)
    harness.kill(first, signal.SIGSTOP)
    relay.process.send_signal(signal.SIGSTOP)
    relay.clock.forward(13 * 3600)
    harness.kill(first, signal.SIGCONT)
    wait_until(lambda: not harness.alive(first), 60, "the end of the first look")
    (relay.spool / "var/tls/server.pem").write_text("damaged")
    relay.process.send_signal(signal.SIGCONT)
    relay.wait_event("certificate-made", 2, timeout=60)


def test_a_certificate_of_a_clock_that_ran_ahead_is_made_again_but_not_by_one_that_may_be_late(sim, make_relay):
    relay = make_relay(sim, start=False, clock=True)
    relay.settings["listen"][0]["tls"] = "offered"
    relay.clock.set_wall(400 * harness.DAY)
    relay.start()
    wait_made(relay)
    relay.stop()
    folder = relay.spool / "var/tls"
    kept = (folder / "ca.pem").read_bytes(), (folder / "server.pem").read_bytes()
    relay.clock.set_wall(-400 * harness.DAY)
    relay.start()
    relay.reload()
    relay.wait_event("reloaded")
    wait_until(lambda: "certificate" not in relay.pids(), 30, "the look at the certificate")
    wait_until(lambda: len(relay.events("worker-ended")) >= 5, 10, "the listener of before the reload to end")
    assert kept == ((folder / "ca.pem").read_bytes(), (folder / "server.pem").read_bytes())
    relay.clock.forward(13 * 3600)
    relay.wait_event("certificate-made", 2, timeout=60)
    assert kept[0] != (folder / "ca.pem").read_bytes()
    subprocess.run(["openssl", "verify", "-verify_hostname", "relay.test", "-attime", str(int(relay.clock.wall())),
                    "-CAfile", folder / "ca.pem", folder / "server.pem"], check=True, capture_output=True)


def test_required_takes_no_mail_while_there_is_no_certificate(make_relay, sim):
    relay = make_relay(sim, start=False)
    relay.settings["listen"][0]["tls"] = "required"
    relay.start()
    wait_made(relay)
    relay.stop()
    (relay.spool / "var/tls/server.pem").unlink()
    (relay.spool / "var/tls").rename(relay.spool / "var/aside")
    (relay.spool / "var/tls").write_text("in the way")
    relay.start()
    relay.wait_event("certificate-failed")
    with raw(relay) as s:
        assert b"STARTTLS" not in talk(s, b"EHLO x\r\n")
        assert talk(s, b"STARTTLS\r\n").startswith(b"454 4.7.0")
        assert talk(s, b"MAIL FROM:<printer@contoso.com>\r\n").startswith(b"530")


@needs.root("changing to another user")
def test_the_certificate_is_made_as_the_workers_user_and_a_key_is_read_as_them(sim, make_relay, pairs, tmp_path):
    relay = make_relay(sim, start=False, user="nobody")
    harness.let_others_enter(tmp_path)
    shutil.chown(relay.dir / "client-secret", "nobody")
    relay.settings["listen"][0]["tls"] = "offered"
    relay.start()
    wait_made(relay)
    assert {p.owner() for p in (relay.spool / "var/tls").iterdir()} == {"nobody"}
    key = shutil.copy(pairs / "rsa.key", tmp_path / "tls.key")
    relay.reload(tls={"certificate": str(shutil.copy(pairs / "rsa.crt", tmp_path / "tls.crt")), "key": str(key)})
    relay.wait_event("reload-refused")
    assert f"user nobody cannot read {key}" in relay.log()
