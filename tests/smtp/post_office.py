"""What a mail server of the tests does with messages: `aiosmtpd` speaks the protocol, this decides.

Takes the folder that it works in as its argument. Each message becomes a file there, whole once it has its name. Whoever
is called `unknown…` is nobody it knows; `busy…` has no time as long as there is a file `busy` in the folder.
"""

import itertools
import os


class PostOffice:
    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count()

    @classmethod
    def from_cli(cls, parser, *arguments):
        if len(arguments) != 1:
            parser.error("the post office takes a folder")
        return cls(arguments[0])

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("unknown"):
            return "550 5.1.1 There is nobody of that name"
        if address.startswith("busy") and os.path.exists(os.path.join(self.folder, "busy")):
            return "451 4.3.2 Come again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        name = os.path.join(self.folder, f"{next(self.numbers):06}")
        with open(f"{name}.draft", "wb") as draft:
            draft.write(envelope.original_content)
        os.rename(f"{name}.draft", f"{name}.eml")
        return "250 OK"
