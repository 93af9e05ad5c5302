"""The simulator itself, against Python's own clients: what it answers must be what Microsoft 365 answers."""

import base64
import hashlib
import http.client
import json
import re
import smtplib
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

import harness
from harness import CLIENT_ID, MAILBOX, SECRET, TENANT, wait_until

SCOPE = "https://outlook.office365.com/.default"


def context(sim):
    return ssl.create_default_context(cafile=sim.ca)


class Stay(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an answer."""

    def redirect_request(self, *args):
        return None


def post_token(sim, tenant=TENANT, path="/oauth2/v2.0/token", follow=True, **fields):
    form = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": SECRET, "scope": SCOPE}
    form.update(fields)
    data = urllib.parse.urlencode({k: v for k, v in form.items() if v is not None}).encode()
    request = urllib.request.Request(f"https://127.0.0.1:{sim.login_port}/{tenant}{path}", data)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context(sim)), *([] if follow else [Stay]))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.status, dict(answer.headers), answer.read()


def token(sim, **fields):
    status, _, body = post_token(sim, **fields)
    assert status == 200, body
    return json.loads(body)["access_token"]


def xoauth2(user, bearer):
    return base64.b64encode(f"user={user}\1auth=Bearer {bearer}\1\1".encode()).decode()


def connect(sim, port=None, tls=True):
    client = smtplib.SMTP("127.0.0.1", port or sim.smtp_port, local_hostname="relay.test", timeout=60)
    client.ehlo()
    if tls:
        client._host = "localhost"
        client.starttls(context=context(sim))
        client.ehlo()
    return client


def authenticate(client, bearer, user=MAILBOX):
    code, text = client.docmd("AUTH", "XOAUTH2")
    assert (code, text) == (334, b"")
    return client.docmd(xoauth2(user, bearer))


def logged_in(sim, user=MAILBOX, scope=SCOPE):
    client = connect(sim)
    assert authenticate(client, token(sim, scope=scope), user)[0] == 235
    return client


def submit(client, content, sender=MAILBOX, recipient="boss@contoso.com", parameters=()):
    code, text = client.mail(sender, parameters)
    if code != 250:
        return code, text
    code, text = client.rcpt(recipient)
    if code != 250:
        return code, text
    code, text = client.docmd("DATA")
    if code != 354:
        return code, text
    client.send(harness.stuffed(content) + b".\r\n")
    return client.getreply()


# --- login host --------------------------------------------------------------------------------------------------------

def test_token_is_shaped_as_microsofts(sim):
    status, headers, body = post_token(sim)
    answer = json.loads(body)
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    assert answer["token_type"] == "Bearer" and answer["expires_in"] == 3599 == answer["ext_expires_in"]
    header, claims, _ = answer["access_token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert 1500 < len(answer["access_token"]) < 1700
    assert claims["aud"] == "https://outlook.office365.com" and claims["roles"] == ["SMTP.SendAsApp"]
    assert claims["exp"] - time.time() == pytest.approx(3599, abs=5)


@pytest.mark.parametrize("label, change, status, error, number, fragment", [
    ("wrong secret", dict(client_secret="x"), 401, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret"),
    ("no secret", dict(client_secret=None), 401, "invalid_client", 7000218, "'client_assertion' or 'client_secret'"),
    ("wrong app", dict(client_id="0"), 400, "unauthorized_client", 700016, "'0' was not found in the directory"),
    ("no such tenant", dict(tenant="nowhere.test"), 400, "invalid_request", 90002, "Tenant 'nowhere.test' not found"),
    ("common", dict(tenant="common"), 400, "invalid_request", 50194, "/common endpoint is not supported"),
    ("scope without .default", dict(scope="https://outlook.office.com/SMTP.Send"), 400, "invalid_scope", 1002012, "/.default suffixed"),
    ("scope that is no resource", dict(scope="smtp"), 400, "invalid_scope", 70011, "The scope smtp is not valid"),
    ("unknown resource", dict(scope="https://example.com/.default"), 400, "invalid_resource", 500011, "https://example.com"),
    ("no grant", dict(grant_type=None), 400, "invalid_request", 900144, "'grant_type'"),
    ("another grant", dict(grant_type="password"), 400, "unsupported_grant_type", 70003, "unsupported grant type 'password'"),
])
def test_token_refusals(sim, label, change, status, error, number, fragment):
    got, _, body = post_token(sim, **change)
    answer = json.loads(body)
    assert (got, answer["error"], answer["error_codes"]) == (status, error, [number]), label
    assert answer["error_description"].startswith(f"AADSTS{number}: ") and fragment in answer["error_description"]
    assert re.search(r"Trace ID: \S{36} Correlation ID: \S{36} Timestamp: \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$", answer["error_description"])
    assert answer["trace_id"] in answer["error_description"] and answer["correlation_id"] in answer["error_description"]
    assert answer["error_uri"].endswith(f"code={number}") and answer["timestamp"]
    assert sim.stats()["token_refusals"] == 1


def test_other_paths_and_methods(sim):
    assert post_token(sim, path="/oauth2/token")[0] == 404
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"https://127.0.0.1:{sim.login_port}/{TENANT}/oauth2/v2.0/token", context=context(sim))
    assert caught.value.code == 405


def test_login_faults(sim):
    sim.faults("login status 503 times=1", "login retry-after 60 times=1", "login html times=1", "login error 7000222 times=1",
               "login empty times=1", "login redirect https://example.com/ times=1", "login strings times=1")
    assert post_token(sim)[0] == 503
    status, headers, body = post_token(sim)
    assert (status, headers["Retry-After"], body) == (429, "60", b"Too Many Requests")
    assert b"<!DOCTYPE html>" in post_token(sim)[2]
    assert json.loads(post_token(sim)[2])["error_codes"] == [7000222]
    assert post_token(sim)[2] == b""
    status, headers = post_token(sim, follow=False)[:2]
    assert (status, headers["Location"]) == (302, "https://example.com/")
    assert json.loads(post_token(sim)[2])["expires_in"] == "3599"
    sim.faults("login cut-json times=1", "login half times=1")
    with pytest.raises(json.JSONDecodeError):
        json.loads(post_token(sim)[2])
    with pytest.raises(http.client.IncompleteRead):
        post_token(sim)
    assert json.loads(post_token(sim)[2])["expires_in"] == 3599


def test_login_connection_faults(sim):
    for rule in ("login cut times=1", "login reset times=1", "login garbage times=1", "login refuse times=1",
                 "login cert wrong-name times=1", "login cert expired times=1", "login cert untrusted times=1"):
        sim.faults(rule)
        with pytest.raises(Exception) as caught:
            post_token(sim)
        assert not isinstance(caught.value, AssertionError), rule
        assert post_token(sim)[0] == 200, rule
        assert sim.used(rule) == 1
    sim.faults("login delay 300")
    start = time.monotonic()
    assert post_token(sim)[0] == 200 and time.monotonic() - start >= 0.3


def test_login_down_refuses_and_comes_back_on_its_port(sim):
    sim.faults("login down")
    with pytest.raises(OSError):
        post_token(sim)
    harness.wait_until(lambda: refused(sim.login_port), 5, "a refused connection")
    sim.clear()
    harness.wait_until(lambda: not refused(sim.login_port), 5, "connections again")
    assert post_token(sim)[0] == 200


def refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return False
    except ConnectionRefusedError:
        return True


# --- identity services of a machine -----------------------------------------------------------------------------------

def ask_identity(sim, front, metadata="true", authorization=None, method=None, path="/metadata/identity/oauth2/token", **query):
    query = {"api-version": "2020-06-01", "resource": "https://outlook.office365.com/"} | query
    query = urllib.parse.urlencode({k: v for k, v in query.items() if v is not None})
    headers = {k: v for k, v in (("Metadata", metadata), ("Authorization", authorization)) if v is not None}
    request = urllib.request.Request(f"http://127.0.0.1:{sim.ports[front]}{path}?{query}", headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.headers, answer.read()


def arc_key(sim):
    """The key that Arc's challenge names, and its file."""
    status, headers, body = ask_identity(sim, "arc")
    path = headers["WWW-Authenticate"].removeprefix("Basic realm=")
    assert status == 401 and body == b"" and re.fullmatch(r"/var/opt/azcmagent/tokens/[0-9a-f-]{36}\.key", path)
    file = sim.dir / path.removeprefix("/var/opt/")
    assert file.stat().st_mode & 0o777 == 0o640
    return file.read_text(), file


def test_an_identitys_token_is_shaped_as_microsofts(sim):
    status, headers, body = ask_identity(sim, "imds", client_id=CLIENT_ID)
    answer = json.loads(body)
    assert status == 200 and headers["Content-Type"].startswith("application/json")
    assert answer["token_type"] == "Bearer" and answer["resource"] == "https://outlook.office365.com/"
    assert answer["expires_in"] == "86399" and int(answer["expires_on"]) - int(answer["not_before"]) == 86399
    claims = json.loads(base64.urlsafe_b64decode(answer["access_token"].split(".")[1] + "=="))
    assert claims["aud"] == "https://outlook.office365.com/" and claims["roles"] == ["SMTP.SendAsApp"]
    with connect(sim) as client:
        assert authenticate(client, answer["access_token"])[0] == 235


@pytest.mark.parametrize("label, change, status, error, fragment", [
    ("no header", dict(metadata=None), 400, "bad_request_102", "Required metadata header not specified"),
    ("an empty header", dict(metadata=""), 400, "bad_request_102", "Required metadata header not specified"),
    ("a capital", dict(metadata="True"), 400, "bad_request_102", "Required metadata header not specified"),
    ("no version", {"api-version": None}, 400, "invalid_request", "api-version"),
    ("a version of before", {"api-version": "2017-12-01"}, 400, "invalid_request", "api-version"),
    ("no resource", dict(resource=None), 400, "invalid_request", "'resource'"),
    ("unknown resource", dict(resource="https://example.com/"), 400, "invalid_resource", "named https://example.com/ was not found"),
    ("unknown identity", dict(client_id=TENANT), 400, "invalid_request", "Identity not found"),
])
def test_refusals_of_an_identity_service(sim, label, change, status, error, fragment):
    got, _, body = ask_identity(sim, "imds", **change)
    answer = json.loads(body)
    assert (got, answer["error"]) == (status, error) and fragment in answer["error_description"], label
    assert sim.stats()["token_refusals"] == 1 and sim.stats()["tokens_issued"] == 0


def test_an_identity_service_knows_one_path_and_get(sim):
    assert ask_identity(sim, "imds", path="/metadata/instance")[0] == 404
    assert ask_identity(sim, "imds", method="PUT")[0] == 405


def test_of_several_identities_one_must_be_named(sim):
    (sim.dir / "app").mkdir()
    (sim.dir / "app/identities").write_text(f"{CLIENT_ID}\n00000000-0000-0000-0000-000000000001\n")
    assert b"Multiple user assigned identities" in ask_identity(sim, "imds")[2]
    assert ask_identity(sim, "imds", client_id=CLIENT_ID)[0] == 200
    (sim.dir / "app/identities").write_text("")
    assert b"Identity not found" in ask_identity(sim, "imds", client_id=CLIENT_ID)[2]


def test_arc_wants_a_key_from_a_file_each_time(sim):
    assert json.loads(ask_identity(sim, "arc", metadata=None)[2])["error"] == "bad_request_102"
    key, file = arc_key(sim)
    assert ask_identity(sim, "arc", authorization=f"Basic {key[:-1]}0.")[0] == 401
    assert ask_identity(sim, "arc", authorization=f"Bearer {key}")[0] == 401
    status, _, body = ask_identity(sim, "arc", metadata="True", authorization=f"Basic {key}")
    assert status == 200 and json.loads(body)["resource"] == "https://outlook.office365.com/"
    assert not file.exists() and ask_identity(sim, "arc", authorization=f"Basic {key}")[0] == 401


def test_of_arcs_keys_only_the_last_are_good(sim):
    keys = [arc_key(sim) for _ in range(17)]
    assert [file.exists() for _, file in keys] == [False] + [True] * 16
    assert [ask_identity(sim, "arc", authorization=f"Basic {key}")[0] for key, _ in keys] == [401] + [200] * 16


# --- submission --------------------------------------------------------------------------------------------------------

COMMON = {"size": "157286400", "pipelining": "", "dsn": "", "enhancedstatuscodes": "", "8bitmime": "", "binarymime": "",
          "chunking": "", "smtputf8": ""}


def test_banner_and_ehlo_lists(sim):
    with socket.create_connection(("127.0.0.1", sim.smtp_port)) as s:
        assert re.match(rb"220 \S+ Microsoft ESMTP MAIL Service ready at \w{3}, \d+ \w{3} \d{4} [\d:]+ \+0000 \[[0-9A-F]{16}\]\r\n$", s.recv(500))
    client = connect(sim, tls=False)
    assert client.esmtp_features == {**COMMON, "starttls": ""}
    assert b"Hello [127.0.0.1]" in client.ehlo_resp
    client.close()
    client = connect(sim)
    auth = client.esmtp_features.pop("auth").split()
    assert auth == ["LOGIN", "XOAUTH2"] and client.esmtp_features == COMMON
    client.quit()


def test_order_is_enforced(sim):
    client = smtplib.SMTP("127.0.0.1", sim.smtp_port, timeout=10)
    assert client.docmd("MAIL", "FROM:<a@b.c>")[:1] == (503,)
    client.ehlo()
    assert client.docmd("MAIL", "FROM:<a@b.c>")[1].startswith(b"5.7.3 STARTTLS is required to send mail")
    assert client.docmd("AUTH", "XOAUTH2")[0] == 451
    client._host = "localhost"
    client.starttls(context=context(sim))
    code, text = client.docmd("MAIL", "FROM:<a@b.c>")
    assert (code, text.startswith(b"5.5.2 Send hello first")) == (503, True)
    client.ehlo()
    code, text = client.docmd("MAIL", "FROM:<a@b.c>")
    assert (code, text.startswith(b"5.7.57 Client not authenticated to send mail. [")) == (530, True)
    code, text = client.docmd("AUTH", "PLAIN AGEAYg==")
    assert (code, text.startswith(b"5.7.4 Unrecognized authentication type")) == (504, True)
    assert authenticate(client, token(sim))[0] == 235
    assert client.docmd("RCPT", "TO:<a@b.c>")[0] == 503
    assert client.docmd("DATA")[0] == 503
    assert client.docmd("VRFY", "x")[1].startswith(b"5.3.3 Unrecognized command 'VRFY'")
    assert client.docmd("MAIL", "FROM:a@b.c")[0] == 501
    assert client.docmd("MAIL", "FROM:<a@b.c> FOO=1")[0] == 501
    assert client.docmd("MAIL", "FROM:<a@b.c> SIZE=157286401")[0] == 552
    client.quit()
    assert sim.stats()["auth_plaintext"] == 1


def test_certificate_is_checked_by_the_clients_rules(sim):
    for name in ("localhost", "smtp.office365.com"):
        with socket.create_connection(("127.0.0.1", sim.login_port)) as s:
            context(sim).wrap_socket(s, server_hostname=name).close()
    for identity in ("wrong-name", "expired", "not-yet", "untrusted", "unknown-ca", "no-chain", "weak-key", "weak-hash"):
        sim.faults(f"handshake cert {identity}")
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(sim)
    sim.faults("handshake tls-max 1.1")
    with pytest.raises(ssl.SSLError):
        connect(sim)
    # The last client was gone before the simulator had counted it.
    wait_until(lambda: sim.stats()["tls_failures"] >= 9, 10, "all nine to be counted")


def test_message_is_stored_untouched_with_its_envelope(sim):
    content = b"Message-ID: <one@printer>\r\nSubject: dots\r\n\r\n.one\r\n..two\r\n.\r\n. \r\n8: \xe4\r\n"
    client = logged_in(sim)
    code, text = submit(client, content, parameters=[f"SIZE={len(content)}", "BODY=8BITMIME"])
    assert (code, text) == (250, b"2.0.0 OK <one@printer> [Hostname=SIM] Queued mail for delivery")
    client.quit()
    message, = sim.messages()
    assert message.content == content and message["size"] == len(content)
    assert message["sha256"] == hashlib.sha256(content).hexdigest()
    assert message["tls"] == "TLSv1.3" and message["mechanism"] == "XOAUTH2" and message["user"] == MAILBOX
    assert message["mail_from"] == MAILBOX and message["rcpt"] == ["boss@contoso.com"] and message["verb"] == "DATA"
    assert message["mail_params"] == [f"SIZE={len(content)}", "BODY=8BITMIME"] and message["helo"] == "relay.test"
    assert message["reply"].startswith("250 2.0.0 OK") and message["front"] == "smtp" and message["number"] == 1
    wait_until(lambda: sim.stats()["connections"]["smtp"]["now"] == 0, 10, "the connection to be closed")
    stats = sim.stats()
    assert stats["messages"] == 1 and stats["auth_ok"] == 1 and stats["undeclared_8bit"] == 0 and stats["bare_lf"] == 0
    assert stats["connections"]["smtp"] == {"now": 0, "peak": 1, "total": 1}


def test_bdat_in_chunks_and_pipelined(sim):
    content = harness.make_mail(body=b".\r\n..\r\nline\r\n" * 5000)
    client = logged_in(sim)
    cut = 1000
    client.send(f"MAIL FROM:<{MAILBOX}>\r\nRCPT TO:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nBDAT {cut}\r\n".encode() + content[:cut]
                + f"BDAT {len(content) - cut} LAST\r\n".encode() + content[cut:])
    assert [client.getreply()[0] for _ in range(5)] == [250] * 5
    client.send(f"MAIL FROM:<>\r\nRCPT TO:<a@b.c>\r\nBDAT {len(content)}\r\n".encode() + content + b"BDAT 0 LAST\r\n")
    assert [client.getreply()[0] for _ in range(4)] == [250] * 4
    client.send(b"BDAT 3 LAST\r\nabc")
    assert client.getreply()[0] == 503
    client.quit()
    one, two = sim.messages()
    assert one.content == two.content == content
    assert one["verb"] == "BDAT" and one["chunks"] == 2 and one["rcpt"] == ["a@b.c", "d@e.f"] and two["mail_from"] == ""


def test_large_message_is_streamed(sim):
    content = harness.make_mail(body=(b"y" * 998 + b"\r\n") * 150_000)
    client = logged_in(sim)
    assert submit(client, content)[0] == 250
    memory = re.search(r"VmHWM:\s+(\d+)", harness.read_text(f"/proc/{sim.process.pid}/status"))
    assert sim.messages()[0]["sha256"] == hashlib.sha256(content).hexdigest()
    assert int(memory[1]) < 100_000, f"{memory[1]} kB for a message of {len(content)} bytes"


@pytest.mark.parametrize("label, body, counter", [
    ("a bare LF", b"one\ntwo\r\n", "bare_lf"),
    ("LF.LF does not end it", b"one\n.\ntwo\r\n", "bare_lf"),
    ("LF.CRLF does not end it", b"one\n.\r\nMAIL FROM:<evil@x>\r\n", "bare_lf"),
    ("a bare CR", b"one\rtwo\r\n", "bare_cr"),
    ("CR.CR does not end it", b"one\r.\rtwo\r\n", "bare_cr"),
])
def test_bare_line_ends_are_refused_and_counted(sim, label, body, counter):
    client = logged_in(sim)
    for verb in ("DATA", "BDAT"):
        client.mail(MAILBOX)
        client.rcpt("boss@contoso.com")
        content = b"Subject: x\r\n\r\n" + body
        if verb == "DATA":
            assert client.docmd("DATA")[0] == 354
            client.send(content + b".\r\n")
        else:
            client.send(f"BDAT {len(content)} LAST\r\n".encode() + content)
        code, text = client.getreply()
        assert (code, text.startswith(b"5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds")) == (550, True), label
    assert client.noop()[0] == 250
    assert sim.stats()[counter] == 2 and sim.messages() == []


def test_command_line_limit(sim):
    client = connect(sim)
    assert client.docmd("NOOP", "x" * 505)[0] == 250	# 512 with CRLF
    assert client.docmd("NOOP", "x" * 506)[1] == b"5.5.2 line too long"
    assert client.docmd("AUTH", "XOAUTH2 " + xoauth2(MAILBOX, token(sim)))[0] == 500
    assert authenticate(client, token(sim))[0] == 235
    assert sim.stats()["command_too_long"] == 2


def test_auth_with_initial_response(sim):
    sim.faults("tokens length 200")
    client = connect(sim)
    assert client.docmd("AUTH", "XOAUTH2 " + xoauth2(MAILBOX, token(sim)))[0] == 235


def test_auth_refusals(sim):
    good = token(sim)
    for label, user, bearer in [("another mailbox", "ceo@contoso.com", good), ("not ours", MAILBOX, good[:-4] + "AAAA"),
                                ("empty", MAILBOX, "")]:
        client = connect(sim)
        code, text = authenticate(client, bearer, user)
        assert (code, text.startswith(b"5.7.3 Authentication unsuccessful [")) == (535, True), label
        client.close()
    client = connect(sim)
    assert client.docmd("AUTH", "LOGIN")[1] == b"VXNlcm5hbWU6"
    assert client.docmd("eA==")[1] == b"UGFzc3dvcmQ6"
    assert b"basic authentication is disabled" in client.docmd("eA==")[1]
    client.docmd("AUTH", "XOAUTH2")
    assert client.docmd("*")[0] == 501
    assert sim.stats()["auth_failed"] == 5


@pytest.mark.parametrize("play, resource, code", [
    ("submission", "https://outlook.office365.com", 235), ("submission", "https://outlook.office.com", 235),
    ("submission", "https://communication.azure.com", 535), ("submission", "https://graph.microsoft.com", 535),
    ("hve", "https://outlook.office.com", 235), ("hve", "https://communication.azure.com", 535),
    ("acs", "https://communication.azure.com", 235), ("acs", "https://outlook.office365.com", 535)])
def test_a_server_takes_the_tokens_for_itself(make_sim, play, resource, code):
    sim = make_sim(play=play)
    reply = authenticate(connect(sim), token(sim, scope=f"{resource}/.default"))
    assert reply[0] == code and (code == 235 or reply[1].startswith(b"5.7.3 Authentication unsuccessful ["))


def test_a_user_sends_as_itself_and_those_who_allow_it(make_sim):
    client = logged_in(make_sim(send_as="floor-*@contoso.com"))
    for sender, author, code in ((MAILBOX, MAILBOX, 250), ("Scanner@Contoso.com", f"Scanner <{MAILBOX}>", 250),
                                 ("floor-1@contoso.com", '"Floor 2"\r\n <floor-2@contoso.com>', 250), ("", MAILBOX, 554),
                                 ("boss@contoso.com", MAILBOX, 554), (MAILBOX, "boss@contoso.com", 554),
                                 (MAILBOX, f'"{MAILBOX}" <boss@contoso.com>', 554)):
        reply = submit(client, harness.make_mail(sender=author), sender=sender)
        assert reply[0] == code and (code == 250 or reply[1].startswith(b"5.2.252 SendAsDenied; scanner@contoso.com not allowed")), reply
    client = logged_in(make_sim(play="acs", send_as=None), scope="https://communication.azure.com/.default")
    assert submit(client, harness.make_mail(sender="boss@contoso.com"), sender=MAILBOX)[1].startswith(b"5.1.7 The specified sender domain")


@pytest.mark.parametrize("play, limit", [("submission", 500), ("hve", 50)])
def test_too_many_recipients_are_told_at_the_end(make_sim, play, limit):
    client = logged_in(make_sim(play=play))
    for number, code in ((limit, 250), (limit + 1, 550)):
        assert client.mail(MAILBOX)[0] == 250
        assert all(client.rcpt(f"r{i}@contoso.com")[0] == 250 for i in range(number))
        assert client.docmd("DATA")[0] == 354
        client.send(harness.make_mail() + b".\r\n")
        reply = client.getreply()
        assert reply[0] == code and (code == 250 or reply[1].startswith(b"5.5.3 RESOLVER.ADR.RecipLimit")), reply


def test_an_mx_host_puts_off_the_201st_recipient(sim):
    client = connect(sim, sim.mx_port)
    assert client.mail(MAILBOX)[0] == 250
    assert [client.rcpt(f"r{i}@contoso.com")[0] for i in range(201)] == [250] * 200 + [452]


def test_auth_login(make_sim):
    sim = make_sim(basic_user="scan@contoso.com", basic_password="pw")
    client = connect(sim)
    with pytest.raises(smtplib.SMTPAuthenticationError, match="the user credentials were incorrect"):
        client.login("scan@contoso.com", "wrong")
    client = connect(sim)
    assert client.login("scan@contoso.com", "pw")[0] == 235
    assert submit(client, harness.make_mail())[0] == 250
    assert sim.messages()[0]["mechanism"] == "LOGIN"


def test_tokens_expire_and_are_revoked(make_sim):
    sim = make_sim(clock=True)
    sim.faults("tokens expire-in 60")
    short = token(sim)
    assert authenticate(connect(sim), short)[0] == 235
    sim.clock.forward(61)
    assert authenticate(connect(sim), short)[0] == 535
    sim.clear()
    old = token(sim)
    sim.faults("tokens revoke-all")
    assert authenticate(connect(sim), old)[0] == 535
    assert authenticate(connect(sim), token(sim))[0] == 235
    sim.faults("tokens valid-for 60")
    aging = token(sim)
    assert authenticate(connect(sim), aging)[0] == 235
    sim.clock.forward(61)
    assert authenticate(connect(sim), aging)[0] == 535


def test_tokens_and_trust_survive_a_crash(sim):
    old, ports, ca = token(sim), sim.ports, open(sim.ca).read()
    client = logged_in(sim)
    assert submit(client, harness.make_mail())[0] == 250
    sim.crash()
    sim.start()
    assert sim.ports == ports and open(sim.ca).read() == ca
    client = connect(sim)
    assert authenticate(client, old)[0] == 235
    assert submit(client, harness.make_mail())[0] == 250
    assert [m["number"] for m in sim.messages()] == [1, 2]


def test_json_334_form(sim):
    sim.faults("auth json-334")
    client = connect(sim)
    code, text = authenticate(client, "x.y.z")
    assert code == 334 and json.loads(base64.b64decode(text))["status"] == "400"
    assert client.docmd("")[0] == 535
    assert authenticate(client, token(sim))[0] == 235


def test_mx_front_takes_mail_without_auth(sim):
    client = connect(sim, sim.mx_port, tls=False)
    assert client.esmtp_features == {**COMMON, "starttls": ""}
    code, text = submit(client, harness.make_mail())
    assert code == 250 and b"Queued mail for delivery" in text
    client = connect(sim, sim.mx_port)
    assert client.esmtp_features == COMMON
    assert submit(client, harness.make_mail())[0] == 250
    assert [(m["front"], m["tls"], m["user"]) for m in sim.messages()] == [("mx", None, None), ("mx", "TLSv1.3", None)]


# --- faults ------------------------------------------------------------------------------------------------------------

def test_reply_at_each_stage(sim):
    bearer = token(sim)
    sim.faults("auth reply 535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. times=1")
    assert b"SmtpClientAuthentication" in authenticate(connect(sim), bearer)[1]
    for stage, code in [("mail", 550), ("rcpt", 451), ("data", 452), ("final-dot", 554)]:
        sim.faults(f"{stage} reply {code} 5.9.9 as told times=1")
        client = logged_in(sim)
        assert submit(client, harness.make_mail()) == (code, b"5.9.9 as told"), stage
        client.rset()
        assert submit(client, harness.make_mail())[0] == 250
        client.quit()
    assert len(sim.messages()) == 4
    sim.faults("banner reply 421 4.3.2 Service not available times=1")
    with pytest.raises(smtplib.SMTPConnectError):
        connect(sim)
    sim.faults("ehlo reply 502 no times=1", "quit reply 421 4.0.0 no times=1")
    client = connect(sim, tls=False)
    assert client.ehlo_resp == b"no" and client.ehlo()[0] == 250
    assert client.quit()[0] == 421


def test_bdat_refused_where_data_works(sim):
    sim.faults("bdat reply 552 5.3.4 Header size exceeds fixed maximum size")
    client = logged_in(sim)
    content = harness.make_mail()
    client.mail(MAILBOX)
    client.rcpt("a@b.c")
    client.send(f"BDAT {len(content)} LAST\r\n".encode() + content)
    assert client.getreply() == (552, b"5.3.4 Header size exceeds fixed maximum size")
    client.rset()
    assert submit(client, content)[0] == 250


def test_rules_by_address_front_count_and_order(sim):
    sim.faults("rcpt=*@bad.test reply 550 5.1.10 no", "mail!=scanner@* reply 550 5.7.60 not yours",
               "mx:rcpt reply 451 4.0.0 later after=1 times=1")
    client = logged_in(sim)
    assert submit(client, harness.make_mail(), sender="x@contoso.com")[1] == b"5.7.60 not yours"
    assert submit(client, harness.make_mail(), recipient="a@BAD.test")[1] == b"5.1.10 no"
    client.rset()
    assert submit(client, harness.make_mail())[0] == 250
    client = connect(sim, sim.mx_port, tls=False)
    assert [submit(client, harness.make_mail())[0]] == [250]
    assert submit(client, harness.make_mail())[0] == 451
    client.rset()
    assert submit(client, harness.make_mail())[0] == 250


def test_ehlo_list_can_be_changed(sim):
    sim.faults("ehlo without CHUNKING PIPELINING XOAUTH2", "ehlo with X-TEST 1")
    client = connect(sim)
    assert client.esmtp_features["auth"].split() == ["LOGIN"] and "chunking" not in client.esmtp_features
    assert "x-test" in client.esmtp_features
    assert client.docmd("AUTH", "XOAUTH2")[0] == 504
    assert client.docmd("BDAT", "0 LAST")[0] == 501


def test_cuts(sim):
    content = harness.make_mail(body=b"z" * 76 + b"\r\n" * 20000)
    for rule, kept in [("content cut-after 25%", 0), ("content cut-after 1000", 0), ("final-dot cut", 0), ("final-dot reset", 0),
                       ("mail cut", 0), ("rcpt cut", 0), ("data cut", 0), ("final-dot keep-cut", 1)]:
        before = len(sim.messages())
        sim.faults(rule + " times=1")
        client = logged_in(sim)
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            submit(client, content, parameters=[f"SIZE={len(content)}"])
            client.noop()
        client.close()
        assert len(sim.messages()) - before == kept, rule
        assert sim.used(rule + " times=1") == 1, rule
    assert sim.messages()[-1]["reply"] is None and sim.messages()[-1].content == content


def test_stalls_delays_and_slow(sim):
    sim.faults("banner delay 400 times=1")
    start = time.monotonic()
    connect(sim).quit()
    assert time.monotonic() - start >= 0.4
    for rule in ("banner stall", "ehlo stall"):
        sim.faults(rule + " times=1")
        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
            smtplib.SMTP("127.0.0.1", sim.smtp_port, timeout=0.5).ehlo()
    sim.faults("content slow 20000 times=1")
    client = logged_in(sim)
    start = time.monotonic()
    assert submit(client, harness.make_mail(body="x" * 70 + "\r\n" * 5000))[0] == 250
    assert time.monotonic() - start >= 0.4


def test_a_delay_ends_with_its_rule(sim):
    for end in (sim.clear, lambda: sim.faults("quit cut")):
        sim.faults("banner delay 60000")
        with socket.create_connection(("127.0.0.1", sim.smtp_port), 10) as s:
            wait_until(lambda: sim.used("banner delay 60000"), 10, "the banner's turn")
            end()
            assert s.recv(100).startswith(b"220 ")


def test_a_verdict_before_the_content_is_read(sim):
    content = harness.make_mail(body=b"x" * 76 + b"\r\n" * 1000)
    sim.faults("content reply 502 5.5.1 Command not implemented times=2")
    client = logged_in(sim)
    client.mail(MAILBOX)
    client.rcpt("a@b.c")
    client.send(f"BDAT {len(content)} LAST\r\n".encode())
    assert client.getreply()[0] == 502
    client.send(content)
    client.mail(MAILBOX)
    client.rcpt("a@b.c")
    client.docmd("DATA")
    assert client.getreply()[0] == 502
    client.send(harness.stuffed(content) + b".\r\n")
    assert submit(client, content)[0] == 250
    assert len(sim.wait_messages(1)) == 1


def test_a_line_behind_the_usual_answer(sim):
    sim.faults("rcpt extra 250 2.1.5 once more times=1")
    client = logged_in(sim)
    client.mail(MAILBOX)
    assert client.rcpt("a@b.c")[0] == 250
    assert client.getreply() == (250, b"2.1.5 once more")


def test_garbage_and_huge_lines(sim):
    sim.faults("garbage at banner times=1", "huge-line at ehlo times=1")
    with socket.create_connection(("127.0.0.1", sim.smtp_port), 5) as s:
        assert s.recv(100).startswith(b"\0\xff")
    with socket.create_connection(("127.0.0.1", sim.smtp_port), 5) as s:
        file = s.makefile("rb")
        assert file.readline().startswith(b"220")
        s.sendall(b"EHLO x\r\n")
        line = file.readline()
        assert line.startswith(b"250-") and len(line) == 100000


def test_half_a_reply_and_one_without_end(sim):
    sim.faults("half at banner times=1", "endless at ehlo times=1")
    with socket.create_connection(("127.0.0.1", sim.smtp_port), 5) as s:
        whole = s.makefile("rb").read()
        assert whole.startswith(b"220 SIM.outlook") and b"\r" not in whole
    with socket.create_connection(("127.0.0.1", sim.smtp_port), 5) as s:
        file = s.makefile("rb")
        file.readline()
        s.sendall(b"EHLO x\r\n")
        assert all(file.readline().startswith(b"250-") for _ in range(10000))
    sim.faults("mail half times=1")
    client = logged_in(sim)
    assert client.mail(MAILBOX) == (250, b"2.1.0")
    with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        client.noop()
    client.close()


def test_injected_text_before_the_handshake(sim):
    sim.faults(r"starttls reply 220 2.0.0 ready\n250 injected")
    with socket.create_connection(("127.0.0.1", sim.smtp_port), 5) as s:
        file = s.makefile("rb")
        file.readline()
        s.sendall(b"STARTTLS\r\n")
        assert (file.readline(), file.readline()) == (b"220 2.0.0 ready\r\n", b"250 injected\r\n")


def test_connect_faults(sim):
    sim.faults("smtp:connect refuse")
    harness.wait_until(lambda: refused(sim.smtp_port), 5, "a refused connection")
    connect(sim, sim.mx_port).quit()
    sim.clear()
    harness.wait_until(lambda: not refused(sim.smtp_port), 5, "connections again")
    connect(sim).quit()
    sim.faults("connect refuse times=2")
    for _ in range(2):
        with pytest.raises(OSError):
            connect(sim)
    connect(sim).quit()


def test_throttle_by_connections(sim):
    sim.faults("throttle connections 2")
    clients = [logged_in(sim) for _ in range(3)]
    assert [submit(c, harness.make_mail())[0] for c in clients] == [250, 250, 432]
    assert b"4.3.2 Concurrent connections limit exceeded" in submit(clients[2], harness.make_mail())[1]
    clients[0].quit()
    assert submit(clients[2], harness.make_mail())[0] == 250
    assert sim.stats()["authenticated_peak"] == 3 and sim.stats()["connections"]["smtp"]["peak"] == 3


def test_throttle_per_minute(sim):
    sim.faults("throttle per-minute 2")
    client = logged_in(sim)
    assert [submit(client, harness.make_mail())[0] for _ in range(3)] == [250, 250, 432]
    assert b"exceeded the message limit per account" in submit(client, harness.make_mail())[1]
    assert sim.stats()["throttled"] == 2


def test_throttle_per_day_slides(make_sim):
    """Each user has a day of their own."""
    sim = make_sim(clock=True, mailbox="*@contoso.com")
    sim.faults("throttle per-day 2")
    first, second = logged_in(sim), logged_in(sim, "second@contoso.com")
    assert [submit(first, harness.make_mail())[0] for _ in range(2)] == [250, 250]
    code, text = submit(first, harness.make_mail())
    assert code == 550 and b"5.1.90" in text and b"daily limit" in text
    assert submit(second, harness.make_mail())[0] == 250
    sim.clock.forward(harness.DAY - 600)
    assert submit(first, harness.make_mail())[0] == 550
    sim.clock.forward(601)
    assert submit(first, harness.make_mail())[0] == 250


def test_bad_rules_are_told(sim):
    for rule, fragment in [("mail explode", "unknown action 'explode'"), ("lunch cut", "unknown stage 'lunch'"),
                           ("mail refuse", "can't be done at 'mail'"), ("banner delay soon", "needs a number"),
                           ("mail reply no", "three digits"), ("hq:mail cut", "unknown front 'hq'"), ("mail", "unknown action")]:
        with pytest.raises(ValueError, match=re.escape(fragment)):
            sim.faults("mail cut times=1", rule)


def test_connections_are_counted_as_the_client_sees_them(sim):
    """Closing one and opening the next is never two at a time."""
    for _ in range(30):
        client = smtplib.SMTP("127.0.0.1", sim.smtp_port, timeout=10)
        client.close()
    assert sim.stats()["connections"]["smtp"]["peak"] == 1


def test_many_at_once(sim):
    bearer, errors = token(sim), []

    def work(i):
        try:
            client = connect(sim)
            assert authenticate(client, bearer)[0] == 235
            for j in range(5):
                assert submit(client, harness.make_mail(subject=f"{i}.{j}"))[0] == 250
            client.quit()
        except Exception as error:	# reported by the main thread
            errors.append(error)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len({re.search(rb"Subject: (\S+)", m.content)[1] for m in sim.messages()}) == 100


def test_log_holds_no_credentials(sim):
    bearer = token(sim)
    client = connect(sim)
    authenticate(client, bearer)
    submit(client, harness.make_mail(body="secret body"))
    client.quit()
    log = sim.log()
    assert "FROM:<scanner@contoso.com>" in log and "TLSv1.3" in log and "bytes>" in log
    for secret in (bearer, bearer[-20:], SECRET, xoauth2(MAILBOX, bearer)[:40], "secret body"):
        assert secret not in log


def test_sigterm_ends_it_with_connections_open(sim):
    client = logged_in(sim)
    sim.faults("banner stall")
    stalled = socket.create_connection(("127.0.0.1", sim.smtp_port), 5)
    half = socket.create_connection(("127.0.0.1", sim.login_port), 5)
    time.sleep(0.1)
    start = time.monotonic()
    sim.stop()
    assert time.monotonic() - start < 10
    for s in (stalled, half, client):
        s.close()


def test_port_in_use_is_told(sim, tmp_path):
    other = harness.Sim(tmp_path / "other")
    other.ports = dict(sim.ports)
    with pytest.raises(harness.HarnessError, match="can't listen on 127.0.0.1:"):
        other.start()


# --- what the other tests are told of ------------------------------------------------------------------------------------

def test_mistakes_of_the_daemon_are_told_at_a_restart_too(sim):
    with socket.create_connection(("127.0.0.1", sim.smtp_port), 5) as client:
        client.sendall(b"NOOP\n")
        client.recv(1000)
    sim.serves_daemon = True
    with pytest.raises(harness.HarnessError, match="mistakes in SMTP: {'lf_commands': 1}"):
        sim.restart()
    sim.serves_daemon = False


# --- the mail that the other tests send ---------------------------------------------------------------------------------

def test_scan_is_a_real_mail_with_a_real_pdf():
    import email
    pdf = harness.make_pdf(pages=3, size=200_000)
    message = email.message_from_bytes(harness.make_scan(pdf))
    text, attachment = message.get_payload()
    assert attachment.get_payload(decode=True) == pdf and attachment.get_filename() == "scan_0001.pdf"
    assert pdf.startswith(b"%PDF-1.4") and pdf.count(b"/Type /Page ") == 3 and pdf.endswith(b"%%EOF\n")
    start = int(re.search(rb"startxref\n(\d+)\n", pdf)[1])
    assert pdf[start:start + 5] == b"xref\n"
    for line in pdf[start:].split(b"\n")[3:-6]:
        assert pdf[int(line[:10]):][:12].split()[1:3] == [b"0", b"obj"], line


def test_trace_headers_are_told_from_changed_content():
    mail = harness.make_mail()
    assert harness.behind_trace(b"Received: from a\r\n\tby b\r\n" + mail, mail)
    assert not harness.behind_trace(b"X-New: 1\r\n" + mail, mail)
    assert not harness.behind_trace(b"Received: x\r\n" + mail[:-3] + b"!\r\n", mail)
    assert not harness.behind_trace(mail, mail)
