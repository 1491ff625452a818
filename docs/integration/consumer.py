"""Follows the marketplace from another system: every event of the log once, in order, whatever NATS does meanwhile.

    pip install nats-py
    python consumer.py nats://localhost:4222 --after 0

Prints one JSON object per event. Ends after `--until POSITION`, if given; goes on for ever otherwise.
"""

import argparse
import asyncio
import json

import nats
from nats.errors import TimeoutError as NoMessage
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

STREAM = "TRADEPOST"


async def events(url, after):
    """Yields (position, event) for every event after a position. A message's sequence is its event's position."""
    connection = await nats.connect(url, max_reconnect_attempts=-1)
    stream = connection.jetstream()
    position = after
    while True:
        try:
            # Made anew whenever something is wrong: what counts is the position, which is ours to remember.
            consumer = await stream.subscribe(
                "tradepost.events.>",
                stream=STREAM,
                ordered_consumer=True,
                config=ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=position + 1),
            )
            while True:
                message = await consumer.next_msg(timeout=5)
                headers = message.headers or {}
                found = int(headers["ce-position"])
                if found <= position:
                    continue  # It came twice.
                if found > position + 1:
                    break  # Something is missing: ask for it again.
                position = found
                yield position, {
                    "position": position,
                    "id": headers["ce-id"],
                    "type": headers["ce-type"],
                    "subject": headers["ce-subject"],
                    "time": headers["ce-time"],
                    "data": json.loads(message.data),
                }
            await consumer.unsubscribe()
        except NoMessage:
            await consumer.unsubscribe()  # Nothing new, or the stream was made anew.
        except NotFoundError:
            await asyncio.sleep(0.5)  # The stream is being filled again.


async def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("url")
    arguments.add_argument("--after", type=int, default=0, help="the last position that was seen before")
    arguments.add_argument("--until", type=int, help="end after this position")
    given = arguments.parse_args()
    async for position, event in events(given.url, given.after):
        # Keep the position in the same transaction as what you make of the event, and nothing counts twice.
        print(json.dumps(event), flush=True)
        if given.until is not None and position >= given.until:
            return


asyncio.run(main())
