"""The person at the panel sees at once that a scan is too large, also where it is the upstream that takes less."""

import pytest

from harness import DAY, expect, make_mail, read_text, wait_until

SPARE = 4096  # what the relay may add to a message


def taking(make_sim, octets):
    """A simulator that offers this SIZE."""
    sim = make_sim()
    sim.faults(f"ehlo with SIZE {octets}")
    return sim


def offered(relay):
    """SIZE in the answer to EHLO."""
    with relay.smtp() as client:
        client.ehlo()
        return int(client.esmtp_features["size"])


def wait_written(relay):
    """Until the spool keeps what was learned."""
    wait_until(lambda: "submission" in read_text(relay.spool / "var/upstream-sizes"), 10, "the file of sizes")


def refusal(relay, recipient, announced):
    """The reply that ends MAIL, RCPT and DATA of a message that announces so many bytes; b"" when it is taken up to RCPT."""
    with relay.smtp() as client:
        client.ehlo()
        for code, text in (client.docmd(f"MAIL FROM:<printer@contoso.com> SIZE={announced}"), client.rcpt(recipient)):
            if code != 250:
                assert code == 552
                return text
    return b""


def test_size_is_what_the_upstream_takes_and_is_known_after_a_restart(make_sim, make_relay):
    sim = taking(make_sim, 100000)
    relay = make_relay(sim)
    assert offered(relay) == 35 * 1024 * 1024
    relay.send(make_mail())
    sim.wait_messages(1)
    wait_until(lambda: offered(relay) == 100000 - SPARE, 10, "the upstream's SIZE")
    sim.stop()
    assert b"the SIZE of upstream submission" in refusal(relay, "boss@contoso.com", 99000)
    with relay.smtp() as client:
        client.helo("printer")
        expect(client.mail("printer@contoso.com"), 250)
        expect(client.rcpt("boss@contoso.com"), 250)
        expect(client.docmd("DATA"), 354)
        client.send(b"Subject: x\r\n\r\n" + b"x" * 70 * 1400 + b"\r\n.\r\n")
        code, text = client.getreply()
        assert code == 552 and b"the SIZE of upstream submission (95904 bytes)" in text
    wait_written(relay)
    relay.stop()
    relay.start()
    wait_until(lambda: offered(relay) == 100000 - SPARE, 10, "the upstream's SIZE after a restart")
    relay.reload(hostname="other.test")
    wait_until(lambda: relay.events("worker-ended"), 20, "the reload")
    wait_until(lambda: offered(relay) == 100000 - SPARE, 10, "the upstream's SIZE after a reload")
    assert relay.send(make_mail())


def test_a_size_that_leaves_room_for_no_message_does_not_stand_for_ever(make_sim, make_relay):
    sim = make_sim(clock=True)
    sim.faults("ehlo with SIZE 100")
    relay = make_relay(sim, clock=sim.clock)
    relay.send(make_mail(body="x" * 100))
    relay.wait_event("upstream-size")
    wait_until(lambda: b"the SIZE of upstream submission" in refusal(relay, "boss@contoso.com", 1000), 10, "it to be known")
    relay.wait_empty()
    sim.clear()
    wait_until(lambda: refusal(relay, "boss@contoso.com", 1000) == b"" or relay.leap(DAY / 2), 10, "the size to be forgotten",
               step=0.2)
    relay.send(make_mail(subject="large again"))
    wait_until(lambda: [m for m in sim.messages() if b"large again" in m.content], 20, "the message")


def test_nor_does_it_where_the_relay_starts_anew_each_day(make_sim, make_relay):
    sim = make_sim(clock=True)
    sim.faults("ehlo with SIZE 100")
    relay = make_relay(sim, clock=sim.clock)
    relay.send(make_mail(body="x" * 100))
    wait_written(relay)
    relay.wait_empty()
    for _ in range(3):
        relay.stop()
        sim.clock.forward(DAY - 3600)
        relay.start()
    wait_until(lambda: refusal(relay, "boss@contoso.com", 1000) == b"", 10, "the size to be forgotten")


@pytest.mark.parametrize("day, stands", [(None, True), ("2000000", True), ("10000", False)], ids=["none", "to-come", "long-ago"])
def test_a_size_stands_by_the_day_in_its_line(make_sim, make_relay, day, stands):
    relay = make_relay(taking(make_sim, 100000))
    relay.send(make_mail())
    wait_written(relay)
    relay.wait_empty()  # or it is said again after the start
    relay.stop()
    file = relay.spool / "var/upstream-sizes"
    heading, line = file.read_text().splitlines()
    file.write_text(f"{heading}\n{' '.join([*line.split()[:3], *([day] if day else [])])}\n")
    relay.start()
    if not stands:
        wait_until(lambda: "submission" not in file.read_text(), 10, "it to be forgotten")
    wait_until(lambda: offered(relay) == (100000 - SPARE if stands else 35 * 1024 * 1024), 10, "the size that counts")
    assert not relay.events("file-damaged")


def test_each_recipient_has_the_size_of_its_own_route(make_sim, make_relay):
    small, large = taking(make_sim, 100000), taking(make_sim, 1000000)
    relay = make_relay(large, start=False)
    relay.settings["upstreams"].append(dict(relay.upstream(), name="small", port=small.smtp_port, ca=small.ca))
    relay.settings["upstreams"][-1]["oauth"].update(authority=f"https://localhost:{small.login_port}", ca=small.ca)
    relay.settings["routes"] = [{"recipients": ["*@small.example"], "via": ["small"]}, {"recipients": ["*"], "via": ["submission"]}]
    relay.start()
    relay.send(make_mail(), recipients=["a@small.example", "b@contoso.com"])
    small.wait_messages(1)
    large.wait_messages(1)
    wait_until(lambda: offered(relay) == 1000000 - SPARE, 10, "the SIZE of the one that takes most")
    assert refusal(relay, "b@contoso.com", 500000) == b""
    assert b"upstream small" in refusal(relay, "a@small.example", 500000)
    assert b"upstream submission" in refusal(relay, "b@contoso.com", 2000000)


def test_a_damaged_file_of_sizes_is_told_and_learned_anew(make_sim, make_relay):
    sim = taking(make_sim, 100000)
    relay = make_relay(sim)
    relay.send(make_mail())
    sim.wait_messages(1)
    wait_written(relay)
    relay.stop()
    (relay.spool / "var/upstream-sizes").write_text("mfdrelay-upstream-sizes 1\nnonsense\n")
    relay.start()
    relay.wait_event("file-damaged")
    relay.send(make_mail())
    wait_until(lambda: offered(relay) == 100000 - SPARE, 20, "the upstream's SIZE")
    wait_written(relay)
