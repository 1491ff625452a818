"""Makes generated requests meet a living marketplace, and tells a refusal by a rule from a finding.

Nothing here knows single routes by heart, except those in `OF_ANOTHER_KIND`: a route that is new in the document is
called like any other, and gets

- a log-in: the sample marketplace's admin, buyer or seller, who between them may do everything. What changes or ends
  one's own session or account, which is any command under `/auth/`, is sent by an account that joins for it and is given
  up once such a command was accepted, so that the run goes on;
- ids of things that are there, instead of three in four of those that were made up, by the name of what the path is
  about (`KINDS`);
- an `Idempotency-Key` of its own, instead of three in four of the same few;
- a position that the log has reached, instead of all but one in sixteen of those that it has not: such a read waits two
  seconds, and would take most of the time of a run.
"""

import hashlib
import itertools
import json
import os
import threading
import urllib.request
import uuid

import schemathesis
from schemathesis.core.failures import ServerError
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
}
FIELDS = {"listing_id": "listings", "order_id": "orders"}

# A plain HTTP client cannot open a socket: 426 is the only good answer that it can get.
OF_ANOTHER_KIND = {"/api/v1/ws/": 426}

# What is wrong with a field that the schema cannot tell: it depends on another field, on the time, on the payment
# provider's methods, or the text was not given out by this server.
BEYOND_THE_SCHEMA = {"either-or", "missing", "unexpected", "unknown", "in-past", "too-far"}

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
    body = {"email": f"{name}@example.com", "user_name": name, "password": f"pass {name}", "sell": True}
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
        return TOKENS["seller" if who in (1, 2) else "buyer" if who in (3, 4) else "admin"]

    def set(self, case, token, _):
        if token is not None:
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def before_call(context, case, kwargs):
    # What a sequence is about comes from its own answers.
    if _phase(case) != "stateful":
        _use_what_is_there(case)
    _use_own_key(case)
    _use_reached_position(case.query, "min_position")
    _use_reached_position(case.headers, "Tradepost-Min-Position")


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


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether a failure is a finding."""
    try:
        problem = response.json()
    except ValueError:
        return True
    if not isinstance(problem, dict):
        return True
    slug = str(problem.get("type", "")).removeprefix("/problems/")
    # The log may reach any position one day. What it has not reached yet is answered like this, as documented.
    if isinstance(failure, ServerError):
        return not (response.status_code == 503 and slug == "projection-behind" and problem["min_position"] > MARKET["head"])
    if isinstance(failure, RejectedPositiveData):
        return not _is_refused_by_a_rule(slug, case, response.status_code, problem)
    return True


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
