// Makes the signature vectors: each case is signed and judged by the vendor's library, or by an independent implementation where there is
// none. A case on which the library and EventFlow would differ says why; any other difference ends the run.
import fs from "node:fs";
import path from "node:path";

const [sources, out] = process.argv.slice(2);
const NOW = 1_768_478_400; // 2026-01-15T12:00:00Z
const DAYS_40 = 40 * 86_400;

// The libraries ask the clock themselves.
let clock = NOW;
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(clock * 1000);
    else super(...given);
  }
  static now() {
    return clock * 1000;
  }
};

const { vendors } = await import("./vendors.mjs");

const madeBy = (vendor) =>
  vendor.sdk
    ? `${vendor.sdk} ${JSON.parse(fs.readFileSync(manifest(vendor.sdk))).version}`
    : "independent: node:crypto, after the vendor's page";

const manifest = (name) => new URL(`../node_modules/${name}/package.json`, import.meta.url);

function example(preset) {
  const folder = path.join(sources, preset);
  const body = fs.readdirSync(folder).find((name) => name.startsWith("body."));
  const lines = fs.readFileSync(path.join(folder, "headers.txt"), "utf8").trim().split("\n");
  const headers = Object.fromEntries(lines.map((line) => line.split(/: (.*)/s, 2)));
  return { headers, body: fs.readFileSync(path.join(folder, body), "utf8") };
}

async function judged(vendor, request, secret) {
  try {
    return (await vendor.judge({ ...request, secret, url: vendor.url })) !== false;
  } catch (error) {
    if (process.env.VERBOSE) console.error(vendor.preset, error.message);
    return false;
  }
}

for (const vendor of vendors) {
  const given = example(vendor.preset);
  const tamper =
    vendor.tamper ?? ((body) => body.replace(/[0-9](?=[^0-9]*$)/, (digit) => String((Number(digit) + 1) % 10)));
  const make = async (secret, at) => {
    clock = NOW;
    const request = { method: "POST", headers: { ...given.headers }, body: given.body };
    return { ...request, ...(await vendor.sign({ ...request, secret, at, url: vendor.url })) };
  };
  const cases = [];
  const add = async (name, request, ours, keys, because) => {
    clock = NOW;
    const library = await judged(vendor, request, vendor.secrets[keys]);
    const accepts = "verified" in ours;
    if (library !== accepts && !because) {
      throw new Error(`${vendor.preset}: ${name}: the library says ${library}, EventFlow must say ${JSON.stringify(ours)}`);
    }
    if (library === accepts && because) throw new Error(`${vendor.preset}: ${name}: they agree, but a difference is declared`);
    cases.push({ name, ...request, now: NOW, ...ours, ...(because && { library_differs: because }) });
  };
  const genuine = await make(vendor.secrets.new, NOW);
  await add("genuine", genuine, { verified: "new" }, "new");
  await add("signed with the old secret", await make(vendor.secrets.old, NOW), { verified: "old" }, "old");
  await add("signed with a secret that nobody has", await make(vendor.secrets.other, NOW), vendor.wrong ?? { refused: "signature_mismatch" }, "new");
  await add("tampered", { ...genuine, ...vendor.tampered?.(genuine) ?? { body: tamper(genuine.body) } }, vendor.unsigned ? { verified: "new" } : { refused: "signature_mismatch" }, "new");
  if (vendor.timed) {
    const looser = vendor.looser ?? {};
    await add("stale", await make(vendor.secrets.new, NOW - DAYS_40), { refused: "timestamp_too_old" }, "new", looser.stale);
    await add("future", await make(vendor.secrets.new, NOW + DAYS_40), { refused: "timestamp_in_future" }, "new", looser.future);
  }
  for (const [name, extra] of Object.entries(vendor.more ?? {})) {
    const { ours, key, ...request } = await extra({ ...given, at: NOW, url: vendor.url });
    await add(name, { method: "POST", ...request }, ours, key ?? "new");
  }
  const file = {
    preset: vendor.preset,
    made_by: madeBy(vendor),
    ...(vendor.url && { public_url: vendor.url }),
    ...(vendor.scheme && { scheme: vendor.scheme }),
    secrets: [
      { id: "new", secret: (vendor.configured ?? vendor.secrets).new },
      { id: "old", secret: (vendor.configured ?? vendor.secrets).old },
    ],
    cases,
  };
  const name = vendor.file ?? vendor.preset;
  fs.writeFileSync(path.join(out, `${name}.json`), `${JSON.stringify(file, null, 1)}\n`);
  console.log(`${name}: ${cases.length} cases, ${file.made_by}`);
}
