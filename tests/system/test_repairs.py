"""What goes out of a message: repaired, in the name that the config says, or byte for byte as it came; at each attempt the same."""

import base64
import email.utils
import quopri
import smtplib

import pytest

import harness
from harness import MAILBOX, behind_trace, make_mail, make_pdf, make_scan

KEEPS, MAPS, NAMED, RAW, TOKYO, SOFIA = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7"
SIGNER = "accounting@fabrikam.com"
DEVICES = [
    {"name": "sofia", "address": SOFIA, "charset": "windows-1251"},  # before many others: libc keeps what is closed loaded for a while
    *({"name": f"prague-{i}", "address": f"127.0.1.{i}", "charset": "windows-1250"} for i in range(1, 9)),
    {"name": "keeps", "address": KEEPS, "sender": "keep", "sender_address": "hall@contoso.com"},
    {"name": "maps", "address": MAPS, "sender": "map", "sender_address": "floor-2@contoso.com"},
    {"name": "named", "address": NAMED, "display_name": "Scanner {device}", "charset": "iso-8859-15"},
    {"name": "raw", "address": RAW, "repairs": "none"},
    {"name": "tokyo", "address": TOKYO, "charset": "SJIS"},
    {"name": "lan", "address": "127.0.0.1"},
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A simulator that refuses all senders but the mailbox and those that it may send as, as Microsoft does, and a relay with a
    device for each rule. Of one of them, whose mail is signed, the relay has not been told."""
    folder = tmp_path_factory.mktemp("content")
    sim = harness.Sim(folder / "sim", send_as=f"@(floor-*@contoso.com|{SIGNER})").start()
    relay = harness.Relay(folder / "relay", sim, devices=DEVICES)
    relay.settings["upstreams"] = [relay.upstream(sender=None, send_as=["floor-*@contoso.com"])]
    relay.raw_port = harness.free_port()
    relay.settings["listen"].append({"address": "127.0.0.1", "port": relay.raw_port, "repairs": "none"})
    relay.start()
    yield sim, relay
    harness.stop_all(relay, sim)


def carry(pair, content, device="127.0.0.1", sender="printer@contoso.com", recipients=("boss@contoso.com",), port=None):
    """Send it as the device at that address does; the message as the simulator has it, and the queue id."""
    sim, relay = pair
    count = len(sim.messages())
    with smtplib.SMTP("127.0.0.1", port or relay.port, timeout=30, source_address=(device, 0)) as client:
        client.helo("printer")
        harness.expect(client.docmd(f"MAIL FROM:<{sender}>"), 250)
        for recipient in recipients:
            harness.expect(client.rcpt(recipient), 250)
        harness.expect(client.docmd("DATA"), 354)
        client.send(harness.stuffed(content) + b".\r\n")
        queue_id = harness.expect(client.getreply(), 250)[1].split()[-1].decode()
    return sim.wait_messages(count + 1)[-1], queue_id


def behind(message):
    """The content without the relay's own header."""
    lines = message.content.split(b"\r\n")
    assert lines[0].startswith(b"Received: ")
    start = next(i for i, line in enumerate(lines[1:], 1) if not line.startswith(b"\t"))
    return b"\r\n".join(lines[start:])


def repairs_of(pair, queue_id):
    return [e for e in pair[1].events("repairs") if e["id"] == queue_id]


def test_all_senders_go_out_as_the_mailbox_unless_it_may_send_as_them(pair):
    mail = make_mail(sender="HP4345ACC@brma.local")
    message, queue_id = carry(pair, mail, sender="HP4345ACC@brma.local")
    assert message["mail_from"] == MAILBOX
    assert behind(message) == mail.replace(b"From: HP4345ACC@brma.local\r\n",
                                           b"From: scanner@contoso.com\r\nReply-To: HP4345ACC@brma.local\r\n")
    assert [(e["made"], e["sender"]) for e in repairs_of(pair, queue_id)] == [("identity", MAILBOX)]
    mail = make_mail(sender="floor-3@contoso.com")
    message, queue_id = carry(pair, mail, sender="floor-3@contoso.com")
    assert message["mail_from"] == "floor-3@contoso.com"
    assert behind(message) == mail
    assert repairs_of(pair, queue_id) == []


def test_a_device_has_a_sender_and_a_name_of_its_own(pair):
    mail = make_mail(sender="anybody@fabrikam.com")
    message, _ = carry(pair, mail, MAPS, sender="anybody@fabrikam.com")
    assert message["mail_from"] == "floor-2@contoso.com"
    assert behind(message).startswith(b"From: floor-2@contoso.com\r\nReply-To: anybody@fabrikam.com\r\n")
    mail = make_mail(sender="MFD <anybody@fabrikam.com>")
    message, _ = carry(pair, mail, NAMED, sender="anybody@fabrikam.com")
    assert message["mail_from"] == MAILBOX
    assert behind(message).startswith(
        b"From: Scanner named <scanner@contoso.com>\r\nReply-To: MFD <anybody@fabrikam.com>\r\n")
    # Of no use to anybody: the device's address takes its place, and the upstream's rule that one's.
    message, _ = carry(pair, make_mail(sender="root"), KEEPS, sender="root")
    assert message["mail_from"] == MAILBOX
    assert b"\r\nFrom: scanner@contoso.com\r\n" in message.content


def test_what_old_devices_get_wrong_is_put_right(pair):
    head = (b"From: floor-1@contoso.com\r\nDate: Thu, 1 Jan 1970 00:00:11 +0000\r\nSubject: B\xfcro\r\nBcc: spy@contoso.com\r\n"
            b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=a:b\r\n\r\n")
    part = b"--a:b\r\nContent-Type: application/pdf; name=\"Gr\xf6\xdfe.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    body = base64.b64encode(make_pdf(pages=1, size=600_000))
    message, queue_id = carry(pair, head + part + body + b"\r\n", sender="floor-1@contoso.com")
    assert [e["made"] for e in repairs_of(pair, queue_id)] == \
        ["date,8bit,bcc,boundary,to,message-id,long-base64,end-boundary"]
    accepted = message.content.split(b"\r\n")[2].strip().decode()
    wrapped = b"".join(body[i:i + 76] + b"\r\n" for i in range(0, len(body), 76))
    assert behind(message) == (
        b"From: floor-1@contoso.com\r\nDate: " + accepted.encode() + b"\r\nX-Original-Date: Thu, 1 Jan 1970 00:00:11 +0000\r\n"
        b"Subject: =?utf-8?Q?B=C3=BCro?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"a:b\"\r\n"
        b"To: boss@contoso.com\r\nMessage-ID: <" + queue_id.encode() + b"@relay.test>\r\n\r\n"
        b"--a:b\r\nContent-Type: application/pdf; name*=utf-8''Gr%C3%B6%C3%9Fe.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + wrapped + b"--a:b--\r\n")
    assert email.utils.parsedate_to_datetime(accepted)
    assert message["size"] == len(message.content)
    assert f"MAIL FROM:<floor-1@contoso.com> SIZE={message['size']}" in pair[0].log()


def test_text_without_any_header_becomes_a_message(pair):
    message, queue_id = carry(pair, b"Toner low\r\nTray 2: empty\r\n", sender="floor-1@contoso.com",
                              recipients=["boss@contoso.com", "it@contoso.com"])
    lines = behind(message).split(b"\r\n")
    assert lines[:2] == [b"From: floor-1@contoso.com", b"To: undisclosed-recipients:;"]
    assert lines[-4:] == [b"", b"Toner low", b"Tray 2: empty", b""]
    assert "no-header" in repairs_of(pair, queue_id)[0]["made"]


@pytest.mark.parametrize("device, raw, encoded", [
    (NAMED, b"5 \xa4", b"5 =?utf-8?Q?=E2=82=AC?="),  # a table of the relay's own
    (TOKYO, b"\x8a\xbf\x8e\x9a", b"=?utf-8?B?5ryi5a2X?="),  # iconv's, from inside the sandbox, as the next
    (SOFIA, b"\xc4\xe0", b"=?utf-8?B?0JTQsA==?="),
])
def test_a_charset_is_the_devices(pair, device, raw, encoded):
    mail = make_mail(sender="floor-1@contoso.com", subject="X").replace(b"Subject: X", b"Subject: " + raw)
    message, _ = carry(pair, mail, device, sender="floor-1@contoso.com")
    assert behind(message) == mail.replace(raw, encoded)


def test_without_repairs_or_fault_every_byte_goes_out_as_it_came(pair):
    broken = b"Subject: \xfc\r\nBcc: x@contoso.com\r\n\r\n" + b"x" * 5000 + b"\r\n"
    message, queue_id = carry(pair, b"From: floor-1@contoso.com\r\n" + broken, RAW, sender="floor-1@contoso.com")
    assert behind(message) == b"From: floor-1@contoso.com\r\n" + broken
    message, queue_id = carry(pair, b"From: floor-1@contoso.com\r\n" + broken, sender="floor-1@contoso.com", port=pair[1].raw_port)
    assert behind(message) == b"From: floor-1@contoso.com\r\n" + broken
    # Its sender is another matter.
    message, _ = carry(pair, b"From: x@fabrikam.com\r\n" + broken, RAW, sender="x@fabrikam.com")
    assert behind(message) == b"From: scanner@contoso.com\r\nReply-To: x@fabrikam.com\r\n" + broken
    scan = make_scan(make_pdf(pages=1, size=1_000_000), sender="floor-1@contoso.com")
    message, queue_id = carry(pair, scan, sender="floor-1@contoso.com")
    assert behind_trace(message.content, scan)
    assert repairs_of(pair, queue_id) == []


def test_signed_mail_is_left_alone_but_for_its_envelope(pair):
    mail = f"DKIM-Signature: v=1; d=fabrikam.com; b=abc\r\nFrom: {SIGNER}\r\nBcc: b@fabrikam.com\r\n\r\nx\r\n".encode()
    message, queue_id = carry(pair, mail, sender=SIGNER)
    assert message["mail_from"] == MAILBOX
    assert behind(message) == mail
    event, = repairs_of(pair, queue_id)
    assert event["left"] == "signed,identity" and "send as" in event["remedy"]


def test_what_can_not_be_repaired_passes_with_a_warning(pair):
    piece = make_mail(sender="floor-1@contoso.com").replace(
        b"\r\n\r\n", b"\r\nMIME-Version: 1.0\r\nContent-Type: message/partial; id=\"x@mfd\"; number=1; total=2\r\n\r\n", 1)
    message, queue_id = carry(pair, piece, sender="floor-1@contoso.com")
    assert behind(message) == piece
    event, = repairs_of(pair, queue_id)
    assert (event["made"], event["left"]) == ("", "message-partial") and "switch that off at the device" in event["remedy"]


def test_a_from_that_can_not_be_checked_does_not_go_out(pair):
    sim, relay = pair
    count = len(sim.messages())
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=30, source_address=(MAPS, 0)) as client:
        client.sendmail("floor-2@contoso.com", ["boss@contoso.com"], b"X-a: b\r\n" * 1001 + make_mail(sender="ceo@contoso.com"))
    report = sim.wait_messages(count + 1)[-1]
    assert report["rcpt"] == ["floor-2@contoso.com"] and b"sender rule" in report.content.replace(b"\r\n", b" ")
    assert "header-size" in [e["left"] for e in relay.events("repairs")]
    relay.wait_empty()


@pytest.mark.parametrize("verb", ["BDAT", "DATA"])
def test_each_attempt_sends_the_same(pair, verb):
    sim, relay = pair
    mail = b"Subject: again\r\n\r\n.\r\n..dots\r\n" + b".y" * 600 + b"\r\n"
    since = len(relay.log())
    # The connection that is open is cut, so that a new one hears the other EHLO.
    sim.faults("mail cut times=1", "final-dot reply 451 4.3.2 try again times=1",
               *(["ehlo without CHUNKING"] if verb == "DATA" else []))
    message, queue_id = carry(pair, mail, sender="floor-1@contoso.com")
    sim.clear()
    assert message["verb"] == verb
    assert [e["id"] for e in relay.events("deferred", since=since)] == [queue_id]
    assert {e["made"] for e in repairs_of(pair, queue_id)} == {"identity,to,date,message-id,long-text"}
    assert len(repairs_of(pair, queue_id)) >= 2
    top, body = behind(message).split(b"\r\n\r\n", 1)
    assert top.startswith(b"Subject: again\r\n")
    assert b"\r\nContent-Transfer-Encoding: quoted-printable" in top
    assert quopri.decodestring(body) == mail.split(b"\r\n\r\n", 1)[1]
    assert message["size"] == len(message.content)
