#!/usr/bin/env python3
"""Gets the value of every secret from the fake AWS, and searches the state for it. usage: secrets.py NAME FILE..."""
import json
import os
import sys
import urllib.request


def ask(action, **arguments):
    request = urllib.request.Request(os.environ["AWS_ENDPOINT_URL"], json.dumps(arguments).encode(), {
        "X-Amz-Target": f"secretsmanager.{action}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": "AWS4-HMAC-SHA256 Credential=fake/20260101/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=0",
    })
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def main(name, files):
    texts = {}
    for file in files:
        with open(file, encoding="utf-8") as text:
            texts[file] = text.read()
    secrets = ask("ListSecrets", MaxResults=100)["SecretList"]
    values = {s["Name"]: ask("GetSecretValue", SecretId=s["ARN"])["SecretString"] for s in secrets}
    leaks = [f"{name}: the value of {secret} is in {os.path.basename(file)}" for secret, value in values.items() for file, text in texts.items() if value in text]
    short = [f"{name}: the value of {secret} has {len(value)} characters" for secret, value in values.items() if len(value) < 32]
    twins = [f"{name}: two secrets have the same value"] if len(set(values.values())) < len(values) else []
    print("\n".join(leaks + short + twins), file=sys.stderr) if leaks or short or twins else print(f"{name}: the values of {len(values)} secrets are not in the state")
    return int(bool(leaks or short or twins))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
