#!/usr/bin/env python3
"""Every CloudWatch alarm says what to do: a row under "On AWS" in docs/ALERTS.md, and no row is without its alarm.

usage: alarms.py RUNBOOK NAME=FILE...        (plans, as terraform show -json)

A word in capitals in a row stands for what the alarm's name has there: `down-ROLE` is down-producer and the others.
"""
import json
import re
import sys

LINK = "docs/ALERTS.md#on-aws"


def alarms(module):
    for resource in module.get("resources", []):
        if resource["type"] == "aws_cloudwatch_metric_alarm":
            yield resource["index"], resource["values"]
    for child in module.get("child_modules", []):
        yield from alarms(child)


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def main(runbook, plans):
    with open(runbook, encoding="utf-8") as file:
        text = file.read()
    section = text.partition("\n## On AWS\n")[2].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE))
    patterns = {row: re.compile(re.sub(r"[A-Z]+", "[a-z0-9-]+", row)) for row in rows}
    headings = {anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    problems = [f"{runbook}: {row} leads to a heading that is not there: {target}" for row, advice in rows.items() for target in re.findall(r"\(#([^)]+)\)", advice) if target not in headings]
    used, names = set(), set()
    for plan in plans:
        profile, _, path = plan.partition("=")
        with open(path, encoding="utf-8") as file:
            for name, values in alarms(json.load(file)["planned_values"]["root_module"]):
                names.add(name)
                # An exact name comes before a pattern.
                row = name if name in rows else next((row for row, pattern in patterns.items() if pattern.fullmatch(name)), None)
                used.add(row)
                if row is None:
                    problems.append(f"{profile}: the alarm {name} has no row in {runbook}")
                if LINK not in values["alarm_description"]:
                    problems.append(f"{profile}: the alarm {name} has no link to its page: {LINK}")
    problems += [f"{runbook}: no profile has an alarm {row}" for row in rows if row not in used]
    print("\n".join(sorted(set(problems))), file=sys.stderr) if problems else print(f"{len(names)} alarms, {len(rows)} rows")
    return int(bool(problems) or not names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
