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
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SERVER = ROOT / "target/debug/tradepost"
# How long the server may take to be there, sample marketplace included.
PATIENCE_S = 180
# The share of the time that the sandbox's clock gets, alone.
CLOCK_S = 5
PASSWORD = "tradepost-demo"


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
        disputed = items("/admin/escrow?status=disputed", "admin")
        return {
            "address": self.address,
            "tokens": tokens,
            "head": self.ask("GET", "/api/v1/health/detailed")["head"],
            "ids": {
                "listings": [listing["id"] for listing in listings],
                "auctions": [auction["id"] for auction in auctions],
                "orders": [order["id"] for order in orders] + [escrow["order_id"] for escrow in disputed],
                "groups": [order["group_id"] for order in orders],
            },
        }


def schemathesis(server, market, report, seconds, seed, workers, *, sandbox):
    """Runs Schemathesis over a part of the document, and tells whether it was content."""
    command = [Path(sys.executable).parent / "schemathesis", "--config-file", HERE / "schemathesis.toml"]
    command += ["run", server.address + "/api/schema"]
    command += ["--phases", "examples,coverage,fuzzing,stateful", "--checks", "all"]
    command += ["--max-time", str(seconds), "--seed", str(seed), "--workers", str(workers)]
    command += ["--include-path-regex" if sandbox else "--exclude-path-regex", "^/api/v1/sandbox/"]
    command += ["--report-json-path", report]
    environment = {
        **os.environ,
        "FUZZ_MARKET": json.dumps(market),
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(command, cwd=server.folder, env=environment).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="how long requests are made")
    parser.add_argument("--seed", type=int, help="what they are drawn from; by chance unless told")
    parser.add_argument("--workers", type=int, default=1, help="how many at once; one can be repeated from its seed")
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
        reports, codes = [], []
        for sandbox, seconds in ((False, max(asked.seconds - CLOCK_S, 1)), (True, CLOCK_S)):
            part = "the sandbox's clock" if sandbox else "everything but the sandbox's clock"
            print(f"fuzz: {part}, {seconds} s", flush=True)
            report = Path(folder) / f"report-{sandbox}.json"
            codes.append(schemathesis(server, market, report, seconds, seed, asked.workers, sandbox=sandbox))
            reports.append(json.loads(report.read_text()) if report.exists() else None)
        print("fuzz: verifying the log and what is derived from it", flush=True)
        whole, told = server.verify()
        errors = server.errors()
        alive = server.process.poll() is None
    return summary(reports, codes, whole, told, errors, alive)


def summary(reports, codes, whole, told, errors, alive):
    print(json.dumps(reports)[:3000]); import shutil; Path("/tmp/fz/rep.json").write_text(json.dumps(reports)); Path("/tmp/fz/told").write_text(told+str(errors))
    good = whole and alive and not errors and not any(codes)
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CannotRun as error:
        print(f"fuzz: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
