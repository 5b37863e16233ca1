#!/usr/bin/env python3
"""Holds plans and applied states (terraform show -json) against what this stack promises, whatever its profile.

usage: plan.py NAME=FILE...

No value of a secret, no policy on every resource, no public address of a task, instance, database or broker; the price is that of
what is planned. Policies are mostly known only once applied: hence states. Prints one line a plan; exits 1 with every breach named.
"""
import json
import re
import sys

# The only actions of ours that AWS can allow on "*" alone. A key policy's "*" is the key it belongs to; an endpoint's policy
# only narrows what roles may do.
ONLY_ON_STAR = {"ecr:GetAuthorizationToken"}
# Arguments that hold secret values. Write-only ones (..._wo) are null in every plan, which is the point of them.
SECRET_ARGUMENTS = {"secret_string", "secret_binary", "password", "master_password", "auth_token", "secret_string_wo", "password_wo"}
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|PRIVATE_KEY|CREDENTIAL", re.I)
SECRET_VALUE = re.compile(r"AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|://[^/\s:@]+:[^/\s@]+@")
# Arguments by which a thing gets a public address, and the value that is no address.
PUBLIC = {"assign_public_ip": False, "associate_public_ip_address": False, "map_public_ip_on_launch": False, "publicly_accessible": False}


def resources(module):
    yield from (r for r in module.get("resources", []) if "values" in r and r["mode"] == "managed")
    for child in module.get("child_modules", []):
        yield from resources(child)


def root_of(shown):
    return (shown.get("planned_values") or shown["values"])["root_module"]


def walk(value, path=""):
    """Every (path, key, scalar) of a value, and of JSON inside its strings."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from walk(inner, f"{path}[{i}]")
    else:
        yield path, re.sub(r"\[\d+\]$", "", path.rsplit(".", 1)[-1]), value
        if isinstance(value, str) and value[:1] in "{[":
            try:
                yield from walk(json.loads(value), path + "|")
            except ValueError:
                pass


def policies(resource):
    """(argument, document) of every policy that is known in the plan."""
    for path, _, value in walk(resource["values"]):
        if isinstance(value, str) and value.lstrip().startswith("{") and '"Statement"' in value:
            yield path, json.loads(value)


def listed(value):
    return value if isinstance(value, list) else [value]


def breaches(plan):
    planned = list(resources(root_of(plan)))
    for resource in planned:
        address, kind, values = resource["address"], resource["type"], resource["values"]
        for path, key, value in walk(values):
            if key in SECRET_ARGUMENTS and value not in (None, ""):
                yield f"{address}{path}: the value of a secret is in the plan"
            if isinstance(value, str) and SECRET_VALUE.search(value):
                yield f"{address}{path}: looks like the value of a secret"
            # In a state this one is an answer, and the fake answers true for every instance; in a plan it is what we ask for.
            answered = key == "associate_public_ip_address" and "planned_values" not in plan
            if key in PUBLIC and value not in (None, PUBLIC[key]) and not answered:
                yield f"{address}{path}: has a public address"
        if kind == "aws_ecs_task_definition" and isinstance(values.get("container_definitions"), str):
            for container in json.loads(values["container_definitions"]):
                for variable in container.get("environment", []):
                    if SECRET_NAME.search(variable["name"]) and not variable["name"].endswith(("_FILE", "_ID", "_MECHANISM")):
                        yield f"{address}: {variable['name']} is an environment variable, not a secret's reference"
        for path, document in policies(resource):
            for statement in listed(document["Statement"]):
                on_all = "*" in listed(statement.get("Resource", []))
                whose = kind in ("aws_kms_key", "aws_vpc_endpoint") or statement["Effect"] == "Deny"
                if on_all and not whose and not set(listed(statement.get("Action", "*"))) <= ONLY_ON_STAR:
                    yield f"{address}{path}: {statement.get('Sid', 'a statement')} is allowed on every resource"
                if statement["Effect"] == "Allow" and "*" in listed(statement.get("Action", [])) and not whose:
                    yield f"{address}{path}: {statement.get('Sid', 'a statement')} allows everything"
    if "planned_values" in plan:
        yield from price_breaches(plan, planned)


def price_breaches(plan, planned):
    """Is what was priced what is planned?"""
    outputs = plan["planned_values"].get("outputs", {})
    cost = outputs.get("cost", {}).get("value")
    if not cost:
        yield "output cost: not known in the plan"
        return
    shape = cost["shape"]

    def of(kind):
        return [r["values"] for r in planned if r["type"] == kind]

    def same(what, priced, found):
        if priced != found:
            yield f"price: {what} is priced as {priced!r}, but the plan makes {found!r}"

    yield from same("kms_keys", shape["kms_keys"], len(of("aws_kms_key")))
    # RDS keeps the master password in a secret of its own, which is billed like any other.
    managed = sum(1 for db in of("aws_db_instance") if db.get("manage_master_user_password"))
    yield from same("secrets", shape["secrets"], len(of("aws_secretsmanager_secret")) + managed)
    yield from same("alarms", shape["alarms"], len(of("aws_cloudwatch_metric_alarm")))
    metrics = {(t["namespace"], t["name"]) for f in of("aws_cloudwatch_log_metric_filter") for t in f["metric_transformation"]}
    yield from same("custom_metrics", shape["custom_metrics"], len(metrics))
    zones = len(of("aws_route53_zone")) + len(of("aws_service_discovery_private_dns_namespace"))
    yield from same("dns_zones", shape["dns_zones"], zones)
    for db in of("aws_db_instance"):
        found = (db["instance_class"], db["multi_az"], db["allocated_storage"])
        yield from same("the database", (shape["db_class"], shape["db_multi_az"], shape["db_gb"]), found)
    for msk in of("aws_msk_cluster"):
        found = ("msk", msk["broker_node_group_info"][0]["instance_type"], msk["number_of_broker_nodes"])
        yield from same("Kafka", (shape["kafka_kind"], shape["kafka_instance"], shape["kafka_brokers"]), found)
    machines = sorted(i["instance_type"] for i in of("aws_instance"))
    wanted = (["t4g.nano"] if shape["egress"] == "nat_instance" else []) + ([shape["kafka_instance"]] * int(shape["kafka_brokers"]) if shape["kafka_kind"] == "ec2" else [])
    yield from same("instances", sorted(wanted), machines)
    yield from same("NAT gateways", int(shape["egress"] == "nat_gateway"), len(of("aws_nat_gateway")))
    yield from same("load balancers", int(shape["edge"] == "alb"), len(of("aws_lb")))
    endpoints = sum(1 for e in of("aws_vpc_endpoint") if e.get("vpc_endpoint_type") == "Interface")
    yield from same("interface endpoints", int(shape["endpoints"]), endpoints)
    sizes = {t["family"]: (int(t["cpu"]), int(t["memory"])) for t in of("aws_ecs_task_definition")}
    tasks = {s["name"]: int(s["desired_count"]) for s in of("aws_ecs_service")}
    priced = {r: (int(s["cpu"]), int(s["memory_mb"]), int(s["tasks"])) for r, s in shape["services"].items()}
    for role, want in priced.items():
        found = [(*next((size for family, size in sizes.items() if family.endswith("-" + role)), (0, 0)), n) for name, n in tasks.items() if name == role or name.endswith("-" + role)]
        yield from same(f"service {role}", [want], found)
    yield from same("services", len(priced), len(tasks))


def main(arguments):
    failed = False
    for argument in arguments:
        name, _, path = argument.partition("=")
        with open(path, encoding="utf-8") as file:
            plan = json.load(file)
        found = list(breaches(plan))
        count = sum(1 for _ in resources(root_of(plan)))
        for breach in found:
            print(f"{name}: {breach}", file=sys.stderr)
        failed = failed or bool(found) or count == 0
        print(f"{name}: {count} resources, {len(found)} breaches")
    return int(failed or not arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
