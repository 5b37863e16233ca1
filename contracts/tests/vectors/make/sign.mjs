// Signs requests now, each as its vendor's own library does and judged by that library, for tests that post them to a running edge. Reads a list
// of { preset, url, headers, body }, and writes a list of { secret, headers, body }: what is to be configured, and what is to be posted.
import fs from "node:fs";
import { vendors } from "./vendors.mjs";

const signed = [];
for (const { preset, ...request } of JSON.parse(fs.readFileSync(0, "utf8"))) {
  const vendor = vendors.find((known) => known.preset === preset);
  const secret = vendor.secrets.new;
  const made = { ...request, ...(await vendor.sign({ ...request, secret, at: Math.floor(Date.now() / 1000) })) };
  if ((await vendor.judge({ ...made, secret })) === false) throw new Error(`${preset}: its library refuses what it signed`);
  signed.push({ secret: (vendor.configured ?? vendor.secrets).new, headers: made.headers, body: made.body });
}
process.stdout.write(JSON.stringify(signed));
