"""Tests the HTTP API against its own OpenAPI document with Schemathesis: `make fuzz-api`.

Starts `tradepost demo` on the database that `TEST_DATABASE_URL` names, logs the sample marketplace's people in, looks
for what is there, and has requests made from the document in all phases, with all checks. The sandbox's clock comes
last and alone, because whatever moves it moves every deadline of the marketplace. Afterwards the log and everything
derived from it are verified, and the server's own log is searched for errors.

Ends with 0 if nothing was found, with 1 if something was, and with 2 if it could not be done.
"""

import argparse
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from functools import reduce
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SERVER = ROOT / "target/debug/tradepost"
# How long the server may take to be there, sample marketplace included.
PATIENCE_S = 180
# The share of the time that the sandbox's clock gets, alone.
CLOCK_S = 5
# No answer takes longer.
LONGEST_S = 5
PASSWORD = "tradepost-demo"
# What Schemathesis calls its findings, by what they mean.
KINDS = {
    "server errors": {"ServerError", "ContentTypeServerError"},
    "schema violations": {
        "AcceptedNegativeData",
        "ContentDeserializationError",
        "JsonSchemaError",
        "MalformedJson",
        "MalformedMediaType",
        "MissingContentType",
        "MissingHeaders",
        "RejectedPositiveData",
        "UndefinedContentType",
        "UndefinedStatusCode",
    },
    "ignored log-ins": {"IgnoredAuth", "ObjectLevelAuthorizationViolation"},
}


class CannotRun(Exception):
    """Something that is needed is not there."""


class Server:
    """A Tradepost with its sample marketplace, until the end of a `with`."""

    def __init__(self, folder, database_url):
        self.folder = folder
        self.log = folder / "server.log"
        self.lines = []
        self.address = None
        settings = {
            "DATABASE_URL": database_url,
            "TRADEPOST_AUTH__SECRET": secrets.token_hex(32),
            # One log-in lasts for the whole run.
            "TRADEPOST_AUTH__ACCESS_TOKEN_TTL_S": "86400",
            # Nobody else asks so much.
            "TRADEPOST_LIMITS__SENDER_PER_S": "0",
            "TRADEPOST_LIMITS__GUESSES_PER_MIN": "0",
            "TRADEPOST_LIMITS__CLICKS_PER_MIN": "0",
            "TRADEPOST_LIMITS__UPLOADS_PER_MIN": "0",
            "TRADEPOST_LIMITS__ACCOUNT_PER_S": "0",
        }
        self.environment = {**os.environ, **settings}

    def __enter__(self):
        self.process = subprocess.Popen(
            [SERVER, "demo", "--bind", "127.0.0.1:0"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        until = time.monotonic() + PATIENCE_S
        while self.address is None:
            if self.process.poll() is not None or time.monotonic() > until:
                self.__exit__()
                raise CannotRun("the server did not start:\n" + "".join(self.lines[-20:]))
            time.sleep(0.1)
        return self

    def _read(self):
        with self.log.open("w") as log:
            for line in self.process.stdout:
                self.lines.append(line)
                log.write(line)
                log.flush()
                listens = re.search(r"listens on (http://\S+)", line)
                if listens:
                    self.address = listens.group(1)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def errors(self):
        """What the server itself calls an error."""
        return [line.rstrip() for line in self.lines if re.search(r" ERROR |panicked", line)]

    def verify(self):
        """Whether the log is whole and everything derived from it equals a replay; and what was said of it."""
        done = subprocess.run(
            [SERVER, "verify"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode == 0, done.stdout

    def ask(self, method, path, body=None, token=None):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=data, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def market(self):
        """Log-ins, ids of what is there, and how far the log is."""
        log_in = lambda who: self.ask(
            "POST", "/api/v1/auth/login", {"email": f"{who}@tradepost.example", "password": PASSWORD}
        )["access_token"]
        tokens = {who: log_in(who) for who in ("admin", "buyer", "seller")}
        items = lambda path, who: self.ask("GET", f"/api/v1{path}", token=tokens[who])["items"]
        mine = self.ask("GET", "/api/v1/auth/me", token=tokens["seller"])["id"]
        listings = items("/listings?limit=20", "admin") + items(f"/listings?limit=40&seller={mine}", "seller")
        auctions = items("/auctions?limit=20", "admin") + items(f"/auctions?status=closed&seller={mine}", "admin")
        orders = items("/orders?limit=40", "buyer") + items("/orders?limit=40", "seller")
        # One province, so that every city that is known is in it.
        province = items("/locations/provinces", "admin")[0]["id"]
        cities = [city["id"] for city in items(f"/locations/provinces/{province}/cities", "admin")]
        for who in tokens:
            for recipient in ("Home", "Work"):
                address = {"recipient": recipient, "line1": "1 Hill Road", "province_id": province, "city_id": cities[0]}
                self.ask("POST", "/api/v1/addresses", address, tokens[who])
            for token in ("sandbox-succeeds", "sandbox-delays"):
                self.ask("POST", "/api/v1/payments/methods", {"token": token, "label": "Bank"}, tokens[who])
        methods = [method for who in tokens for method in items("/payments/methods", who)]
        addresses = [address for who in tokens for address in items("/addresses", who)]
        page = {"title": "Terms", "body": "# Be kind\n\nAnd [fair](https://example.com)."}
        self.ask("PUT", "/api/v1/admin/pages/terms", page, tokens["admin"])
        for order in items("/orders?limit=5", "buyer"):
            about = {"about": "order", "id": order["id"]}
            chat = self.ask("POST", "/api/v1/chats", about, tokens["buyer"])["id"]
            self.ask("POST", f"/api/v1/chats/{chat}/messages", {"text": "Is it on its way?"}, tokens["buyer"])
        chats = items("/chats", "buyer")
        notifications = [told for who in tokens for told in items("/notifications?limit=40", who)]
        disputed = items("/admin/escrow?status=disputed", "admin")
        said = self.speak(tokens, orders, listings)
        stores = items("/stores?limit=40", "admin")
        return {
            "address": self.address,
            "tokens": tokens,
            "head": self.ask("GET", "/api/v1/health/detailed")["head"],
            "ids": {
                "listings": [listing["id"] for listing in listings],
                "auctions": [auction["id"] for auction in auctions],
                "orders": [order["id"] for order in orders] + [escrow["order_id"] for escrow in disputed],
                "chats": [chat["id"] for chat in chats],
                "notifications": [told["id"] for told in notifications],
                "groups": [order["group_id"] for order in orders],
                "addresses": [address["id"] for address in addresses],
                "methods": [method["id"] for method in methods],
                "provinces": [province],
                "cities": cities,
                **said,
                "pages": ["terms"],
                # Not the seller of the log-ins, whose store would be removed for good.
                "sellers": [store["id"] for store in stores if store["id"] != mine],
            },
            "pictures": {
                listing["id"]: [image["id"] for image in listing["images"]] for listing in listings if listing["images"]
            },
            "slugs": {"stores": [store["slug"] for store in stores]},
        }


    def speak(self, tokens, orders, listings):
        """Lets the buyer say something of everything that has come, and tells the ids of what was said."""
        buyer, seller = tokens["buyer"], tokens["seller"]
        said = {"reviews": [], "reports": [], "complaints": []}

        def tell(kind, path, body, token):
            try:
                said[kind].append(self.ask("POST", f"/api/v1{path}", body, token)["id"])
            except urllib.error.HTTPError as refused:
                # It has not come yet, it is the seller's, or it was said before.
                if refused.code not in (403, 404, 409, 422):
                    raise

        for order in orders:
            for line in order["lines"]:
                review = {"order_id": order["id"], "listing_id": line["listing_id"], "sku": line["sku"], "rating": 4}
                tell("reviews", "/reviews", review, buyer)
            complaint = {"order_id": order["id"], "subject": "other", "text": "It is late."}
            for token in (buyer, seller):
                tell("complaints", "/complaints", complaint, token)
        for listing in listings[:10]:
            report = {"kind": "listing", "id": listing["id"], "reason": "other"}
            tell("reports", "/reports", report, buyer)
        return said


def schemathesis(server, market, report, seconds, seed, *, sandbox):
    """Runs Schemathesis over a part of the document, and tells whether it was content."""
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "schemathesis.toml"]
    command += ["run", server.address + "/api/schema"]
    command += ["--phases", "examples,coverage,fuzzing,stateful", "--checks", "all"]
    command += ["--max-response-time", str(LONGEST_S)]
    # One at a time: what is sent can be sent again from the seed.
    command += ["--max-time", str(seconds), "--seed", str(seed), "--workers", "1"]
    command += ["--include-path-regex" if sandbox else "--exclude-path-regex", "^/api/v1/sandbox/"]
    command += ["--report-json-path", report]
    environment = {
        **os.environ,
        "FUZZ_MARKET": json.dumps({**market, "refusals": str(refusals_of(report))}),
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(command, cwd=server.folder, env=environment).returncode


def refusals_of(report):
    """Where the hooks leave how often each refusal came that is no finding."""
    return report.with_suffix(".refusals")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="how long requests are made")
    parser.add_argument("--seed", type=int, help="what they are drawn from; by chance unless told")
    asked = parser.parse_args()
    database_url = os.environ.get("TEST_DATABASE_URL")
    if not database_url:
        raise CannotRun("TEST_DATABASE_URL must name an empty database; `make fuzz-api` makes one")
    if not SERVER.exists():
        raise CannotRun("there is no target/debug/tradepost; `make fuzz-api` builds it")
    seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    # SIGTERM ends the run like Ctrl-C: through the `with` that stops the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="tradepost-fuzz-") as folder, Server(Path(folder), database_url) as server:
        market = server.market()
        counts = ", ".join(f"{len(ids)} {kind}" for kind, ids in market["ids"].items())
        print(f"fuzz: {server.address} serves the sample marketplace ({counts} are known); seed {seed}", flush=True)
        parts = []
        for sandbox, seconds in ((False, max(asked.seconds - CLOCK_S, 1)), (True, CLOCK_S)):
            name = "the sandbox's clock" if sandbox else "everything but the sandbox's clock"
            print(f"fuzz: {name}, {seconds} s", flush=True)
            report = Path(folder) / f"part-{len(parts)}.json"
            code = schemathesis(server, market, report, seconds, seed, sandbox=sandbox)
            if not report.exists():
                raise CannotRun("Schemathesis has not reported; what it said is above")
            parts.append((code, json.loads(report.read_text()), json.loads(refusals_of(report).read_text())))
        print("fuzz: verifying the log and what is derived from it", flush=True)
        alive = server.process.poll() is None
        whole, told = server.verify()
        errors = server.errors()
    return summary(seed, parts, alive, whole, told, errors)


def summary(seed, parts, alive, whole, told, errors):
    """Tells what was found, and the exit code."""
    reports = [report for _, report, _ in parts]
    total = lambda *path: sum(reduce(lambda value, key: value[key], path, report) for report in reports)
    requests, operations = total("test_cases", "generated"), total("operations", "tested")
    refusals = sum((Counter(refusals) for _, _, refusals in parts), Counter())
    found = Counter()
    for report in reports:
        for failure in report["failures"]:
            found[failure["type"]] += failure["count"]
    accepted = {
        operation
        for report in reports
        for operation, phases in report["valid_rates"].items()
        if any(phase["accepted"] for phase in phases.values())
    }
    never = sorted({name for report in reports for name in report["valid_rates"]} - accepted)
    print(f"\n{requests} requests to {operations} operations, seed {seed}")
    for kind, names in KINDS.items():
        print(f"  {sum(found[name] for name in names):>5} {kind}")
    others = set(found) - {name for names in KINDS.values() for name in names}
    print(f"  {sum(found[name] for name in others):>5} other findings{': ' if others else ''}{', '.join(sorted(others))}")
    print(f"  {sum(len(report['errors']) for report in reports):>5} requests that could not be made or got no answer")
    print(f"  {len(errors):>5} errors in the server's log")
    print("\n".join(f"        {error}" for error in errors[:20]), end="\n" if errors else "")
    print(f"the log and what is derived from it: {'sound' if whole else 'NOT SOUND'}")
    if not whole:
        print(told)
    if not alive:
        print("the server did not live to see the end")
    kinds = ", ".join(f"{count} × {refusal}" for refusal, count in refusals.most_common())
    print(f"well-formed and refused by a rule, as it should be: {refusals.total()} ({kinds})")
    if never:
        print(f"refused whatever was sent: {', '.join(never)}")
    good = alive and whole and not errors and not any(code for code, _, _ in parts)
    print("\nPASSED" if good else "\nFAILED: each finding is told above, with a request that shows it")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotRun as error:
        print(f"fuzz: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
