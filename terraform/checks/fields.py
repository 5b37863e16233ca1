#!/usr/bin/env python3
"""The log fields that alarms are made of are those the roles write: a renamed field would leave an alarm silent for ever."""
import re
import sys
from pathlib import Path

METRICS, ALERTS = "terraform/modules/observability/metrics.tf", "terraform/modules/observability/audit.tf"


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def sources(crate):
    """The crate's program text, whichever of its files a thing is in."""
    return "\n".join(read(path) for path in sorted(Path(crate, "src").rglob("*.rs")))


def main():
    metrics, recovery, runtime = read(METRICS), sources("recovery"), sources("runtime")
    audit = recovery.split("pub struct Audit {", 1)[1].split("\n}", 1)[0]
    problems = []
    for field in sorted(set(re.findall(r'"\$\.([a-z_.]+)"', metrics.split("from_audit = {", 1)[1].split("}", 1)[0]))):
        name, _, inner = field.partition(".")
        if f"pub {name}:" not in audit or (inner and f'"{inner}"' not in recovery):
            problems.append(f"audit has no field {field}")
    if 'event = "check_failing", check' not in runtime:
        problems.append("no log line check_failing with the field check")
    for check in re.findall(r'\$\.check = \\"(\w+)\\"', metrics):
        if not re.search(rf'"{check}"', runtime):
            problems.append(f"no check named {check} in the runtime")
    if "flatten_event(true)" not in runtime:
        problems.append("log fields are not at the top level any more")
    if '["audit", "--database", "--json"]' not in read(ALERTS):
        problems.append("the audit task's command has changed: are its options still those of `eventflow audit`?")
    print("\n".join(problems), file=sys.stderr) if problems else print("alarms read what the roles write")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
