"""Who may send, and who must log in, as the daemon and those around it see it."""

import base64
import configparser
import json
import re
import smtplib
import socket
import time

import pytest

import harness
from harness import make_mail, wait_until

tells_it_to_reload = pytest.mark.skipif(harness.is_valgrind(), reason="by valgrind its process has another name; make check has it")

PASSWORD = "kopierraum7"
NOWHERE = {"routes": [{"recipients": ["*"], "via": ["nowhere"]}],
           "upstreams": [{"name": "nowhere", "kind": "smtp", "host": "127.0.0.1", "port": 9, "tls": "none"}]}


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    """A relay for a printer whose alerts go out by themselves, at 127.0.0.2, and for anna, who logs in wherever she is."""
    relay = harness.Relay(tmp_path_factory.mktemp("office"), **NOWHERE)
    relay.settings["devices"] = [
        {"name": "mfd", "address": "127.0.0.2", "auth": "optional", "recipients": "it@contoso.com", "senders": "*@contoso.com"},
        {"name": "vault", "address": "127.0.0.3", "auth": "required"},
        {"name": "anna", "user": "anna", "password": harness.password_hash(PASSWORD)}]
    relay.start()
    yield relay
    relay.stop()


def connect(relay, address):
    client = smtplib.SMTP(timeout=30, source_address=(address, 0))
    client.connect("127.0.0.1", relay.port)
    client.ehlo("device")
    return client


def log_line(relay, *words):
    """The first line of the log, once it is there, that has all of them."""
    return wait_until(lambda: next((line for line in relay.log().splitlines() if all(word in line for word in words)), None),
                      10, f"a line of the log with {words}")


def test_alerts_go_to_a_few_and_who_logs_in_sends_to_all(office):
    client = connect(office, "127.0.0.2")
    assert client.mail("mfd@contoso.com")[0] == 250
    assert client.rcpt("it@contoso.com")[0] == 250
    assert client.rcpt("bob@fabrikam.com") == (550, b"5.7.1 mfd may not send to bob@fabrikam.com without a login "
                                                    b"(devices.recipients)")
    assert client.data(make_mail())[0] == 250
    client.login("anna", PASSWORD)
    client.sendmail("anna@contoso.com", ["bob@fabrikam.com"], make_mail())
    client.quit()
    assert "device=mfd" in log_line(office, "listener accepted", "from=mfd@contoso.com")
    assert "device=anna" in log_line(office, "listener accepted", "user=anna")


def test_who_goes_on_without_a_login_is_told_in_the_log(office):
    client = connect(office, "127.0.0.3")
    client.mail("vault@contoso.com")
    assert client.rcpt("it@contoso.com") == (530, b"5.7.0 Authentication required")
    client.quit()
    assert "has not used it" in log_line(office, "listener refused", "peer=127.0.0.3", "530 5.7.0")

    client = connect(office, "127.0.0.2")
    assert client.docmd("AUTH", "CRAM-MD5")[0] == 504
    assert client.mail("mfd@contoso.com")[0] == 250
    client.quit()
    assert "remedy=" in log_line(office, "listener login-skipped", "device=mfd")


def test_where_nobody_may_log_in_the_log_says_so(sim, make_relay):
    relay = make_relay(sim, devices=[{"name": "vault", "address": "127.0.0.3", "auth": "required"},
                                     {"name": "anna", "user": "anna", "password": harness.password_hash(PASSWORD), "address": "127.0.0.4"}])
    client = connect(relay, "127.0.0.3")
    client.docmd("AUTH", "LOGIN")
    client.mail("vault@contoso.com")
    assert client.rcpt("it@contoso.com") == (530, b"5.7.0 Authentication required")
    client.quit()
    assert "no user in devices may come from there" in log_line(relay, "listener refused", "530 5.7.0")


def fail2ban_filter():
    """The filter's expression, as fail2ban has it: its <ADDR> is an address."""
    parser = configparser.RawConfigParser()
    assert parser.read(harness.ROOT / "contrib" / "fail2ban" / "mfdrelay.conf")
    return re.compile(parser["Definition"]["failregex"].replace("<ADDR>", r"(?P<host>[0-9a-fA-F.:]+)"))


def test_failed_logins_are_slow_and_fail2ban_reads_who_failed(office):
    client = connect(office, "127.0.0.9")
    start = time.monotonic()
    login = base64.b64encode(b'\0x" listener login-failed peer=192.0.2.1\0wrong').decode()
    assert client.docmd("AUTH PLAIN", login)[0] == 535
    assert time.monotonic() - start > 3
    client.close()
    line = log_line(office, "listener login-failed")
    told = re.sub(r"^\S+Z ", " ", line)  # fail2ban takes the time out
    regex = fail2ban_filter()
    for text in (told, "relay mfdrelay[812]: " + told.replace(" WARNING ", "")):
        assert regex.search(text)["host"] == "127.0.0.9", text
    others = [re.sub(r"^\S+Z ", " ", other) for other in office.log().splitlines() if "listener login-failed" not in other]
    assert others and not any(regex.search(other) for other in others)
    assert not regex.search(" WARNING listener refused peer=127.0.0.9 helo=\"listener login-failed peer=192.0.2.1 \"")
    with connect(office, "127.0.0.2") as other:
        other.login("anna", PASSWORD)
    counters = office.status()["counters"]
    assert counters["auth_failures"] >= 1 and counters["logins"] >= 1


@pytest.fixture(scope="module")
def growing(tmp_path_factory):
    """A relay that knows one device, at 127.0.0.2."""
    relay = harness.Relay(tmp_path_factory.mktemp("growing"), devices=[{"name": "first", "address": "127.0.0.2"}], **NOWHERE)
    relay.start()
    yield relay
    relay.stop()


def reply_to_rcpt(relay, address):
    client = connect(relay, address)
    client.mail("scan@contoso.com")
    reply = client.rcpt("it@contoso.com")
    client.close()
    return reply


@tells_it_to_reload
def test_allow_lets_a_device_in_at_once(growing):
    assert reply_to_rcpt(growing, "127.0.0.7")[0] == 550
    result = growing.cli("allow", "127.0.0.7", "--name", "mfd-hall")
    assert (result.returncode, result.stderr) == (0, "")
    file = growing.dir / "conf.d" / "mfd-hall.conf"
    assert str(file) in result.stdout and "the relay has reloaded" in result.stdout
    assert file.stat().st_mode & 0o777 == growing.config.stat().st_mode & 0o644
    wait_until(lambda: reply_to_rcpt(growing, "127.0.0.7")[0] == 250, 10, "the new listener")
    assert "127.0.0.7" in growing.cli("check", check=True).stdout


def test_allow_changes_nothing_where_it_is_not_sure(growing):
    def files():
        return {path.name: path.read_text() for path in (growing.dir / "conf.d").glob("*")}
    (growing.dir / "conf.d").mkdir(exist_ok=True)
    (growing.dir / "conf.d" / "odd.conf").write_text('devices = ( { name = "even"; address = "127.0.0.20"; } );')
    before = files()
    for arguments, says in [
            (["127.0.0.2", "--name", "second"], '127.0.0.2 is in devices already, as "first": change that entry'),
            (["127.0.0.8", "--name", "FIRST"], "there is a device of that name: choose another"),
            (["127.0.0.8", "--name", "odd"], "odd.conf is there already"),
            (["0.0.0.0/0", "--name", "all"], "would make an open relay")]:
        result = growing.cli("allow", *arguments)
        assert result.returncode == 1 and says in result.stderr and "nothing was changed" in result.stderr, result
    for arguments in (["127.0.0.8"], ["--name", "x"], ["scanner", "--name", "x"], ["127.0.0.8", "--name", "../x"],
                      ["127.0.0.8", "--name", ".x"]):
        assert growing.cli("allow", *arguments).returncode == 64, arguments
    growing.config.write_text(growing.config.read_text().replace("hostname", "hostnam"))
    result = growing.cli("allow", "127.0.0.8", "--name", "eighth")
    assert result.returncode == 1 and "the config has errors: correct them first" in result.stderr
    assert 'did you mean "hostname"?' in result.stderr
    growing.write_config()
    assert files() == before
    assert reply_to_rcpt(growing, "127.0.0.8")[0] == 550


@tells_it_to_reload
def test_allow_tells_when_the_relay_refuses_the_reload(growing):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        growing.write_config(listen=[{"address": "127.0.0.1", "port": port} for port in (growing.port, taken.getsockname()[1])])
        result = growing.cli("allow", "127.0.0.30", "--name", "thirtieth")
        growing.write_config(listen=[{"address": "127.0.0.1", "port": growing.port}])
    assert result.returncode == 1 and "the relay has not reloaded: it refuses the config" in result.stderr, result
    assert reply_to_rcpt(growing, "127.0.0.30")[0] == 550


def test_allow_says_what_is_wide_and_when_no_relay_runs(make_relay):
    relay = make_relay(start=False, **NOWHERE)
    result = relay.cli("allow", "10.4.0.0/16", "--name", "site")
    assert result.returncode == 0 and "the relay does not run" in result.stdout
    assert "lets 65536 addresses send; name smaller networks if you can" in result.stderr


def unknown(relay):
    return json.loads(relay.cli("unknown", "--json", check=True).stdout)


@tells_it_to_reload
def test_unknown_lists_who_was_refused_until_he_is_allowed(make_relay):
    relay = make_relay(devices=[{"name": "first", "address": "127.0.0.2"}], **NOWHERE)
    assert "no device was refused" in relay.cli("unknown", check=True).stdout
    reply_to_rcpt(relay, "127.0.0.2")
    for address in ("127.0.0.21", "127.0.0.22", "127.0.0.21"):
        reply = reply_to_rcpt(relay, address)[1].decode()
        assert f"{address} is not listed in devices" in reply
        assert "mfdrelay allow" in relay.cli("explain", "550", reply).stdout
        wait_until(lambda: [p["address"] for p in unknown(relay)][:1] == [address], 10, f"{address} in the list")
    newest, other = unknown(relay)
    assert newest["count"] == 2 and newest["helo"] == "device" and newest["sender"] == "scan@contoso.com"
    assert newest["recipient"] == "it@contoso.com" and other["address"] == "127.0.0.22"
    assert "3 recipients refused" in relay.cli("status").stdout
    table = relay.cli("unknown", check=True).stdout
    assert table.index("127.0.0.21") < table.index("127.0.0.22") and "mfdrelay allow ADDRESS --name NAME" in table

    relay.stop()
    assert unknown(relay) == [newest, other]
    relay.start()
    relay.cli("allow", "127.0.0.21", "--name", "found", check=True)
    assert unknown(relay) == [other]
