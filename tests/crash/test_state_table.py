"""The table on top of src/spool/spool.c, row by row: the daemon is started on exactly the files of the row. What start-up
makes of them, who gets the message and how often, and what is left when it has come to its end.

Each message has two recipients, one of whom has had it where there is a state: who gets it tells which state counted."""

import json
import os
import random
import time

import pytest

import harness
from harness import make_mail, wait_until

ID = "1j0ur49jjr08tb8f9"
QT, Q, ST, S, F, FS, FR = (f"queue/tmp.{ID}", f"queue/{ID}", f"state/tmp.{ID}", f"state/{ID}", f"failed/{ID}",
                           f"failed/{ID}.state", f"failed/{ID}.reason")
HAD, LACKS, GONE = "had@contoso.com", "lacks@contoso.com", "gone@contoso.com"
BOTH, REST, NOBODY = [HAD, LACKS], [LACKS], []

CONTENT = (b"Received: from printer ([127.0.0.1])\r\n\tby relay.test with SMTP id " + ID.encode() + b"\r\n"
           b"From: printer@contoso.com\r\nTo: had@contoso.com\r\nSubject: the row\r\nDate: Mon, 23 Nov 2026 19:41:44 +0000\r\n"
           b"Message-ID: <row@printer>\r\n\r\n.\r\n..\r\nHello.\r\n")
COPY = CONTENT.replace(b"the row", b"a copy!")
REASON = b"its envelope is damaged\n"


def message(content=CONTENT, recipients=BOTH):
    lines = ["mfdrelay-envelope 1", f"id: {ID}", "accepted-ms: 1795462904008", "kind: message", "device: lan",
             "peer: 127.0.0.1", "helo: printer", "user: ", "sender: printer@contoso.com", f"recipients: {len(recipients)}",
             *(f"recipient: {r}" for r in recipients), "has-8bit: 0", f"content-bytes: {len(content):020}", "", ""]
    return "\n".join(lines).encode() + content


def state(first, second):
    lines = ["mfdrelay-state 1", f"id: {ID}", "reports: 1", "recipients: 2"]
    for recipient, status in ((HAD, first), (LACKS, second)):
        lines += [f"recipient: {recipient}", f"status: {status}", "attempts: 1", "wait-ms: 0", "waited-ms: 0", "next-ms: 0",
                  "upstream: submission", "reason: 451 4.3.2 Temporary server error"]
    return ("\n".join(lines) + "\nend: 2\n").encode()


WHOLE, HALF = message(), message()[:-5]
PARTLY = state("delivered", "pending")  # S, and what a requeue writes
REPORTED = state("delivered", "reported")  # FS
OLDER = state("reported", "reported")  # an FS that does not know yet what S knows

# What is there before; in the queue after start-up (None: nothing); who gets it by itself; in failed/ at the end;
# who gets it when it is asked for by `queue retry` ("refused": it is not to be had).
ROWS = {
    "0 none": ({}, NOBODY, {}, "refused"),
    "1 being taken in": ({QT: HALF}, NOBODY, {}, "refused"),
    "1 all written but not named": ({QT: WHOLE}, NOBODY, {}, "refused"),
    "2 a report made once more": ({QT: WHOLE, Q: WHOLE}, BOTH, {}, "refused"),
    "2 a report made once more, half written": ({QT: HALF, Q: WHOLE, S: PARTLY}, REST, {}, "refused"),
    "3 waiting": ({Q: WHOLE}, BOTH, {}, "refused"),
    "4 waiting with a state": ({Q: WHOLE, S: PARTLY}, REST, {}, "refused"),
    "4 delivered, and could not be removed": ({Q: WHOLE, S: state("delivered", "delivered")}, NOBODY, {}, "refused"),
    "5 the first save": ({Q: WHOLE, ST: PARTLY}, BOTH, {}, "refused"),
    "5 the first save, half written": ({Q: WHOLE, ST: PARTLY[:40]}, BOTH, {}, "refused"),
    "5 a later save, half written": ({Q: WHOLE, ST: state("delivered", "delivered")[:90], S: PARTLY}, REST, {}, "refused"),
    "6 delivered": ({S: PARTLY}, NOBODY, {}, "refused"),
    "7 given up, its state not moved": ({F: WHOLE, S: REPORTED}, NOBODY, {F: WHOLE, FS: REPORTED}, REST),
    "8 given up": ({F: WHOLE, FS: REPORTED}, NOBODY, {F: WHOLE, FS: REPORTED}, REST),
    "9 on the way back": ({F: WHOLE, FS: REPORTED, ST: PARTLY[:40]}, NOBODY, {F: WHOLE, FS: REPORTED}, REST),
    "9 on the way back to all": ({F: WHOLE, ST: PARTLY}, NOBODY, {F: WHOLE}, BOTH),
    "9 on the way back, put aside before": ({F: WHOLE, FR: REASON, ST: PARTLY}, NOBODY, {F: WHOLE, FR: REASON}, BOTH),
    "9 on the way back, put aside before with a state": (
        {F: WHOLE, FS: REPORTED, FR: REASON, ST: PARTLY[:40]}, NOBODY, {F: WHOLE, FS: REPORTED, FR: REASON}, REST),
    "10 on the way back, S is newer": ({F: WHOLE, FS: OLDER, S: PARTLY}, NOBODY, {F: WHOLE, FS: PARTLY}, REST),
    "10 on the way back, put aside before": (
        {F: WHOLE, FS: OLDER, FR: REASON, S: PARTLY}, NOBODY, {F: WHOLE, FS: PARTLY, FR: REASON}, REST),
    "11 back, FS not removed": ({Q: WHOLE, S: PARTLY, FS: OLDER}, REST, {}, "refused"),
    "11 back, FS and FR not removed": ({Q: WHOLE, S: PARTLY, FS: OLDER, FR: REASON}, REST, {}, "refused"),
    "12 found damaged": ({Q: HALF, FR: REASON}, NOBODY, {F: HALF, FR: None}, "refused"),
    "12 found damaged, with a state": ({Q: HALF, S: PARTLY, FR: REASON}, NOBODY, {F: HALF, FR: None, FS: PARTLY}, "refused"),
    "13 damaged, its state not moved": ({F: HALF, FR: REASON, S: PARTLY}, NOBODY, {F: HALF, FR: REASON, FS: PARTLY}, "refused"),
    "14 damaged": ({F: HALF, FR: REASON}, NOBODY, {F: HALF, FR: REASON}, "refused"),
    "14 damaged, with a state": ({F: HALF, FR: REASON, FS: PARTLY}, NOBODY, {F: HALF, FR: REASON, FS: PARTLY}, "refused"),
    "15 damaged, without a reason": ({F: HALF}, NOBODY, {F: HALF}, "refused"),
    "15 to be sent to all again": ({F: WHOLE}, NOBODY, {F: WHOLE}, BOTH),
    "16 F was removed": ({FS: REPORTED, FR: REASON}, NOBODY, {}, "refused"),
    "17 a copy was put back": ({Q: COPY, F: WHOLE, FS: REPORTED}, BOTH, {F: WHOLE, FS: REPORTED}, REST),
    "17 a copy was put back, with a state": ({Q: COPY, S: PARTLY, F: WHOLE}, REST, {F: WHOLE}, BOTH),
}


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    one = harness.Sim(tmp_path_factory.mktemp("sim")).start()
    yield one
    one.stop()


def put(spool, files):
    for folder in ("queue", "state", "failed"):
        (spool / folder).mkdir(parents=True, mode=0o700)
    spool.chmod(0o700)
    for name, what in files.items():
        (spool / name).write_bytes(message(COPY) if what is COPY else what)


def files_of(spool):
    return {f"{folder}/{p.name}": p.read_bytes() for folder in ("queue", "state", "failed")
            for p in (spool / folder).iterdir()}


def settled(relay):
    """Whether the daemon has read its spool and has nothing left to do."""
    if not relay.events("ready"):
        return False
    done = relay.cli("status", "--json")
    return done.returncode in (0, 2) and json.loads(done.stdout)["queue"]["messages"] == 0 and not relay.queue_ids()


def same_files(found, expected):
    return found.keys() == expected.keys() and all(e in (None, found[name]) for name, e in expected.items())


@pytest.mark.parametrize("row", ROWS)
def test_the_daemon_starts_on_the_files_of_row(row, sim, make_relay):
    before, gets_it, at_the_end, on_retry = ROWS[row]
    seen = len(sim.messages())
    relay = make_relay(sim, start=False)
    put(relay.spool, before)
    relay.start()
    wait_until(lambda: settled(relay), 20, lambda: f"an end; the log:\n{relay.log()}")
    arrived = sim.messages()[seen:]
    assert sorted(r for m in arrived for r in m["rcpt"]) == gets_it
    assert all(m.content == (COPY if before[Q] is COPY else CONTENT) for m in arrived)
    assert same_files(files_of(relay.spool), at_the_end), files_of(relay.spool)

    asked = relay.cli("queue", "retry", ID)
    if on_retry == "refused":
        assert asked.returncode != 0 and ID in asked.stderr
        assert same_files(files_of(relay.spool), at_the_end), "asking for it changed something"
        return
    assert asked.returncode == 0, asked.stderr
    again = sim.wait_messages(seen + len(arrived) + 1)[seen + len(arrived):]
    relay.wait_empty()
    assert sorted(r for m in again for r in m["rcpt"]) == on_retry and all(m.content == CONTENT for m in again)
    wait_until(lambda: files_of(relay.spool) == {}, 5, "nothing to be left")


def give_up(sim, relay):
    """Start on what is queued for GONE, to where it is in failed/ and reported."""
    sim.faults(f"rcpt={GONE} reply 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup")
    relay.start()
    try:
        relay.wait_event("kept-in-failed")
        wait_until(lambda: settled(relay), 20, "its report to be sent")
    finally:
        sim.clear()


def test_a_copy_that_is_given_up_replaces_what_was_in_failed(sim, make_relay):
    """The other end of row 17."""
    relay = make_relay(sim, start=False)
    put(relay.spool, {Q: message(CONTENT, [GONE]), F: message(COPY, [GONE]), FR: REASON})
    give_up(sim, relay)
    found = files_of(relay.spool)
    assert found.keys() == {F, FS} and found[F] == message(CONTENT, [GONE]) and b"status: reported" in found[FS]


def test_a_link_that_is_given_up_goes_from_the_queue(sim, make_relay):
    """The same, put back by ln: one file has both names."""
    relay = make_relay(sim, start=False)
    put(relay.spool, {F: message(CONTENT, [GONE])})
    os.link(relay.spool / F, relay.spool / Q)
    give_up(sim, relay)
    assert files_of(relay.spool).keys() == {F, FS}


def damaged(chance, text):
    at, n = chance.randrange(len(text)), chance.randrange(1, 300)
    return chance.choice([text[:at],
                          text[:at] + chance.randbytes(min(n, 8)) + text[at + min(n, 8):],
                          text[:at] + chance.randbytes(n) + text[at:],
                          text[:at] + str(chance.choice([-1, 2**31, 2**63, 10**30])).encode() + text[at + 1:],
                          bytes(n), text * 2])


def test_a_thousand_damaged_files_stop_nobody(sim, make_relay):
    """Each is sent, or kept in failed/; a worker that dies of one would die of it at every start."""
    chance, relay = random.Random(2009), make_relay(sim, start=False)
    put(relay.spool, {})
    ids = [f"1j0ur4{n:05}{ID[11:]}" for n in range(1000)]
    for n, own in enumerate(ids):
        texts = {folder: text.replace(ID.encode(), own.encode()) for folder, text in (("queue", WHOLE), ("state", PARTLY))}
        if n % 2 == 0:
            texts["state"] = damaged(chance, texts["state"])
        else:
            envelope = texts["queue"].index(b"\n\n") + 2
            texts["queue"] = damaged(chance, texts["queue"][:envelope]) + texts["queue"][envelope:]
        for name, text in texts.items():
            (relay.spool / name / own).write_bytes(text)
    begun = time.monotonic()
    relay.start()
    started_s = time.monotonic() - begun
    relay.send(make_mail(subject="honest"))
    wait_until(lambda: relay.status()["queue"]["messages"] < 100, 30, "nearly all to have come to an end")
    relay.cli("queue", "retry", "all", check=True)  # who waits by what the damage made of his wait
    relay.wait_empty(30)
    ended = {*relay.queue_ids("failed"), *(e["id"] for e in relay.events("delivered"))}
    assert set(ids) <= ended, sorted(set(ids) - ended)
    assert len(relay.queue_ids("failed")) > 500 and not relay.events("worker-died")
    assert any(b"Subject: honest" in m.content for m in sim.messages())
    assert started_s < 10


def test_a_start_on_ten_thousand_messages_keeps_no_device_waiting(sim, make_relay):
    relay = make_relay(sim, start=False)
    put(relay.spool, {})
    for n in range(10_000):
        own = f"1j0ur4{n:05}{ID[11:]}"
        (relay.spool / "queue" / own).write_bytes(WHOLE.replace(ID.encode(), own.encode()))
    sim.faults("connect refuse")
    try:
        for tries in range(1, 4):  # the machine may be busy otherwise
            begun = time.monotonic()
            relay.start()
            relay.send(make_mail())
            took_s = time.monotonic() - begun
            wait_until(lambda: relay.status()["queue"]["messages"] == 10_000 + tries, 30, "all to be known")
            relay.stop()
            if took_s < 5:
                break
        assert took_s < 5
    finally:
        sim.clear()


def test_a_message_that_nobody_told_of_is_found_within_30_seconds(sim, make_relay):
    seen = len(sim.messages())
    relay = make_relay(sim, start=False, clock=True)
    put(relay.spool, {})
    relay.start()
    relay.status()  # its answer comes when the first look is over
    (relay.dir / ID).write_bytes(WHOLE)
    (relay.dir / ID).rename(relay.spool / "queue" / ID)
    relay.clock.forward(30)
    assert sim.wait_messages(seen + 1, 10)[seen].content == CONTENT


def test_what_was_just_put_back_by_hand_is_tried_when_it_is_asked_for(sim, make_relay):
    """The next scan of the folder comes within 30 s."""
    seen = len(sim.messages())
    relay = make_relay(sim)
    wait_until(lambda: settled(relay), 20, lambda: f"the first scan; the log:\n{relay.log()}")
    (relay.spool / Q).write_bytes(WHOLE)
    asked = relay.cli("queue", "retry", ID)
    assert asked.returncode == 0, asked.stderr
    sim.wait_messages(seen + 1, timeout=10)
    relay.wait_empty()
