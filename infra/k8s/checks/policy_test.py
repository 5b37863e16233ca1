"""Every rule of policy.py can fail: each mistake here, planted in the rendered production overlay (read from standard input), must be found."""

import copy
import sys

import yaml

from policy import Overlay, pod

DOCUMENTS = [d for d in yaml.safe_load_all(sys.stdin) if d]


def find(documents, kind, name):
    return next(d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name)


def container(documents, name="producer", kind="Deployment"):
    return pod(find(documents, kind, name))["spec"]["containers"][0]


def policy(documents, name):
    return find(documents, "NetworkPolicy", name)["spec"]


def label(documents, name, key, value):
    pod(find(documents, "Deployment", name))["metadata"]["labels"][key] = value


MISTAKES = {  # what must be said: what is done
    "writable root": lambda d: container(d)["securityContext"].update(readOnlyRootFilesystem=False),
    "keeps capabilities": lambda d: container(d)["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["NET_RAW"]}),
    "may escalate": lambda d: container(d, "migrate", "Job")["securityContext"].pop("allowPrivilegeEscalation"),
    "not user 65532": lambda d: pod(find(d, "Job", "topics"))["spec"]["securityContext"].update(runAsUser=0),
    "service account token": lambda d: pod(find(d, "Deployment", "recovery"))["spec"].pop("automountServiceAccountToken"),
    "no limits": lambda d: container(d)["resources"]["limits"].pop("memory"),
    "without a digest": lambda d: container(d).update(image="registry.example.com/eventflow:1.2.3"),
    "floating image": lambda d: container(d).update(image="registry.example.com/eventflow:latest"),
    "is in the tree": lambda d: container(d)["env"].append({"name": "EVENTFLOW_KAFKA_PASSWORD", "value": "x"}),
    "readinessProbe is not /ready": lambda d: container(d, "validator")["readinessProbe"]["httpGet"].update(path="/health"),
    "readinessProbe is not /health": lambda d: container(d)["readinessProbe"]["httpGet"].update(path="/ready"),
    "startupProbe is not /ready": lambda d: container(d)["startupProbe"]["httpGet"].update(path="/health"),
    "livenessProbe is not /health": lambda d: container(d)["livenessProbe"]["httpGet"].update(port="nope"),
    "too short to drain": lambda d: pod(find(d, "Deployment", "producer"))["spec"].update(terminationGracePeriodSeconds=30),
    "not spread": lambda d: pod(find(d, "Deployment", "validator"))["spec"].pop("topologySpreadConstraints"),
    "has no Deployment": lambda d: d.remove(find(d, "Deployment", "analytics")),
    "runs ['validator']": lambda d: container(d, "persistence").update(args=["validator"]),
    "no stage of pipeline.json": lambda d: find(d, "Deployment", "registry")["metadata"].update(name="schemas"),
    "Service producer: selects 0": lambda d: find(d, "Service", "producer")["spec"]["selector"].update({"app.kubernetes.io/component": "edge"}),
    "no port": lambda d: find(d, "Service", "registry")["spec"]["ports"][0].update(targetPort="http"),
    "no PodDisruptionBudget": lambda d: d.remove(find(d, "PodDisruptionBudget", "persistence")),
    "mounts a subPath": lambda d: container(d)["volumeMounts"][0].update(subPath="sources.toml"),
    "no such ConfigMap in a volume": lambda d: pod(find(d, "Deployment", "recovery"))["spec"]["volumes"][0]["configMap"].update(name="vendors"),
    "no such service account": lambda d: d.remove(find(d, "ServiceAccount", "admin")),
    "not restricted": lambda d: find(d, "Namespace", "eventflow")["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce"),
    "in another namespace": lambda d: find(d, "Service", "producer")["metadata"].update(namespace="default"),
    "no default deny": lambda d: d.remove(find(d, "NetworkPolicy", "default-deny")),
    "analytics may call": lambda d: label(d, "analytics", "eventflow/database", "client"),
    "producer may be called by": lambda d: policy(d, "edge")["ingress"][0].pop("from"),
    "a peer that no pod is": lambda d: policy(d, "registry")["ingress"][0]["from"][0].update(podSelector={"matchLabels": {"a": "b"}}),
    "too wide": lambda d: policy(d, "to-kafka")["egress"][0]["to"][0]["ipBlock"].update(cidr="0.0.0.0/0"),
    "any port": lambda d: policy(d, "to-database")["egress"][0].pop("ports"),
    "unknown namespace": lambda d: policy(d, "metrics")["ingress"][0]["from"][0]["namespaceSelector"].update(matchLabels={}),
    "not in README.md": lambda d: container(d)["env"][0]["valueFrom"]["secretKeyRef"].update(name="eventflow-typo"),
    "used by nothing": lambda d: container(d, "recovery").update(env=[]),
    "a Secret is in the tree": lambda d: d.append({"kind": "Secret", "metadata": {"name": "x", "namespace": "eventflow"}}),
    "more pods than partitions": lambda d: find(d, "ScaledObject", "validator")["spec"].update(maxReplicaCount=7),
    "is not its group": lambda d: find(d, "ScaledObject", "validator")["spec"]["triggers"][0]["metadata"].update(consumerGroup="validator"),
    "does not read": lambda d: find(d, "ScaledObject", "persistence")["spec"]["triggers"][0]["metadata"].update(topic="events.raw.v1"),
    "other brokers": lambda d: find(d, "ScaledObject", "analytics")["spec"]["triggers"][0]["metadata"].update(bootstrapServers="kafka:9092"),
    "a number of its own": lambda d: find(d, "Deployment", "producer")["spec"].update(replicas=2),
    "end a stage altogether": lambda d: find(d, "ScaledObject", "validator")["spec"].update(minReplicaCount=0),
    "nothing reads it": lambda d: container(d)["env"].append({"name": "EVENTFLOW_KAFKA_BROKER", "value": "x"}),
}

passed = failed = 0
clean = set(Overlay("production", copy.deepcopy(DOCUMENTS)).check())
for said, plant in MISTAKES.items():
    documents = copy.deepcopy(DOCUMENTS)
    plant(documents)
    found = set(Overlay("production", documents).check()) - clean
    if any(said in problem for problem in found):
        passed += 1
    else:
        failed += 1
        print(f"NOT FOUND: {said}; found instead: {sorted(found)}")
print(f"planted mistakes: {passed} passed, {failed} failed")
sys.exit(bool(failed))
