"""Adds what a run of cargo-mutants has found to docs/mutants.jsonl: a line of JSON, as `make mutants` calls it.

Survivors are named in it; why one may live is told in docs/mutants.md.
"""

import argparse
import datetime
import json
import os
import platform
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def lines(file):
    return file.read_text().splitlines() if file.exists() else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path, help="the folder mutants.out of the run")
    parser.add_argument("--package", required=True)
    parser.add_argument("--shard", default="", help="which part of the mutants it was, as in 1/4")
    asked = parser.parse_args()
    found = {kind: lines(asked.output / f"{kind}.txt") for kind in ("caught", "missed", "timeout", "unviable")}
    viable = sum(len(found[kind]) for kind in ("caught", "missed", "timeout"))
    if not viable:
        raise SystemExit(f"{asked.output} tells of no mutant that was tested")
    line = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "package": asked.package,
        "shard": asked.shard,
        "files": sorted({name.split(":")[0] for names in found.values() for name in names}),
        **{kind: len(names) for kind, names in found.items()},
        "noticed_percent": round(100 * (len(found["caught"]) + len(found["timeout"])) / viable, 1),
        "survivors": found["missed"],
    }
    with (ROOT / "docs/mutants.jsonl").open("a") as results:
        results.write(json.dumps(line) + "\n")
    print(f"{line['noticed_percent']} % of {viable} mutants were noticed; {len(found['missed'])} were not")


main()
