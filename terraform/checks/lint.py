#!/usr/bin/env python3
"""IAM lint (parliament) of every policy document in plans and states (terraform show -json).

usage: lint.py FILE...        Run with parliament's own Python.
"""
import json
import sys

from parliament import analyze_policy_string, enhance_finding

# What parliament says of a policy that we mean; each with its reason. Everything else of LOW or worse fails.
ACCEPTED = {
    "RESOURCE_STAR": "its own opinion of which calls could be narrowed; what may be on '*' is decided in plan.py, and for CI in bootstrap/apply.tf",
}


def resources(module):
    yield from (resource for resource in module.get("resources", []) if "values" in resource)
    for child in module.get("child_modules", []):
        yield from resources(child)


def documents(resource):
    for argument in ("policy", "inline_policy", "json"):
        text = resource["values"].get(argument)
        if isinstance(text, str) and '"Statement"' in text and resource["type"].startswith("aws_iam_"):
            yield argument, text


def listed(value):
    return value if isinstance(value, list) else [value]


def main(files):
    seen, failed = {}, []
    for path in files:
        with open(path, encoding="utf-8") as file:
            shown = json.load(file)
        root = (shown.get("planned_values") or shown.get("values") or {}).get("root_module", {})
        for resource in resources(root):
            for argument, text in documents(resource):
                # A principal is a trust or resource policy: those are not what parliament reads.
                if any("Principal" in statement for statement in listed(json.loads(text)["Statement"])):
                    continue
                seen.setdefault(json.dumps(json.loads(text), sort_keys=True), resource["address"])
    # Statement by statement, so that a finding is about what that statement says.
    statements = [(json.dumps({**json.loads(text), "Statement": [s]}), address) for text, address in seen.items() for s in listed(json.loads(text)["Statement"])]
    for text, address in statements:
        for finding in analyze_policy_string(text).findings:
            finding = enhance_finding(finding)
            detail = finding.detail
            if finding.issue == "RESOURCE_MISMATCH":
                # A wildcard stands for calls, too, that no resource given fits; one that is written out must fit one.
                detail = [d["action"] for d in detail if f'"{d["action"]}"'.lower() in text.lower()]
                if not detail:
                    continue
            if finding.issue not in ACCEPTED and finding.severity not in ("MUTED", "INFO"):
                failed.append(f"{address}: {finding.severity} {finding.issue}: {finding.title} {str(detail)[:1500]}")
    print("\n".join(failed), file=sys.stderr) if failed else None
    print(f"IAM lint: {len(seen)} policy documents, {len(statements)} statements, {len(failed)} findings")
    return int(bool(failed) or not seen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
