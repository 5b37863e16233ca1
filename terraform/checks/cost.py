#!/usr/bin/env python3
"""Compares the cost table in terraform/README.md with the plans' own prices, and each with its limit.

usage: cost.py README NAME=FILE...        (--write to renew the table)
"""
import json
import sys

LIMITS = {"demo": 80, "production-small": 206}
BEGIN, END = "<!-- cost table: terraform/check --write-costs -->", "<!-- end of cost table -->"
ROWS = ["fargate", "kafka", "database", "edge", "egress", "keys", "watching", "storage"]


def table(plans):
    head = "| USD a month | " + " | ".join(plans) + " |"
    lines = [head, "|---|" + "---:|" * len(plans)]
    for row in ROWS:
        lines.append(f"| {row} | " + " | ".join(f"{cost['by_component'][row]:.2f}" for cost in plans.values()) + " |")
    lines.append("| **total** | " + " | ".join(f"**{cost['monthly_usd']:.2f}**" for cost in plans.values()) + " |")
    return "\n".join(lines)


def main(arguments):
    write = "--write" in arguments
    readme, *files = [a for a in arguments if a != "--write"]
    plans = {}
    for argument in files:
        name, _, path = argument.partition("=")
        with open(path, encoding="utf-8") as file:
            plans[name] = json.load(file)["planned_values"]["outputs"]["cost"]["value"]
    wanted = table(plans)
    text = open(readme, encoding="utf-8").read()
    before, begin, rest = text.partition(BEGIN)
    shown, end, after = rest.partition(END)
    problems = [] if begin and end else [f"{readme}: no cost table between its two comments"]
    if write and not problems:
        open(readme, "w", encoding="utf-8").write(f"{before}{BEGIN}\n{wanted}\n{END}{after}")
    elif not problems and shown.strip() != wanted:
        problems.append(f"{readme}: the cost table is not what the plans cost; it should be\n{wanted}")
    for name, limit in LIMITS.items():
        if name not in plans:
            problems.append(f"{name}: no plan to price")
        elif plans[name]["monthly_usd"] >= limit:
            problems.append(f"{name}: {plans[name]['monthly_usd']} USD a month, the limit is {limit}")
    print("\n".join(problems), file=sys.stderr) if problems else print("costs: " + ", ".join(f"{n} {c['monthly_usd']:.2f}" for n, c in plans.items()))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
