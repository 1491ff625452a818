"""Writes TypeScript in which every recorded shape is held against its type in Stripe's own client library.

`make stripe-shapes` has it checked. What a shape is, it says itself: by its object, and an event by its type.
"""

import json
import pathlib
import re

SHAPES = pathlib.Path(__file__).parent / "../../commands/src/payments/stripe/shapes"


def camel(name):
    return "".join(part.capitalize() for part in re.split(r"[._]", name))


def kind(shape):
    if "error" in shape:
        return "{ error: Stripe.PaymentIntent.LastPaymentError }"
    match shape["object"]:
        case "event":
            return f"Stripe.{camel(shape['type'])}Event"
        case "list":
            return f"Stripe.ApiList<{kind(shape['data'][0]) if shape['data'] else 'Stripe.Payout'}>"
        case "search_result":
            return f"Stripe.ApiSearchResult<{kind(shape['data'][0])}>"
        case other:
            return f"Stripe.{camel(other)}"


print("import Stripe from 'stripe';")
for number, path in enumerate(sorted(SHAPES.glob("*.json"))):
    shape = json.loads(path.read_text())
    print(f"// {path.name}\nexport const shape{number}: {kind(shape)} = {json.dumps(shape, indent=1)};")
