"""The other side of a mailbox, for test_arming: it answers every request with its number."""

from __future__ import annotations

import json
import sys

from tokengate_mp.wire.channel import mailbox as page
from tokengate_mp.wire.channel.doorbell import Sleeper
from tokengate_mp.wire.channel.mailbox import Arming, Mailbox, MailboxAddress, Ringing
from tokengate_mp.wire.protocol import records

MAX_SLEEP = 50.0


def main(address, rounds):
    """Echo that many requests."""
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in address.items()}
    mailbox = Mailbox.attach(MailboxAddress(**fields))
    reader, writer = mailbox.request_reader(), mailbox.outcome_writer()
    for_requests = Arming(mailbox.words, page.REQUESTS_ARMED)
    for_room = Arming(mailbox.words, page.ROOM_ARMED)
    parent = Ringing(mailbox.outcomes, mailbox.words, page.OUTCOMES_ARMED)
    starved = Ringing(mailbox.outcomes, mailbox.words, page.STARVED)
    mail, room = Sleeper(mailbox.requests), Sleeper(mailbox.room)
    stream = records.Stream(records.Request, checked=mailbox.checked)
    while rounds:
        taken = reader.read()
        if taken is None:
            for_requests.arm()
            if not reader.pending():
                mail.sleep(MAX_SLEEP)
            for_requests.disarm()
            continue
        starved.ring_if_armed()
        for request in stream.records(*taken):
            rounds -= 1
            outcome = records.encode((request.number, 0, 0, 0, request.arguments[0]))
            while not writer.append_records(outcome, 1):
                parent.ring_if_armed()
                for_room.arm()
                if writer.append_records(outcome, 1):
                    break
                room.sleep(MAX_SLEEP)
            for_room.disarm()
        parent.ring_if_armed()
    mailbox.close_mailbox()


main(json.loads(sys.argv[1]), int(sys.argv[2]))
