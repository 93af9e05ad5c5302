"""TLS on the side of the devices: STARTTLS, TLS from the first octet, old devices, and what is said to those that fail."""

import re
import smtplib
import socket
import ssl
import struct
import subprocess

import pytest

import harness
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


def test_a_client_hello_glued_to_starttls_is_served(doors, sim, pairs):
    hello, tls, inward, outward = hello_of(trusting(pairs))
    with raw(doors.relay) as s:
        s.sendall(b"STARTTLS\r\n" + hello)
        got = b""
        while not got.endswith(b"\r\n"):
            got += s.recv(1)
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


def test_a_client_hello_where_there_is_no_tls_is_told_in_the_log(doors, pairs):
    hello, *_ = hello_of(trusting(pairs))
    with connect(doors.ports["none"]) as s:
        assert s.recv(1000).startswith(b"220 ")
        s.sendall(hello)
        assert read_all(s) == b""
    said = doors.relay.wait_event("tls-unexpected")[0]
    assert said["peer"] == "127.0.0.1" and "switch TLS (SSL) off in the device" in said["remedy"]


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
