"""Sign-ins by device code: `mfdrelay login`, and what the sender makes of the refresh token."""

import re
import subprocess
import time

import pytest

import harness
import needs
from harness import DAY, binary, environment, make_mail, wait_until
from nameserver import NameServer

BY_DEVICE = {"client_secret": None, "grant": "device_code"}


@pytest.fixture
def relay(sim, make_relay):
    """One whose upstream wants a sign-in; it is not started."""
    (sim.dir / "app").mkdir()
    (sim.dir / "app/interval").write_text("1")
    relay = make_relay(sim, start=False, clock=True)
    relay.settings["upstreams"] = [relay.upstream(oauth=BY_DEVICE)]
    relay.write_config()
    relay.token_file = relay.spool / "var/sign-in.submission"
    return relay


def person(sim, does):
    (sim.dir / "app/sign-in").write_text(does)


def begin_login(relay):
    """mfdrelay login, up to the moment at which it shows the code."""
    process = subprocess.Popen([binary("mfdrelay"), "login", "submission", "-c", relay.config], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=environment())
    shown = ""
    while "The code is good for 15 minutes" not in shown:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        shown += line
    assert "https://microsoft.com/devicelogin" in shown and re.search(r"\n    [0-9A-F]{9}\n", shown)
    return process


def end_login(process):
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def sign_in(sim, relay):
    person(sim, "approved")
    status, out, err = end_login(begin_login(relay))
    assert status == 0, out + err
    return out


def test_a_held_upstream_goes_on_when_somebody_has_signed_in(sim, relay):
    relay.start()
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert "mfdrelay login submission" in held["text"]
    process = begin_login(relay)
    wait_until(lambda: sim.log().count("AADSTS70016") >= 2, 20, "two polls in vain")
    assert not relay.token_file.exists()
    person(sim, "approved")
    status, out, err = end_login(process)
    assert status == 0 and "Signed in for upstream submission" in out, out + err
    sim.wait_messages(1)
    assert relay.token_file.stat().st_mode & 0o777 == 0o600
    first = relay.token_file.read_text()
    assert first in (sim.dir / "app/refresh-tokens").read_text()
    relay.clock.forward(3600)
    relay.send(make_mail())
    sim.wait_messages(2)
    assert relay.token_file.read_text() != first
    for text in (out, relay.log()):
        assert first not in text and relay.token_file.read_text() not in text


def test_a_new_sign_in_is_used_at_once(sim, relay):
    """The one before was somebody else's: neither its token nor a session that it has opened is used for one more message."""
    relay.start()
    sign_in(sim, relay)
    relay.send(make_mail())
    sim.wait_messages(1)
    sign_in(sim, relay)
    second = relay.token_file.read_text()
    relay.send(make_mail())
    sim.wait_messages(2)
    assert len(relay.events("token-fetched")) == 2 and sim.stats()["auth_ok"] == 2
    assert relay.token_file.read_text() != second, "the second sign-in was not used"


def test_a_sign_in_that_is_lost_is_told_before_there_is_mail(sim, relay):
    relay.start()
    sign_in(sim, relay)
    (sim.dir / "app/refresh-tokens").unlink()
    for day in range(8):
        relay.clock.forward(DAY)
    failed = relay.wait_event("token-failed")[0]
    assert "AADSTS50173" in failed["text"] and "mfdrelay login" in failed["remedy"]
    status = relay.cli("status")
    assert status.returncode == 2 and "ALARM      upstream submission gets no token: " in status.stdout
    sign_in(sim, relay)
    relay.send(make_mail())
    sim.wait_messages(1)
    assert relay.cli("status").returncode == 0


def test_a_sign_in_before_the_start_is_used_by_it_and_kept_alive_without_mail(sim, relay):
    relay.start()
    relay.stop()
    assert "does not run" in sign_in(sim, relay)
    first = relay.token_file.read_text()
    relay.clock.forward(0)
    relay.start()
    for day in range(8):
        relay.clock.forward(DAY)
    wait_until(lambda: relay.token_file.read_text() != first, 20, "a refresh without mail")
    assert not relay.events("upstream-held")
    relay.send(make_mail())
    sim.wait_messages(1)


def test_a_revoked_sign_in_holds_the_road_until_the_next(sim, relay):
    relay.start()
    sign_in(sim, relay)
    (sim.dir / "app/refresh-tokens").unlink()
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert "AADSTS50173" in held["text"] and "mfdrelay login" in held["remedy"]
    sign_in(sim, relay)
    sim.wait_messages(1)


@pytest.mark.parametrize("rule, does, words", [
    ("", "declined", "AADSTS70017"),
    ("", "expired", "Start the sign-in again"),
    ("login error 53003 after=1", "pending", "Conditional Access"),
])
def test_a_sign_in_that_fails_says_why_and_leaves_the_one_before(sim, relay, rule, does, words):
    relay.start()
    sign_in(sim, relay)
    before = relay.token_file.read_text()
    sim.faults(rule) if rule else None
    person(sim, does)
    status, out, err = end_login(begin_login(relay))
    assert status == 1 and words in err, out + err
    assert relay.token_file.read_text() == before


def test_what_login_cannot_do_it_says_before_it_asks(sim, relay):
    assert relay.cli("login").returncode == 64
    none = relay.cli("login", "nothing")
    assert none.returncode == 64 and 'no upstream "nothing"' in none.stderr
    early = relay.cli("login", "submission")
    assert early.returncode == 1 and "the daemon has never run" in early.stderr and "systemctl start" in early.stderr
    relay.settings["upstreams"] = [relay.upstream()]
    relay.write_config()
    other = relay.cli("login", "submission")
    assert other.returncode == 64 and "needs no sign-in" in other.stderr
    assert not sim.log().count("device")


def test_login_asks_the_name_servers_of_the_config(sim, relay):
    names = NameServer({})
    relay.settings["name_servers"] = [names.address]
    relay.settings["upstreams"] = [relay.upstream(oauth={**BY_DEVICE, "authority": f"https://login.contoso.test:{sim.login_port}"})]
    relay.start()
    assert relay.cli("login", "submission").returncode == 1
    names.close()
    assert ("login.contoso.test", "A") in names.asked


def test_polls_come_slower_after_one_that_got_no_answer(sim, relay):
    relay.start()
    process = begin_login(relay)
    sim.faults(cut := "login cut times=1")
    wait_until(lambda: sim.used(cut), 20, "the poll that gets no answer")
    lost, before = time.monotonic(), sim.log().count("AADSTS70016")
    wait_until(lambda: sim.log().count("AADSTS70016") > before, 20, "the next poll")
    assert time.monotonic() - lost > 4
    person(sim, "approved")
    assert end_login(process)[0] == 0


@needs.root("changing to another user")
def test_root_signs_in_for_the_user_of_the_relay(sim, relay):
    relay.settings["user"] = "nobody"
    harness.let_others_enter(relay.dir)
    relay.start()
    sign_in(sim, relay)
    status = relay.token_file.stat()
    assert status.st_uid == 65534 and status.st_mode & 0o777 == 0o600
    relay.send(make_mail())
    sim.wait_messages(1)
