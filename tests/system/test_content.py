"""Whatever is sent in DATA, at any split: one message comes out at the upstream, in CRLF lines, with the content that a slow and
simple reading of the same bytes gives."""

import email
import email.policy
import os
import random
import re
import socket

import pytest

from harness import raw, talk

SEED = int(os.environ.get("SEED", "2009"))
MESSAGES = 400 if os.environ.get("TORTURE") else 60
PIECES = [b"\r\n", b"\r\n", b"\n", b"\r", b".", b"..", b"\0", b"a", b"\xe4", b"--B\r\n", b"word word", b"\r\n.\r\r\n", b"\n.\n",
          b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n\0.\r\n", b"MAIL FROM:<evil@contoso.com>\r\n", b"RCPT TO:<evil@contoso.com>\r\n",
          b"DATA\r\n", b"QUIT\r\n", b"x" * 1200, b"\r\n\r\n", b" folded\r\n", b"Bcc: evil@contoso.com\r\n"]


def make_content(dice, number):
    """Bytes as they go over the wire between 354 and the end, which is not among them."""
    head = b"Subject: number %d\r\nX-Odd: %s\r\n" % (number, dice.choice([b"plain", b"bare\rcr", b"nul\0l", b"caf\xe9"]))
    body = b"".join(dice.choice(PIECES) for _ in range(dice.randrange(1, 80)))
    content = head + b"\r\n" + body + b"\r\n"
    while b"\r\n.\r\n" in content:
        content = content.replace(b"\r\n.\r\n", b"\r\n..\r\n")
    return content


def meant(content):
    """What is to come out: dots of true lines unstuffed, a bare LF a line end, a bare CR a blank, no NUL."""
    content = re.sub(rb"(\A|\r\n)\.", rb"\1", content)
    content = re.sub(rb"\r(?!\n)", b" ", content)
    content = re.sub(rb"(?<!\r)\n", b"\r\n", content)
    return content.replace(b"\0", b"")


def send_in_pieces(s, dice, data):
    while data:
        n = min(len(data), dice.choice([1, 2, 3, 5, 60, 1500, 9000]))
        s.sendall(data[:n])
        data = data[n:]


def without_trace(content):
    """Without the headers that are put on top."""
    return content[content.index(b"Subject: number "):]


def leaves(content):
    """Each part's type and decoded bytes, as a mail program sees them."""
    message = email.message_from_bytes(content, policy=email.policy.compat32)
    return [(part.get_content_type(), part.get_payload(decode=True)) for part in message.walk() if not part.is_multipart()]


def send_all(relay, dice):
    """What was sent, by its number, each in a transaction of one session."""
    sent = []
    with raw(relay) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(MESSAGES):
            sent.append(make_content(dice, number))
            for line, code in ((b"MAIL FROM:<printer@contoso.com>\r\n", b"250"), (b"RCPT TO:<boss@contoso.com>\r\n", b"250"),
                               (b"DATA\r\n", b"354")):
                assert talk(s, line).startswith(code)
            send_in_pieces(s, dice, sent[-1] + b".\r\n")
            assert s.recv(1000).startswith(b"250 "), f"SEED={SEED}, message {number}"
    return sent


@pytest.mark.parametrize("repairs", ["none", "all"])
def test_whatever_is_sent_one_message_with_that_content_comes_out(sim, make_relay, repairs):
    relay = make_relay(sim, repairs=repairs)
    sent = send_all(relay, random.Random(SEED))
    messages = sim.wait_messages(MESSAGES, 60)
    assert len(messages) == MESSAGES, f"SEED={SEED}"
    for message in messages:
        content = message.content
        number = int(re.search(rb"Subject: number (\d+)", content)[1])
        which = f"SEED={SEED}, message {number}"
        assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", content), which
        assert message["rcpt"] == ["boss@contoso.com"], which
        assert leaves(content) == leaves(meant(sent[number])), which
        if repairs == "none":
            assert without_trace(content) == meant(sent[number]), which
    stats = sim.stats()
    assert stats["bare_lf"] == stats["bare_cr"] == stats["unstuffed_dots"] == 0
