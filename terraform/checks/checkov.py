#!/usr/bin/env python3
"""Runs checkov and names what failed; two failures a target may be left unexplained, no more. Run with checkov's own Python.

usage: checkov.py CHECKOV NAME=PATH...       (a directory of source, or a plan as JSON)

What is skipped, and why, is in terraform/.checkov.yaml; what only cheap profiles do without is in terraform/.checkov-cheap.yaml.
"""
import json
import os
import subprocess
import sys

import yaml

UNEXPLAINED = 2
# Source is checked for what is fixed in it; what a variable decides is checked in the plans, and in full in that of production.
FULL = {"production"}


def skips(name):
    files = ["terraform/.checkov.yaml"] + ([] if name in FULL else ["terraform/.checkov-cheap.yaml"])
    loaded = []
    for file in files:
        with open(file, encoding="utf-8") as text:
            loaded += yaml.safe_load(text)["skip-check"]
    return ",".join(loaded)


def with_keys(path):
    """A copy of a plan in which keys that are made by the same plan are there: checkov takes what is not known yet for missing."""
    with open(path, encoding="utf-8") as file:
        plan = json.load(file)
    unknown = {c["address"]: c["change"].get("after_unknown") or {} for c in plan["resource_changes"]}

    def fill(module):
        for resource in module.get("resources", []):
            for argument, is_unknown in unknown.get(resource["address"], {}).items():
                if is_unknown is True and "kms" in argument:
                    resource["values"][argument] = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
        for child in module.get("child_modules", []):
            fill(child)

    fill(plan["planned_values"]["root_module"])
    for change in plan["resource_changes"]:
        for argument, is_unknown in (change["change"].get("after_unknown") or {}).items():
            if is_unknown is True and "kms" in argument:
                change["change"]["after"][argument] = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
    copy = path + ".with-keys.json"
    with open(copy, "w", encoding="utf-8") as file:
        json.dump(plan, file)
    return copy


def main(checkov, targets):
    ok = bool(targets)
    for target in targets:
        name, _, path = target.partition("=")
        source = os.path.isdir(path)
        what = ["-d", path, "--framework", "terraform"] if source else ["-f", with_keys(path), "--framework", "terraform_plan", "--repo-root-for-plan-enrichment", "terraform"]
        command = [checkov, "--config-file", "terraform/.checkov.yaml", "--skip-check", skips(name), "-o", "json", *what]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        try:
            reports = json.loads(ran.stdout)
        except ValueError:
            print(f"{name}: checkov gave no report\n{ran.stdout[-2000:]}{ran.stderr[-4000:]}", file=sys.stderr)
            return 1
        passed = failed = errors = 0
        for report in reports if isinstance(reports, list) else [reports]:
            if "results" not in report:
                continue
            passed += report["summary"]["passed"]
            errors += report["summary"]["parsing_errors"]
            for check in report["results"]["failed_checks"]:
                failed += 1
                print(f"{name}: {check['check_id']} {check['resource']} ({check['file_path']}): {check['check_name']}", file=sys.stderr)
        print(f"{name}: {passed} passed, {failed} failed, {errors} files not understood")
        ok = ok and failed <= UNEXPLAINED and errors == 0 and passed > 0
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
