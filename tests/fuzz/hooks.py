"""Makes generated requests meet a living marketplace, and tells a refusal by a rule from a finding.

A route that is new in the document is tested without a word here: it is called like any other, and gets

- a log-in: the sample marketplace's admin, buyer or seller, who between them may do everything. What changes or ends
  one's own session or account, which is any command under `/auth/`, is sent by an account that joins for it and is given
  up once such a command was accepted, so that the run goes on;
- ids of things that are there, instead of three in four of those that were made up, by the name of what the path is
  about (`KINDS`);
- an `Idempotency-Key` of its own, instead of three in four of the same few;
- three in four times a body that keeps the rules between fields (`_keep_rules_between_fields`), which are told before
  anything that a body is about is looked at;
- a position that the log has reached, instead of all but one in sixteen of those that it has not: such a read waits two
  seconds, and would take most of the time of a run.

What a new route may need: a line in `KINDS`, and one in `market` of `run.py`, for paths about a new kind of thing; a line
in `OF_ANOTHER_KIND` if it does not answer plain requests; and if it can take something from the admin, the buyer or the
seller that others need, without being under `/auth/`, a line in `_is_about_oneself`.
"""

import atexit
import collections
import copy
import hashlib
import itertools
import json
import os
import struct
import threading
import urllib.request
import uuid
import zlib

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, ServerError
from schemathesis.openapi.checks import RejectedPositiveData

MARKET = json.loads(os.environ["FUZZ_MARKET"])
TOKENS = MARKET["tokens"]

# What a path is about, by a word in it, and where ids of such things are in what the runner has found.
KINDS = {
    "listings": "listings",
    "products": "listings",
    "auctions": "auctions",
    "auction": "auctions",
    "orders": "orders",
    "escrow": "orders",
    "order-groups": "groups",
    "addresses": "addresses",
    "locations": "provinces",
    "methods": "methods",
    "merchants": "sellers",
    "users": "sellers",
    "sellers": "sellers",
    "reviews": "reviews",
    "reports": "reports",
    "complaints": "complaints",
    "chats": "chats",
    "conversations": "chats",
    "notifications": "notifications",
}
FIELDS = {
    "account_id": "sellers",
    "listing_id": "listings",
    "image_id": "images",
    "order_id": "orders",
    "province_id": "provinces",
    "city_id": "cities",
    "address_id": "addresses",
    "payment_method_id": "methods",
}

# Of which kinds of things there is a history, as the log calls them, and where ids of such things are.
HISTORIES = {
    "auction": "auctions",
    "chat": "chats",
    "escrow": "orders",
    "listing": "listings",
    "order": "orders",
    "review": "reviews",
    "store": "sellers",
}

# The same for things whose paths have a name of theirs instead of an id.
SLUGS = {"store": "stores"}

# A plain HTTP client cannot open a socket: 426 is the only good answer that it can get.
OF_ANOTHER_KIND = {"/api/v1/ws/": 426}

# What is wrong with a field that the schema cannot tell: it depends on another field, on the time, on the payment
# provider's methods, or the text was not given out by this server.
BEYOND_THE_SCHEMA = {"either-or", "missing", "unexpected", "unknown", "in-past", "too-far"}
# The same for categories and what listings say in them: a choice has options, each once, and nothing is below itself.
BEYOND_THE_SCHEMA |= {"options", "repeated", "cycle", "wrong-kind", "not-an-option"}
# The same for passwords: whether it is the account's, was the account's, or is one that many have.
BEYOND_THE_SCHEMA |= {"wrong", "used-before", "too-common"}

def _picture():
    """The smallest PNG there can be."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# What only somebody sees who looks behind the answers.
LEAKS = ("select ", "sqlx", "panicked", "/src/", ".rs:")

# What is uploaded instead of three in four files that are only bytes.
PICTURE = _picture()


@schemathesis.deserializer("image/jpeg", "image/png")
def picture(context, response):
    """What is shown of a picture is its bytes."""
    return response.content.decode("latin-1")


# How often each refusal that is no finding came, for the summary.
_refusals = collections.Counter()
atexit.register(lambda: open(MARKET["refusals"], "w").write(json.dumps(_refusals)))

_numbers = itertools.count()
_expendable = threading.local()


def _digest(case, salt):
    """A number that is the same for the same request, in every run."""
    parts = [salt, case.method, case.path, case.query, case.body, sorted((case.headers or {}).items())]
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def _phase(case):
    return case.meta.phase.name.value if case.meta else ""


def _takes_token(case):
    return any("bearer" in way for way in case.operation.definition.raw.get("security", []))


def _needs_token(case):
    return _takes_token(case) and {} not in case.operation.definition.raw["security"]


def _is_about_oneself(case):
    return case.path.startswith("/api/v1/auth/") and case.method != "GET"


def _join():
    name = f"fuzz-{uuid.uuid4().hex[:16]}"
    _expendable.password = f"pass {name}"
    body = {"email": f"{name}@example.com", "user_name": name, "password": _expendable.password, "sell": True}
    request = urllib.request.Request(
        MARKET["address"] + "/api/v1/auth/register",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["access_token"]


@schemathesis.auth(refresh_interval=None)
class LogIns:
    """Who sends a request."""

    def get(self, case, _):
        if not _takes_token(case):
            return None
        if _is_about_oneself(case):
            if getattr(_expendable, "token", None) is None:
                _expendable.token = _join()
            return _expendable.token
        # A sequence is one person's, who finds again what they have made.
        if _phase(case) == "stateful":
            return TOKENS["admin"]
        who = _digest(case, "who") % 8
        if who == 0 and not _needs_token(case):
            return None
        return TOKENS["seller" if who in (1, 2, 3) else "buyer" if who in (4, 5, 6) else "admin"]

    def set(self, case, token, _):
        if token is not None:
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def before_call(context, case, kwargs):
    # Bodies share parts with others that are made later.
    if isinstance(case.body, (dict, list)):
        case.body = copy.deepcopy(case.body)
    # What a sequence is about comes from its own answers.
    if _phase(case) != "stateful":
        _use_what_is_there(case)
    if _is_well_formed(case) and _digest(case, "rules") % 4:
        _keep_rules_between_fields(case)
    _use_own_key(case)
    _use_reached_position(case.query, "min_position")
    _use_reached_position(case.query, "as_of")
    _use_reached_position(case.headers, "Tradepost-Min-Position")


def _is_well_formed(case):
    return case.meta is not None and all(part.mode.is_positive for part in case.meta.components.values())


def _keep_rules_between_fields(case):
    """Leaves out what the schema admits and a rule refuses before anything else of the request is looked at."""
    query = case.query or {}
    query.pop("cursor", None)
    if "province" in query:
        query["province"] = _one_of("provinces", query["province"])
    # Prices compare in one currency.
    if {"min_price", "max_price"} & query.keys():
        query["currency"] = "USD"
    body = case.body
    if not isinstance(body, dict):
        return
    if case.media_type == "multipart/form-data":
        for name, value in body.items():
            body[name] = [PICTURE] * max(1, min(len(value), 5)) if isinstance(value, list) else PICTURE
        return
    # A province takes one of its cities.
    if body.get("province_id") and "city_id" in body and not body["city_id"]:
        del body["province_id"]
    if _needs_token(case) and _is_about_oneself(case):
        for name in {"password", "current_password"} & body.keys():
            body[name] = getattr(_expendable, "password", "none yet")
    # What the staff says is for several or for one.
    if "reason" in body and {"audience", "account_id"} & body.keys():
        if body.get("audience"):
            body.pop("account_id", None)
        elif not body.get("account_id"):
            body["audience"] = "staff"
    # Only a message is in a chat.
    if "chat_id" in body and "reason" in body and body.get("kind") != "message":
        del body["chat_id"]
    # Either an address or the id of one.
    if body.get("ship_to") and body.get("address_id"):
        del body["ship_to" if _digest(case, "address") % 2 else "address_id"]
    # What goes out by itself goes somewhere, and what does not says where each time.
    if "schedule" in body:
        if body["schedule"] == "manual":
            body.pop("payment_method_id", None)
        elif not body.get("payment_method_id"):
            body["schedule"] = "manual"
    # Either a price or an auction; pieces are counted of the whole or of each form, and an auction has one.
    if body.get("price") and body.get("auction"):
        del body["price" if _digest(case, "sale") % 2 else "auction"]
    if body.get("auction") or body.get("variants"):
        body.pop("stock", None)
    if body.get("auction"):
        body.pop("variants", None)
    whole = "title" in body and "condition" in body and "start_price" not in body
    if not body.get("price") and (body.get("variants") or (whole and not body.get("auction"))):
        body["price"] = {"amount": 1999, "currency": "USD"}
    for part in [body, body.get("auction"), *(body.get("lines") or []), *(body.get("variants") or [])]:
        if isinstance(part, dict):
            part.pop("starts_at", None)
            # One currency, and few enough pieces that there may be so many.
            for money in (value for value in part.values() if isinstance(value, dict) and "currency" in value):
                money.update(currency="USD", amount=money["amount"] % 1_000_000 + 1)
            if isinstance(part.get("quantity"), int):
                part["quantity"] = part["quantity"] % 3 + 1
            if "listing_id" in part or case.path.endswith("/purchase"):
                part.pop("sku", None)


@schemathesis.hook
def after_call(context, case, response):
    if _is_about_oneself(case) and response.status_code < 300:
        _expendable.token = None


def _one_of(kind, text):
    """Something that is there, for three in four made-up ids."""
    try:
        number = uuid.UUID(text).int
    except (TypeError, ValueError, AttributeError):
        return text
    there = MARKET["ids"].get(kind, [])
    return there[number % len(there)] if there and text not in there and number % 4 else text


def _use_what_is_there(case):
    kinds = [KINDS[word] for word in case.path.split("/") if word in KINDS]
    for name, value in (case.path_parameters or {}).items():
        kind = FIELDS.get(name) or (kinds[0] if kinds else None)
        other = _one_of(kind, value)
        if other != value:
            case.path_parameters[name] = other
    if "aggregate_type" in (case.path_parameters or {}) and _digest(case, "history") % 4:
        kinds_of_things = sorted(HISTORIES)
        kind = kinds_of_things[_digest(case, "kind") % len(kinds_of_things)]
        there = MARKET["ids"].get(HISTORIES[kind], [])
        case.path_parameters["aggregate_type"] = kind
        if there:
            case.path_parameters["id"] = there[_digest(case, "thing") % len(there)]
    if case.path.startswith("/api/v1/events/receipts/"):
        _use_reached_position(case.path_parameters, "id")
    elif "position" in (case.path_parameters or {}):
        _use_reached_position(case.path_parameters, "position")
    names = [name for word in case.path.split("/") if word in SLUGS for name in MARKET["slugs"][SLUGS[word]]]
    number = _digest(case, "slug")
    if names and "slug" in (case.path_parameters or {}) and number % 4:
        case.path_parameters["slug"] = names[number % len(names)]
    parameters, pictures = case.path_parameters or {}, MARKET["pictures"]
    if "image_id" in parameters and number % 4:
        # One of that listing.
        own = pictures.get(parameters.get("id"), [])
        parameters["image_id"] = own[number % len(own)] if own else parameters["image_id"]
    if case.path.startswith("/api/v1/media/") and pictures and number % 4:
        parameters["name"] = f"{uuid.UUID(next(iter(pictures.values()))[0]).hex}.jpg"
    if isinstance(case.body, dict) and case.body.get("about") in ("listing", "order"):
        case.body["id"] = _one_of(f"{case.body['about']}s", case.body.get("id"))
    lines = case.body.get("lines") if isinstance(case.body, dict) else None
    for part in [case.body, *(lines if isinstance(lines, list) else [])]:
        for name in FIELDS.keys() & part.keys() if isinstance(part, dict) else ():
            other = _one_of(FIELDS[name], part[name])
            if other != part[name]:
                part[name] = other


def _use_own_key(case):
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and 0 < len(key) <= 200 and key.isascii() and key.isprintable() and key == key.strip():
        number = next(_numbers)
        if number % 4:
            case.headers["Idempotency-Key"] = f"{key}.{number}"


def _use_reached_position(container, name):
    try:
        position = int((container or {}).get(name))
    except (TypeError, ValueError):
        return
    if MARKET["head"] < position < 2**63 and position % 16:
        container[name] = type(container[name])(position % MARKET["head"])


@schemathesis.check
def tells_nothing_of_what_is_behind(context, response, case):
    """No refusal shows SQL, a path or a trace."""
    if response.status_code >= 400:
        shown = [leak for leak in LEAKS if leak in response.text]
        assert not shown, f"the answer shows {shown[0]!r}"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether a failure is a finding."""
    if isinstance(failure, AcceptedNegativeData) and (_only_adds_a_header(case) or _is_upload(case)):
        return False
    try:
        problem = response.json()
    except ValueError:
        return True
    if not isinstance(problem, dict):
        return True
    slug = str(problem.get("type", "")).removeprefix("/problems/")
    # The log may reach any position one day. What it has not reached yet is answered like this, as documented.
    expected = False
    if isinstance(failure, ServerError):
        behind = response.status_code == 503 and slug == "projection-behind"
        # What is there, its proof covers some time later.
        expected = behind and (problem["projection"] == "proof" or problem["min_position"] > MARKET["head"])
    if isinstance(failure, RejectedPositiveData):
        expected = _is_refused_by_a_rule(slug, case, response.status_code, problem)
    if expected:
        codes = {error["code"] for error in problem.get("errors", [])}
        _refusals[" ".join([str(response.status_code), slug, *sorted(codes)])] += 1
    return not expected


def _only_adds_a_header(case):
    """Whether nothing is wrong with a request but a header that is not described, which HTTP lets anybody add."""
    wrong = [location.value for location, part in case.meta.components.items() if not part.mode.is_positive]
    return wrong == ["header"] and "x-schemathesis-unknown-property" in {name.lower() for name in case.headers or {}}


def _is_upload(case):
    """Whether a request brings files. A schema says of a file that it is bytes, and whatever is sent is: made as what it
    forbids, it is sent as what it admits. That the server takes pictures alone, its own tests say."""
    return case.media_type == "multipart/form-data"


def _is_refused_by_a_rule(slug, case, status, problem):
    """Whether a request that fits the schema was refused for what the marketplace is like, not for its form."""
    expected = next((status for path, status in OF_ANOTHER_KIND.items() if case.path.startswith(path)), None)
    if status == expected:
        return True
    if slug == "invalid-field":
        errors = problem.get("errors", [])
        # A cursor is opaque: that it was not given out for this list is for the server alone to know.
        return bool(errors) and all(e["code"] in BEYOND_THE_SCHEMA or e["pointer"] == "?cursor" for e in errors)
    return status in (409, 412, 422) and bool(slug) and not slug.startswith("malformed-")
