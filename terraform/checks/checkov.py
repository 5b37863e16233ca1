#!/usr/bin/env python3
"""Runs checkov with terraform/.checkov.yaml and names what failed; two failures a target may be left unexplained, no more.

usage: checkov.py CHECKOV NAME=PATH...       (a directory of source, or a plan as JSON)
"""
import json
import os
import subprocess
import sys

UNEXPLAINED = 2


def main(checkov, targets):
    ok = bool(targets)
    for target in targets:
        name, _, path = target.partition("=")
        what = ["-d", path] if os.path.isdir(path) else ["-f", path, "--repo-root-for-plan-enrichment", "terraform"]
        framework = "terraform" if os.path.isdir(path) else "terraform_plan"
        command = [checkov, "--config-file", "terraform/.checkov.yaml", "--framework", framework, "-o", "json", *what]
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
