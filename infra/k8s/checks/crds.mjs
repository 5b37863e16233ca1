// Validates the custom resources of the files named: types and required fields by models generated from the operators' own types; and every
// field's name must be one that the operator knows, since those models let an unknown one pass. Prints what is wrong; exits 1 if any.
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as argo from "@kubernetes-models/argo-cd/argoproj.io/v1alpha1";
import * as secrets from "@kubernetes-models/external-secrets/external-secrets.io/v1";
import * as keda from "@kubernetes-models/keda/keda.sh/v1alpha1";
import { parseAllDocuments } from "yaml";

const operators = {
  "keda.sh/v1alpha1": [keda, "keda"],
  "argoproj.io/v1alpha1": [argo, "argo-cd"],
  "external-secrets.io/v1": [secrets, "external-secrets"],
};
const core = /^(v1|(apps|autoscaling|batch|policy|networking\.k8s\.io)\/v\d+)$/;
const require = createRequire(import.meta.url);

// The names of all fields of an operator's types.
const known = new Map();
function fields(apiVersion, name) {
  if (!known.has(apiVersion)) {
    const types = join(dirname(require.resolve(`@kubernetes-models/${name}/package.json`)), apiVersion);
    const text = readdirSync(types).filter((file) => file.endsWith(".d.ts")).map((file) => readFileSync(join(types, file), "utf8"));
    known.set(apiVersion, new Set([...text.join("\n").matchAll(/^ +"(\w+)"\??:/gm)].map((match) => match[1])));
  }
  return known.get(apiVersion);
}

// Free-form maps: their keys are not fields.
const maps = new Set(["metadata", "labels", "annotations", "matchLabels", "data"]);
function* names(node) {
  if (Array.isArray(node)) for (const item of node) yield* names(item);
  else if (node && typeof node === "object")
    for (const [key, value] of Object.entries(node)) {
      yield key;
      if (!maps.has(key)) yield* names(value);
    }
}

let [checked, wrong] = [0, 0];
for (const file of process.argv.slice(2)) {
  for (const document of parseAllDocuments(readFileSync(file, "utf8"))) {
    const resource = document.toJS();
    if (!resource || core.test(resource.apiVersion)) continue;
    const complain = (what) => {
      wrong += 1;
      console.log(`${file}: ${resource.kind} ${resource.metadata?.name}: ${what}`);
    };
    const [models, name] = operators[resource.apiVersion] ?? [];
    const Model = models?.[resource.kind];
    if (!Model) {
      complain(`no schema for ${resource.apiVersion}`);
      continue;
    }
    checked += 1;
    try {
      new Model(resource).validate();
    } catch (error) {
      complain(error.message);
    }
    for (const key of names(resource.spec)) if (!fields(resource.apiVersion, name).has(key)) complain(`unknown field ${key}`);
  }
}
console.log(`custom resources: ${checked} checked, ${wrong} mistakes`);
process.exit(wrong || !checked ? 1 : 0);
