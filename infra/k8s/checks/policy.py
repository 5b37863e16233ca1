"""What must hold of a rendered overlay, beyond Kubernetes' schemas: policy.py OVERLAY < MANIFESTS. Prints what does not; exits 1 if any."""

import ipaddress
import json
import re
import sys
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]

PIPELINE = json.loads((ROOT / "infra/kafka/pipeline.json").read_text())
STAGES = {stage["name"]: stage for stage in PIPELINE["stages"]}

# Who may open a connection to whom, written down independently of the policies. "dns" is everyone's. A stage needs Kafka and the schema
# registry, and the database if that keeps its offsets.
CALLS = {name: {"kafka", "registry"} | ({"database"} if stage.get("offsets") == "database" else set()) for name, stage in STAGES.items()} | {
    "producer": {"kafka"},
    "recovery": {"kafka", "registry", "database", "producer"} | STAGES.keys(),
    "registry": set(),
    "migrate": {"database"},
    "topics": {"kafka"},
    "simulator": {"producer"},
}
CALLED_BY = {
    "producer": {"ingress", "monitoring", "simulator", "recovery"},
    "registry": {"recovery", "monitoring"} | STAGES.keys(),
} | {name: {"monitoring", "recovery"} for name in STAGES}
# Only ready pods get traffic. But the producer's answer without Kafka is its own (503, Retry-After): it must have been ready once, and alive from then on.
PROBES = {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}
PRODUCER = {"startupProbe": "/ready", "livenessProbe": "/health", "readinessProbe": "/health"}
# Namespaces that are there before us (README.md).
OUTSIDE = {"kube-system", "ingress", "monitoring", "eventflow-data"}


class Overlay:
    def __init__(self, name, documents):
        self.name = name
        self.documents = documents
        self.problems = []
        self.workloads = self.of("Deployment", "Job")

    def of(self, *kinds):
        return [d for d in self.documents if d["kind"] in kinds]

    def expect(self, holds, what):
        if not holds:
            self.problems.append(what)

    def settings(self):
        """The ConfigMap of environment variables; the other one has a file."""
        return [d for d in self.of("ConfigMap") if d["metadata"]["name"].startswith("settings")]

    def matching(self, selector):
        """The workloads whose pods a selector selects."""
        wanted = selector.get("matchLabels", {})
        return [w for w in self.workloads if wanted.items() <= pod(w)["metadata"]["labels"].items()]

    def check(self):
        for workload in self.workloads:
            self.pod_is_restricted(workload)
        self.roles_are_the_pipelines()
        self.selectors_select()
        self.references_resolve()
        self.network_is_the_table()
        self.secrets_are_documented()
        self.scaling_fits_the_topics()
        self.settings_exist()
        return self.problems

    def pod_is_restricted(self, workload):
        who, spec = title(workload), pod(workload)["spec"]
        self.expect(spec.get("automountServiceAccountToken") is False, f"{who}: has a service account token")
        context = spec.get("securityContext", {})
        self.expect(context.get("runAsNonRoot") is True and context.get("runAsUser") == 65532, f"{who}: not user 65532")
        self.expect(context.get("seccompProfile", {}).get("type") == "RuntimeDefault", f"{who}: no seccomp profile")
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            self.expect(not spec.get(key), f"{who}: {key}")
        self.expect(not any("hostPath" in v for v in spec.get("volumes", [])), f"{who}: a hostPath")
        if workload["kind"] == "Deployment":
            self.expect(spec.get("topologySpreadConstraints"), f"{who}: not spread")
            waits = [c.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0) for c in spec["containers"]]
            grace = spec.get("terminationGracePeriodSeconds", 30)
            self.expect(grace >= 30 and grace >= 25 + 5 + max(waits), f"{who}: {grace} s are too short to drain in")
        for container in spec["containers"] + spec.get("initContainers", []):
            self.container_is_restricted(workload, container)

    def container_is_restricted(self, workload, container):
        who, context = title(workload), container.get("securityContext", {})
        self.expect(context.get("readOnlyRootFilesystem") is True, f"{who}: writable root")
        self.expect(context.get("allowPrivilegeEscalation") is False, f"{who}: may escalate privileges")
        self.expect(not context.get("privileged"), f"{who}: privileged")
        self.expect(context.get("capabilities", {}) == {"drop": ["ALL"]}, f"{who}: keeps capabilities")
        resources = container.get("resources", {})
        for part in ("requests", "limits"):
            self.expect({"cpu", "memory"} <= resources.get(part, {}).keys(), f"{who}: no {part}")
        image = container["image"]
        if self.name == "production":
            self.expect(re.search(r"@sha256:[0-9a-f]{64}$", image), f"{who}: image without a digest: {image}")
        self.expect(re.search(r":[^/]+$", image) and not image.endswith(":latest"), f"{who}: floating image: {image}")
        for variable in container.get("env", []):
            if re.search(r"PASSWORD|SECRET|_TOKEN_|KEY$", variable["name"]):
                self.expect("value" not in variable, f"{who}: {variable['name']} is in the tree")
        if workload["kind"] == "Deployment":
            ports = {p["name"] for p in container["ports"]}
            for probe, path in (PRODUCER if workload["metadata"]["name"] == "producer" else PROBES).items():
                get = container.get(probe, {}).get("httpGet", {})
                self.expect(get.get("path") == path and get.get("port") in ports, f"{who}: {probe} is not {path}")

    def roles_are_the_pipelines(self):
        for name in ("producer", *STAGES, "recovery"):
            found = [d for d in self.of("Deployment") if d["metadata"]["name"] == name]
            self.expect(found, f"{name}: has no Deployment")
            for workload in found:
                args = [argument for c in pod(workload)["spec"]["containers"] for argument in c["args"]]
                self.expect(args == [name], f"{title(workload)}: runs {args}")
        for workload in self.workloads:
            self.expect(workload["metadata"]["name"] in CALLS, f"{title(workload)}: no stage of pipeline.json, and no role beside them")

    def selectors_select(self):
        for workload in self.of("Deployment"):
            own = self.matching(workload["spec"]["selector"])
            self.expect(own == [workload], f"{title(workload)}: selects {[title(w) for w in own]}")
        for thing in self.of("Service"):
            found = self.matching({"matchLabels": thing["spec"]["selector"]})
            self.expect(len(found) == 1, f"{title(thing)}: selects {len(found)} workloads")
            names = {p["name"] for w in found for c in pod(w)["spec"]["containers"] for p in c["ports"]}
            for port in thing["spec"]["ports"]:
                self.expect(port["targetPort"] in names, f"{title(thing)}: no port {port['targetPort']}")
        for thing in self.of("PodDisruptionBudget"):
            self.expect(len(self.matching(thing["spec"]["selector"])) == 1, f"{title(thing)}: selects nothing")
        covered = {w["metadata"]["name"] for t in self.of("PodDisruptionBudget") for w in self.matching(t["spec"]["selector"])}
        for workload in self.of("Deployment"):
            self.expect(workload["metadata"]["name"] in covered, f"{title(workload)}: no PodDisruptionBudget")

    def references_resolve(self):
        accounts = {d["metadata"]["name"] for d in self.of("ServiceAccount")}
        maps = {d["metadata"]["name"] for d in self.of("ConfigMap")}
        (namespace,) = self.of("Namespace")
        labels = namespace["metadata"]["labels"]
        self.expect(labels.get("pod-security.kubernetes.io/enforce") == "restricted", "the namespace is not restricted")
        for document in self.documents:
            if document is not namespace:
                inside = document["metadata"].get("namespace") == namespace["metadata"]["name"]
                self.expect(inside, f"{title(document)}: in another namespace")
        for workload in self.workloads:
            spec = pod(workload)["spec"]
            self.expect(spec.get("serviceAccountName") in accounts, f"{title(workload)}: no such service account")
            for container in spec["containers"]:
                for source in container.get("envFrom", []):
                    self.expect(source["configMapRef"]["name"] in maps, f"{title(workload)}: no such ConfigMap")
                for mount in container.get("volumeMounts", []):
                    # The kubelet renews no subPath: a secret that is rotated would never arrive.
                    self.expect("subPath" not in mount, f"{title(workload)}: mounts a subPath")
            for volume in spec.get("volumes", []):
                name = volume.get("configMap", {}).get("name")
                self.expect(name is None or name in maps, f"{title(workload)}: no such ConfigMap in a volume")

    def network_is_the_table(self):
        policies = self.of("NetworkPolicy")
        closed = [p["spec"] for p in policies if p["spec"]["podSelector"] == {} and not {"ingress", "egress"} & p["spec"].keys()]
        self.expect(any(set(s["policyTypes"]) == {"Ingress", "Egress"} for s in closed), "no default deny")
        calls = {w["metadata"]["name"]: set() for w in self.workloads}
        called = {w["metadata"]["name"]: set() for w in self.workloads}
        for policy in policies:
            own = self.matching(policy["spec"]["podSelector"])
            self.expect(own, f"{title(policy)}: selects no pod")
            for rule in policy["spec"].get("egress", []):
                for name in (w["metadata"]["name"] for w in own):
                    calls[name] |= self.peers(policy, rule.get("to", [{}]), policy["metadata"]["name"].removeprefix("to-"))
                self.expect(rule.get("ports"), f"{title(policy)}: any port")
            for rule in policy["spec"].get("ingress", []):
                for workload in own:
                    called[workload["metadata"]["name"]] |= self.peers(policy, rule.get("from", [{}]), None)
                ports = {p[key] for w in own for c in pod(w)["spec"]["containers"] for p in c.get("ports", []) for key in ("name", "containerPort")}
                for port in rule.get("ports", [{}]):
                    self.expect(port.get("port") in ports, f"{title(policy)}: no such port: {port.get('port')}")
        for name in calls.keys() & CALLS.keys():
            wanted = CALLS[name] | {"dns"}
            self.expect(calls[name] == wanted, f"network: {name} may call {sorted(calls[name])}, not {sorted(wanted)}")
            callers = CALLED_BY.get(name, {"monitoring"}) & (calls.keys() | OUTSIDE)
            self.expect(called[name] == callers, f"network: {name} may be called by {sorted(called[name])}, not {sorted(callers)}")

    def peers(self, policy, peers, outside):
        """The names of a rule's peers: components, namespaces, or for egress leaving the namespace what the policy is named after."""
        names = set()
        for peer in peers:
            if not peer:
                names.add("everyone")
            elif "ipBlock" in peer:
                block = ipaddress.ip_network(peer["ipBlock"]["cidr"])
                self.expect(block.is_private and block.prefixlen >= 16, f"{title(policy)}: {block} is too wide")
                names.add(outside)
            elif "namespaceSelector" in peer:
                namespace = peer["namespaceSelector"].get("matchLabels", {}).get("kubernetes.io/metadata.name")
                self.expect(namespace in OUTSIDE, f"{title(policy)}: unknown namespace {namespace}")
                names.add(outside or str(namespace))
            else:
                found = self.matching(peer.get("podSelector", {}))
                self.expect(found, f"{title(policy)}: a peer that no pod is")
                names |= {w["metadata"]["name"] for w in found}
        return names

    def secrets_are_documented(self):
        self.expect(not self.of("Secret"), "a Secret is in the tree")
        used = {(r["name"], r["key"]) for d in self.documents for r in references(d)}
        table = re.findall(r"^\| `(eventflow-[a-z-]+)` \| `([a-z.-]+)` \|", (HERE.parent / "README.md").read_text(), re.M)
        for name, key in sorted(used - set(table)):
            self.expect(False, f"secret {name}/{key} is not in README.md")
        for name, key in sorted(set(table) - used):
            self.expect(False, f"secret {name}/{key} of README.md is used by nothing")

    def scaling_fits_the_topics(self):
        (settings,) = self.settings()
        deployments = {d["metadata"]["name"]: d for d in self.of("Deployment")}
        for scaler in self.of("ScaledObject", "HorizontalPodAutoscaler"):
            name = scaler["spec"]["scaleTargetRef"]["name"]
            self.expect(name in deployments, f"{title(scaler)}: scales nothing")
            self.expect("replicas" not in deployments.get(name, {}).get("spec", {}), f"{title(scaler)}: {name} has a number of its own")
        for scaler in self.of("ScaledObject"):
            name = scaler["spec"]["scaleTargetRef"]["name"]
            stage = STAGES.get(name, {})
            for trigger in (t["metadata"] for t in scaler["spec"]["triggers"]):
                self.expect(trigger["topic"] in (stage.get("reads"), stage.get("retry")), f"{title(scaler)}: {name} does not read {trigger['topic']}")
                self.expect(trigger["consumerGroup"] == stage.get("group"), f"{title(scaler)}: {trigger['consumerGroup']} is not its group")
                partitions = PIPELINE["topics"].get(trigger["topic"], {}).get("partitions", 0)
                self.expect(scaler["spec"]["maxReplicaCount"] <= partitions, f"{title(scaler)}: more pods than partitions")
                same = trigger["bootstrapServers"] == settings["data"]["EVENTFLOW_KAFKA_BROKERS"]
                self.expect(same, f"{title(scaler)}: other brokers than the stage's")
            self.expect(scaler["spec"]["minReplicaCount"] >= 1, f"{title(scaler)}: may end a stage altogether")

    def settings_exist(self):
        """Every variable is one that the program reads: a typo would be ignored in silence."""
        sources = "\n".join(p.read_text() for p in ROOT.glob("*/src/**/*.rs"))
        names = {n for d in self.settings() for n in d["data"]}
        values = ""
        for workload in self.workloads:
            for container in pod(workload)["spec"]["containers"]:
                names |= {v["name"] for v in container.get("env", [])}
                values += " ".join(v.get("value", "") for v in container.get("env", []))
        for name in sorted(names - {"PGUSER", "PGPASSWORD"}):
            self.expect(f'"{name}"' in sources or f"env:{name}" in values, f"{name}: nothing reads it")


def pod(workload):
    return workload["spec"]["template"]


def title(document):
    return f"{document['kind']} {document['metadata']['name']}"


def references(node):
    """Every reference to a secret's key, wherever it is."""
    if isinstance(node, dict):
        if "secretKeyRef" in node:
            yield node["secretKeyRef"]
        yield from node.get("secretTargetRef", [])
        if "secretName" in node and "items" in node:
            yield from ({"name": node["secretName"], "key": item["key"]} for item in node["items"])
        node = node.values()
    elif not isinstance(node, list):
        return
    for child in node:
        yield from references(child)


if __name__ == "__main__":
    problems = Overlay(sys.argv[1], [d for d in yaml.safe_load_all(sys.stdin) if d]).check()
    for problem in problems:
        print(f"{sys.argv[1]}: {problem}")
    sys.exit(bool(problems))
