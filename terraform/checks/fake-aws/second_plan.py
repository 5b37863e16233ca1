#!/usr/bin/env python3
"""Is a second plan empty, but for what moto does not remember? usage: second_plan.py NAME PLAN.json"""
import json
import sys

# What moto 5.2 loses between a call and the next, so that the provider would set it again. Anything else is ours.
FORGOTTEN = {
    "aws_vpc_security_group_egress_rule": {"description"},
    "aws_vpc_security_group_ingress_rule": {"description"},
    # The capacity providers of a service, among others: it comes back as if made for EC2, which forces a replacement.
    "aws_ecs_service": None,
}


def changed(change):
    unknown = change.get("after_unknown") or {}
    before, after = change["before"] or {}, change["after"] or {}
    known = {k for k in before.keys() | after.keys() if not unknown.get(k) and before.get(k) != after.get(k)}
    return known, {k for k, v in unknown.items() if v is True}


def main(name, path):
    with open(path, encoding="utf-8") as file:
        plan = json.load(file)
    forgotten, ours = 0, []
    for resource in plan.get("resource_changes", []):
        change = resource["change"]
        if resource["mode"] != "managed" or change["actions"] == ["no-op"]:
            continue
        known, unknown = changed(change)
        may = FORGOTTEN.get(resource["type"], set())
        # A policy over the services' ARNs is recomputed because the services would be: it does not differ by itself.
        follows = resource["type"] == "aws_iam_role_policy" and not known and unknown == {"policy"}
        if may is None or follows or (known and known <= may and change["actions"] == ["update"]):
            forgotten += 1
        else:
            ours.append(f"{name}: {resource['address']}: {'/'.join(change['actions'])} {', '.join(sorted(known | unknown))}")
    print("\n".join(ours), file=sys.stderr) if ours else None
    if not ours:
        print(f"{name}: a second plan changes nothing" + (f" but {forgotten} things that the fake forgets" if forgotten else ""))
    return int(bool(ours))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
