"""Every step is one call of a script of ours, which therefore runs on any machine, or an action pinned by its commit with its version beside it;
no permission is given twice as wide as needed, and nothing is run without an end. steps.py WORKFLOW...; steps.py --planted tests itself."""

import os
import re
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
# What may write, and where: anything else is a mistake until it is written here.
WRITES = {("release", "publish"): {"id-token", "attestations"}}
AWS = {("release", "image-amd64"), ("release", "image-arm64"), ("release", "plan"), ("release", "deploy"), ("plan", "plan"), ("drift", "drift"), ("destroy", "destroy")}
WRITES |= {job: {"id-token"} for job in AWS}


def problems(name, text):
    workflow = YAML(typ="safe").load(text)
    if workflow.get("permissions") != {}:
        yield "permissions are not {} at the top"
    if "concurrency" not in workflow:
        yield "no concurrency"
    if "pull_request_target" in text or "workflow_run" in text:
        yield "runs what others wrote with our rights"
    # YAML loses comments: an action's version is one.
    for uses in re.findall(r"uses: ([^.\s].*)", text):
        if not re.fullmatch(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", uses):
            yield f"not pinned: {uses}"
    if re.search(r"secrets\.(?!GITHUB_TOKEN)|aws-(access-key-id|secret-access-key)", text):
        yield "a long-lived secret"
    for key, job in workflow["jobs"].items():
        permissions = job.get("permissions")
        if permissions is None:
            yield f"{key}: no permissions of its own"
            continue
        writes = {p for p, level in permissions.items() if level == "write"}
        if writes != WRITES.get((name, key), set()):
            yield f"{key}: may write {sorted(writes)}"
        if "id-token" in writes and "environment" not in job:
            yield f"{key}: a token for AWS without an environment"
        if "uses" in job:
            continue
        if "timeout-minutes" not in job:
            yield f"{key}: no timeout"
        for step in job["steps"]:
            if "checkout" in step.get("uses", "") and step.get("with", {}).get("persist-credentials") is not False:
                yield f"{key}: leaves credentials behind"
            if "run" in step:
                yield from (f"{key}: {what}" for what in run(step["run"]))


def run(command):
    """One line, one script that is there, its arguments only variables or plain words."""
    words = command.strip().split(" ")
    if not re.fullmatch(r'[\w./-]+( "\$\w+"| [\w./-]+)*', command.strip()):
        yield f"not one call of a script: {command!r}"
    elif not os.access(ROOT / words[0], os.X_OK) or not (ROOT / words[0]).is_file():
        yield f"no such script: {words[0]}"


MISTAKES = [  # what is written, what is written instead, what must be said
    ("permissions: {}", "permissions: write-all", "not {} at the top"),
    (r"(?s)concurrency:.*?(?=jobs:)", "", "no concurrency"),
    (r"@[0-9a-f]{40} # v6", "@v6 # v6", "not pinned"),
    (r"(@[0-9a-f]{40}) # v6.0.2", r"\1", "not pinned"),
    ("contents: read", "contents: write", "may write"),
    ("persist-credentials: false", "persist-credentials: true", "leaves credentials"),
    (r"timeout-minutes: \d+", "", "no timeout"),
    (r"run: .*script/ci/deploy.*", "run: terraform apply -auto-approve", "no such script"),
    (r"run: .*script/ci/deploy.*", "run: script/ci/deploy production plan && true", "not one call"),
    (r"run: .*script/ci/deploy.*", "run: script/ci/deploy ${{ github.ref_name }}", "not one call"),
    (r"run: .*script/ci/deploy.*", "run: script/ci/nothing", "no such script"),
    (r"    environment: build\n", "", "without an environment"),
    (r"role-to-assume: .*", "aws-access-key-id: ${{ secrets.KEY }}", "long-lived"),
    (r"(?m)^on:\n", "on:\n  pull_request_target:\n", "what others wrote"),
]

if sys.argv[1:] == ["--planted"]:
    text = (ROOT / ".github/workflows/release.yml").read_text()
    missed = []
    for pattern, instead, said in MISTAKES:
        planted = re.sub(pattern, instead, text)
        if planted == text or not any(said in p for p in problems("release", planted)):
            missed.append((pattern, said))
            print(f"NOT FOUND: {pattern} -> {instead}: {said}")
    print(f"planted mistakes: {len(MISTAKES) - len(missed)} passed, {len(missed)} failed")
    sys.exit(bool(missed))
found = [f"{path}: {problem}" for path in sys.argv[1:] for problem in problems(Path(path).stem, Path(path).read_text())]
print("\n".join(found) or f"steps of {len(sys.argv) - 1} workflows: no problem found")
sys.exit(bool(found))
