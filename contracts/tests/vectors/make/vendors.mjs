// How each vendor signs and judges. What is not from a library is written after the page that the preset names.
import crypto from "node:crypto";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createRequire } from "node:module";
import * as adyen from "@adyen/api-library";
import { Signature as HubSpot } from "@hubspot/api-client";
import { LinearWebhookClient } from "@linear/sdk/webhooks";
import Mux from "@mux/mux-node";
import * as octokit from "@octokit/webhooks-methods";
import { Paddle } from "@paddle/paddle-node-sdk";
import * as polar from "@polar-sh/sdk/webhooks";
import * as sanity from "@sanity/webhook";
import sendgrid from "@sendgrid/eventwebhook";
import "@shopify/shopify-api/adapters/node";
import { shopifyApi, ApiVersion } from "@shopify/shopify-api";
import { WorkOS } from "@workos-inc/node";
import braintree from "braintree";
import { verifyKey } from "discord-interactions";
import Pusher from "pusher";
import Razorpay from "razorpay";
import { WebhooksHelper as Square } from "square";
import { Webhook as Standard } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as Svix } from "svix";
import Telnyx from "telnyx";
import twilio from "twilio";

const require = createRequire(import.meta.url);
const slack = require(path.join(path.dirname(require.resolve("@slack/bolt")), "receivers/verify-request.js"));
const twilioWebhooks = require("twilio/lib/webhooks/webhooks.js");

const hmac = (algorithm, secret, text, encoding) => crypto.createHmac(algorithm, secret).update(text).digest(encoding);
const equal = (a, b) => a.length === b.length && crypto.timingSafeEqual(Buffer.from(a), Buffer.from(b));
const texts = { new: "new-secret-7f3a", old: "old-secret-91bc", other: "other-secret-00" };
const whsec = {
  new: "whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcy1vci1tb3Jl",
  old: "whsec_b2xkLXNlY3JldC1vZi0yNC1ieXRlcy1vci1tb3Jl",
  other: "whsec_b3RoZXItc2VjcmV0LW9mLTI0LWJ5dGVzLW9yLW1v",
};
const rfc3339 = (at) => new Date(at * 1000).toISOString();

// A MAC of the body, or of the body and the time, in headers: who has no library.
const independent = (preset, { header, algorithm = "sha256", encoding = "hex", prefix = "", time, stamp = String, signed = (_, body) => body, ...rest }) => ({
  preset,
  secrets: texts,
  timed: Boolean(time),
  sign: ({ secret, at, headers, body }) => ({
    headers: {
      ...headers,
      ...(time && { [time]: stamp(at) }),
      [header]: prefix + hmac(algorithm, secret, signed(time && stamp(at), body, headers), encoding),
    },
  }),
  judge: ({ secret, headers, body }) => {
    const now = Date.now() / 1000;
    const written = time && headers[time];
    if (time) {
      const at = /^\d{13}$/.test(written) ? Number(written) / 1000 : /^\d+$/.test(written) ? Number(written) : Date.parse(written) / 1000;
      if (Math.abs(now - at) > 86_400) return false;
    }
    return equal(headers[header], prefix + hmac(algorithm, secret, signed(written, body, headers), encoding));
  },
  ...rest,
});

const standard = (preset, Library, sdk, names, rest = {}) => ({
  preset,
  sdk,
  secrets: whsec,
  timed: true,
  sign: ({ secret, at, headers, body }) => ({
    headers: {
      ...headers,
      [names[0]]: "msg_2Lml3Zf4Y7d0d3ExAmPlE",
      [names[1]]: String(at),
      [names[2]]: new Library(secret).sign("msg_2Lml3Zf4Y7d0d3ExAmPlE", new Date(at * 1000), body),
    },
  }),
  judge: ({ secret, headers, body }) => new Library(secret).verify(body, headers) !== null,
  ...rest,
});
const WEBHOOK = ["webhook-id", "webhook-timestamp", "webhook-signature"];
const SVIX = ["svix-id", "svix-timestamp", "svix-signature"];

// Keys of the public-key methods: what the vendor has, and what is configured.
const ED25519_PKCS8 = Buffer.from("302e020100300506032b657004220420", "hex");
const ed25519 = (name) => {
  const seed = crypto.createHash("sha256").update(name).digest();
  const key = crypto.createPrivateKey({ key: Buffer.concat([ED25519_PKCS8, seed]), format: "der", type: "pkcs8" });
  const raw = crypto.createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
  return { key, raw };
};
const EDWARDS = { new: ed25519("new"), old: ed25519("old"), other: ed25519("other") };
const P256 = Object.fromEntries(["new", "old", "other"].map((name) => [name, crypto.generateKeyPairSync("ec", { namedCurve: "P-256" })]));
const publicKeys = (write) => ({ new: write("new"), old: write("old") });

function certificate(name) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "vectors-"));
  const [key, file] = [path.join(folder, "key.pem"), path.join(folder, "certificate.pem")];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", file, "-days", "3650", "-subj", `/CN=${name}.messageverificationcerts.example`], { stdio: "ignore" });
  const made = { key: fs.readFileSync(key, "utf8"), certificate: fs.readFileSync(file, "utf8") };
  fs.rmSync(folder, { recursive: true });
  return made;
}
const CERTIFICATES = { new: certificate("new"), old: certificate("old"), other: certificate("other") };

function crc32(text) {
  let crc = ~0;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1));
  }
  return ~crc >>> 0;
}

const stripe = new Stripe("sk_test_example");
const oldOnly = "its library refuses only what is too old";
const noTime = "its library judges no time";

const fields = (body) => Object.fromEntries(new URLSearchParams(body));
const twilioVendor = (preset, algorithm) => ({
  preset,
  sdk: "twilio",
  url: "https://hooks.example.com/api/webhooks/twilio",
  secrets: texts,
  sign: ({ secret, url, headers, body }) => ({
    headers: { ...headers, "x-twilio-signature": twilioWebhooks.getExpectedTwilioSignature(secret, url, fields(body), algorithm) },
  }),
  judge: ({ secret, url, headers, body, query }) =>
    query
      ? twilioWebhooks.validateRequestWithBody(secret, headers["x-twilio-signature"], `${url}?${query}`, body, algorithm)
      : twilioWebhooks.validateRequest(secret, headers["x-twilio-signature"], url, fields(body), algorithm),
  tamper: (body) => body.replace("seats", "rooms"),
  more: Object.fromEntries(
    [true, false].map((genuine) => [
      genuine ? "JSON with its digest in the query" : "JSON with the digest of another body",
      ({ url }) => {
        const body = '{"event":"call.completed","sid":"CAEXAMPLE1"}';
        const query = `bodySHA256=${twilioWebhooks.getExpectedBodyHash(body)}`;
        const signature = twilioWebhooks.getExpectedTwilioSignature(texts.new, `${url}?${query}`, {}, algorithm);
        return {
          query,
          headers: { "content-type": "application/json", "x-twilio-signature": signature },
          body: genuine ? body : body.replace("CAEXAMPLE1", "CAEXAMPLE2"),
          ours: genuine ? { verified: "new" } : { refused: "signature_mismatch" },
        };
      },
    ]),
  ),
});

const shopify = (file, rename) => ({
  preset: "shopify",
  file,
  sdk: "@shopify/shopify-api",
  secrets: texts,
  sign: ({ secret, headers, body }) => ({
    headers: rename({ ...headers, "x-shopify-hmac-sha256": hmac("sha256", secret, body, "base64") }),
  }),
  judge: async ({ secret, headers, body }) => {
    const app = shopifyApi({ apiKey: "key", apiSecretKey: secret, scopes: [], hostName: "example.com", apiVersion: Object.values(ApiVersion)[0], isEmbeddedApp: false, logger: { level: 0 } });
    const rawRequest = { method: "POST", url: "/", headers };
    return (await app.webhooks.validate({ rawBody: body, rawRequest, rawResponse: {} })).valid;
  },
});

const Hmac = adyen.default.hmacValidator;
const adyenKeys = { new: "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056", old: "55782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056", other: "66782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056" };

const braintreeGateway = (privateKey) => new braintree.BraintreeGateway({ environment: braintree.Environment.Sandbox, merchantId: "m", publicKey: "public1", privateKey });

const boxManager = require("box-node-sdk/managers/webhooks").WebhooksManager;

export const vendors = [
  independent("eventflow", { header: "x-provider-signature", time: "x-provider-timestamp", signed: (at, body) => `${at}.${body}` }),
  standard("standard-webhooks", Standard, "standardwebhooks", WEBHOOK),
  {
    preset: "standard-webhooks-ed25519",
    secrets: EDWARDS,
    configured: publicKeys((name) => `whpk_${EDWARDS[name].raw.toString("base64")}`),
    timed: true,
    sign: ({ secret, at, headers, body }) => ({
      headers: { ...headers, "webhook-id": "msg_1", "webhook-timestamp": String(at), "webhook-signature": `v1a,${crypto.sign(null, Buffer.from(`msg_1.${at}.${body}`), secret.key).toString("base64")}` },
    }),
    judge: ({ secret, headers, body }) => {
      const signed = Buffer.from(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`);
      const fresh = Math.abs(Date.now() / 1000 - Number(headers["webhook-timestamp"])) <= 300;
      return fresh && crypto.verify(null, signed, crypto.createPublicKey(secret.key), Buffer.from(headers["webhook-signature"].slice(4), "base64"));
    },
  },
  standard("svix", Svix, "svix", SVIX),
  standard("openai", Standard, "standardwebhooks", WEBHOOK),
  standard("clerk", Svix, "svix", SVIX),
  standard("resend", Svix, "svix", SVIX),
  standard("gitlab-signed", Standard, "standardwebhooks", WEBHOOK),
  {
    ...standard("polar", Standard, "@polar-sh/sdk", WEBHOOK),
    secrets: texts,
    sign: ({ secret, at, headers, body }) => ({
      headers: { ...headers, "webhook-id": "msg_1", "webhook-timestamp": String(at), "webhook-signature": new Standard(Buffer.from(secret).toString("base64")).sign("msg_1", new Date(at * 1000), body) },
    }),
    judge: ({ secret, headers, body }) => {
      try {
        polar.validateEvent(body, headers, secret);
      } catch (error) {
        // What comes after the signature: its own schema of the event.
        if (error instanceof polar.WebhookVerificationError) return false;
      }
      return true;
    },
  },
  {
    preset: "stripe",
    sdk: "stripe",
    secrets: { new: "whsec_new7f3a", old: "whsec_old91bc", other: "whsec_other00" },
    timed: true,
    looser: { future: oldOnly },
    sign: ({ secret, at, headers, body }) => ({
      headers: { ...headers, "stripe-signature": stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: at }) },
    }),
    judge: ({ secret, headers, body }) => Boolean(stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret, 300)),
    more: {
      "while the secret is rolled: signed with both": ({ headers, body, at }) => {
        const by = (secret) => stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: at }).split(",")[1];
        const signature = `t=${at},${by("whsec_new7f3a")},${by("whsec_old91bc")},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39`;
        return { headers: { ...headers, "stripe-signature": signature }, body, ours: { verified: "new" } };
      },
    },
  },
  {
    preset: "github",
    sdk: "@octokit/webhooks-methods",
    secrets: texts,
    sign: async ({ secret, headers, body }) => ({ headers: { ...headers, "x-hub-signature-256": await octokit.sign(secret, body) } }),
    judge: ({ secret, headers, body }) => octokit.verify(secret, body, headers["x-hub-signature-256"]),
    more: {
      "a form, GitHub's default content type": async ({ headers, body }) => {
        const form = `payload=${encodeURIComponent(body)}`;
        return { headers: { ...headers, "content-type": "application/x-www-form-urlencoded", "x-hub-signature-256": await octokit.sign(texts.new, form) }, body: form, ours: { verified: "new" } };
      },
    },
  },
  {
    preset: "gitlab",
    secrets: texts,
    unsigned: true,
    sign: ({ secret, headers }) => ({ headers: { ...headers, "x-gitlab-token": secret } }),
    judge: ({ secret, headers }) => equal(headers["x-gitlab-token"], secret),
  },
  independent("bitbucket", { header: "x-hub-signature", prefix: "sha256=" }),
  shopify("shopify", (headers) => headers),
  shopify("shopify-events", (headers) => Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.replace(/^x-shopify-/, "shopify-"), value]))),
  {
    preset: "slack",
    sdk: "@slack/bolt",
    secrets: texts,
    timed: true,
    looser: { future: oldOnly },
    sign: ({ secret, at, headers, body }) => ({
      headers: { ...headers, "x-slack-request-timestamp": String(at), "x-slack-signature": `v0=${hmac("sha256", secret, `v0:${at}:${body}`, "hex")}` },
    }),
    judge: ({ secret, headers, body }) => slack.isValidSlackRequest({ signingSecret: secret, body, headers: { "x-slack-signature": headers["x-slack-signature"], "x-slack-request-timestamp": Number(headers["x-slack-request-timestamp"]) } }),
  },
  {
    preset: "square",
    sdk: "square",
    url: "https://hooks.example.com/api/webhooks/square",
    secrets: texts,
    sign: ({ secret, url, headers, body }) => ({ headers: { ...headers, "x-square-hmacsha256-signature": hmac("sha256", secret, url + body, "base64") } }),
    judge: ({ secret, url, headers, body }) => Square.verifySignature({ requestBody: body, signatureHeader: headers["x-square-hmacsha256-signature"], signatureKey: secret, notificationUrl: url }),
  },
  twilioVendor("twilio", "HMAC_SHA1"),
  twilioVendor("twilio-sha256", "HMAC_SHA256"),
  {
    preset: "adyen",
    sdk: "@adyen/api-library",
    secrets: adyenKeys,
    sign: ({ secret, body }) => {
      const notification = JSON.parse(body);
      for (const { NotificationRequestItem: item } of notification.notificationItems) {
        item.additionalData.hmacSignature = new Hmac().calculateHmac(item, secret);
      }
      return { body: JSON.stringify(notification) };
    },
    judge: ({ secret, body }) => JSON.parse(body).notificationItems.every(({ NotificationRequestItem: item }) => new Hmac().validateHMAC(item, secret)),
    // In the second item: every one is checked.
    tamper: (body) => body.replace("2500", "2501"),
  },
  {
    preset: "paypal",
    scheme: { webhook_id: "6AX21234567890123" },
    secrets: CERTIFICATES,
    configured: publicKeys((name) => CERTIFICATES[name].certificate),
    timed: true,
    sign: ({ secret, at, headers, body }) => {
      const signed = `${headers["paypal-transmission-id"]}|${rfc3339(at)}|6AX21234567890123|${crc32(body)}`;
      return { headers: { ...headers, "paypal-transmission-time": rfc3339(at), "paypal-transmission-sig": crypto.sign("sha256", Buffer.from(signed), secret.key).toString("base64") } };
    },
    judge: ({ secret, headers, body }) => {
      const at = headers["paypal-transmission-time"];
      const signed = `${headers["paypal-transmission-id"]}|${at}|6AX21234567890123|${crc32(body)}`;
      const fresh = Math.abs(Date.now() - Date.parse(at)) < 3 * 86_400_000;
      return fresh && crypto.verify("sha256", Buffer.from(signed), new crypto.X509Certificate(secret.certificate).publicKey, Buffer.from(headers["paypal-transmission-sig"], "base64"));
    },
  },
  {
    preset: "paddle",
    sdk: "@paddle/paddle-node-sdk",
    secrets: texts,
    timed: true,
    looser: { future: oldOnly },
    sign: ({ secret, at, headers, body }) => ({ headers: { ...headers, "paddle-signature": `ts=${at};h1=${hmac("sha256", secret, `${at}:${body}`, "hex")}` } }),
    judge: ({ secret, headers, body }) => new Paddle("key").webhooks.isSignatureValid(body, secret, headers["paddle-signature"]),
  },
  {
    preset: "razorpay",
    sdk: "razorpay",
    secrets: texts,
    sign: ({ secret, headers, body }) => ({ headers: { ...headers, "x-razorpay-signature": hmac("sha256", secret, body, "hex") } }),
    judge: ({ secret, headers, body }) => Razorpay.validateWebhookSignature(body, headers["x-razorpay-signature"], secret),
  },
  {
    preset: "braintree",
    sdk: "braintree",
    scheme: { prefix: "public1|" },
    secrets: texts,
    sign: ({ secret, body }) => {
      const form = new URLSearchParams(body);
      const key = crypto.createHash("sha1").update(secret).digest();
      form.set("bt_signature", `public1|${hmac("sha1", key, form.get("bt_payload"), "hex")}&another|0000`);
      return { body: form.toString() };
    },
    judge: async ({ secret, body }) => {
      const form = new URLSearchParams(body);
      try {
        await braintreeGateway(secret).webhookNotification.parse(form.get("bt_signature"), form.get("bt_payload"));
      } catch (error) {
        if (error.type === "invalidSignatureError" || error.name === "invalidSignatureError") return false;
      }
      return true;
    },
    tamper: (body) => body.replace("bt_payload=PD94", "bt_payload=PD95"),
  },
  {
    preset: "workos",
    sdk: "@workos-inc/node",
    secrets: texts,
    timed: true,
    looser: { future: oldOnly },
    sign: ({ secret, at, headers, body }) => ({ headers: { ...headers, "workos-signature": `t=${at * 1000}, v1=${hmac("sha256", secret, `${at * 1000}.${body}`, "hex")}` } }),
    judge: ({ secret, headers, body }) => new WorkOS("sk_test_example").webhooks.verifyHeader({ payload: JSON.parse(body), sigHeader: headers["workos-signature"], secret }),
  },
  {
    preset: "linear",
    sdk: "@linear/sdk",
    secrets: texts,
    timed: true,
    sign: ({ secret, at, headers, body }) => {
      const timed = body.replace(/"webhookTimestamp":\d+/, `"webhookTimestamp":${at * 1000}`);
      return { body: timed, headers: { ...headers, "linear-signature": hmac("sha256", secret, timed, "hex") } };
    },
    judge: ({ secret, headers, body }) => new LinearWebhookClient(secret).verify(Buffer.from(body), headers["linear-signature"]),
    tamper: (body) => body.replace("slow", "fast"),
  },
  independent("zendesk", { header: "x-zendesk-webhook-signature", encoding: "base64", time: "x-zendesk-webhook-signature-timestamp", stamp: rfc3339, signed: (at, body) => at + body }),
  independent("zoom", { header: "x-zm-signature", prefix: "v0=", time: "x-zm-request-timestamp", signed: (at, body) => `v0:${at}:${body}` }),
  {
    preset: "hubspot",
    sdk: "@hubspot/api-client",
    url: "https://hooks.example.com/api/webhooks/hubspot",
    secrets: texts,
    timed: true,
    looser: { future: oldOnly },
    sign: ({ secret, at, url, headers, body }) => ({
      headers: { ...headers, "x-hubspot-request-timestamp": String(at * 1000), "x-hubspot-signature-v3": HubSpot.getSignature("POST", "v3", { clientSecret: secret, requestBody: body, url, timestamp: at * 1000 }) },
    }),
    judge: ({ secret, url, headers, body }) =>
      HubSpot.isValid({ signatureVersion: "v3", signature: headers["x-hubspot-signature-v3"], clientSecret: secret, requestBody: body, url, timestamp: Number(headers["x-hubspot-request-timestamp"]) }),
  },
  {
    preset: "sanity",
    sdk: "@sanity/webhook",
    secrets: texts,
    timed: true,
    looser: { stale: noTime, future: noTime },
    sign: async ({ secret, at, headers, body }) => ({ headers: { ...headers, "sanity-webhook-signature": await sanity.encodeSignatureHeader(body, at * 1000, secret) } }),
    judge: ({ secret, headers, body }) => sanity.isValidSignature(body, headers["sanity-webhook-signature"], secret),
  },
  {
    preset: "box",
    sdk: "box-node-sdk",
    secrets: texts,
    timed: true,
    sign: ({ secret, at, headers, body }) => ({
      headers: {
        ...headers,
        "box-delivery-timestamp": rfc3339(at),
        // Box signs with both keys; the second is another app's here, so that the first alone decides.
        "box-signature-primary": hmac("sha256", secret, body + rfc3339(at), "base64"),
        "box-signature-secondary": hmac("sha256", "unknown", body + rfc3339(at), "base64"),
      },
    }),
    judge: ({ secret, headers, body }) => boxManager.validateMessage(body, headers, secret, { secondaryKey: secret }),
    more: {
      "only the second signature is of a known key": ({ headers, body, at }) => ({
        headers: { ...headers, "box-delivery-timestamp": rfc3339(at), "box-signature-primary": hmac("sha256", "unknown", body + rfc3339(at), "base64"), "box-signature-secondary": hmac("sha256", texts.old, body + rfc3339(at), "base64") },
        body,
        ours: { verified: "old" },
        key: "old",
      }),
    },
  },
  {
    preset: "discord",
    sdk: "discord-interactions",
    secrets: EDWARDS,
    configured: publicKeys((name) => EDWARDS[name].raw.toString("hex")),
    timed: true,
    looser: { stale: noTime, future: noTime },
    sign: ({ secret, at, headers, body }) => ({
      headers: { ...headers, "x-signature-timestamp": String(at), "x-signature-ed25519": crypto.sign(null, Buffer.from(at + body), secret.key).toString("hex") },
    }),
    judge: ({ secret, headers, body }) => verifyKey(body, headers["x-signature-ed25519"], headers["x-signature-timestamp"], secret.raw.toString("hex")),
  },
  {
    preset: "telnyx",
    sdk: "telnyx",
    secrets: EDWARDS,
    configured: publicKeys((name) => EDWARDS[name].raw.toString("base64")),
    timed: true,
    sign: ({ secret, at, headers, body }) => ({
      headers: { ...headers, "telnyx-timestamp": String(at), "telnyx-signature-ed25519": crypto.sign(null, Buffer.from(`${at}|${body}`), secret.key).toString("base64") },
    }),
    judge: async ({ secret, headers, body }) => Boolean(await new Telnyx({ apiKey: "key", publicKey: secret.raw.toString("base64") }).webhooks.unwrap(body, { headers })),
  },
  {
    preset: "sendgrid",
    sdk: "@sendgrid/eventwebhook",
    secrets: P256,
    configured: publicKeys((name) => P256[name].publicKey.export({ format: "der", type: "spki" }).toString("base64")),
    timed: true,
    looser: { stale: noTime, future: noTime },
    sign: ({ secret, at, headers, body }) => ({
      headers: { ...headers, "x-twilio-email-event-webhook-timestamp": String(at), "x-twilio-email-event-webhook-signature": crypto.sign("sha256", Buffer.from(at + body), secret.privateKey).toString("base64") },
    }),
    judge: ({ secret, headers, body }) => {
      const events = new sendgrid.EventWebhook();
      const key = events.convertPublicKeyToECDSA(secret.publicKey.export({ format: "pem", type: "spki" }));
      return events.verifySignature(key, body, headers["x-twilio-email-event-webhook-signature"], headers["x-twilio-email-event-webhook-timestamp"]);
    },
  },
  {
    preset: "mailgun",
    secrets: texts,
    timed: true,
    sign: ({ secret, at, body }) => {
      const event = JSON.parse(body);
      event.signature.timestamp = String(at);
      event.signature.signature = hmac("sha256", secret, at + event.signature.token, "hex");
      return { body: JSON.stringify(event) };
    },
    judge: ({ secret, body }) => {
      const { timestamp, token, signature } = JSON.parse(body).signature;
      return Math.abs(Date.now() / 1000 - Number(timestamp)) < 86_400 && equal(signature, hmac("sha256", secret, timestamp + token, "hex"));
    },
    tamper: (body) => body.replace("a8ce0edb2dd8", "a8ce0edb2dd9"),
  },
  independent("twitch", { header: "twitch-eventsub-message-signature", prefix: "sha256=", time: "twitch-eventsub-message-timestamp", stamp: rfc3339, signed: (at, body, headers) => headers["twitch-eventsub-message-id"] + at + body }),
  independent("meta", { header: "x-hub-signature-256", prefix: "sha256=" }),
  {
    preset: "okta",
    secrets: texts,
    unsigned: true,
    sign: ({ secret, headers }) => ({ headers: { ...headers, authorization: secret } }),
    judge: ({ secret, headers }) => equal(headers.authorization, secret),
  },
  independent("intercom", { header: "x-hub-signature", algorithm: "sha1", prefix: "sha1=" }),
  independent("typeform", { header: "typeform-signature", encoding: "base64", prefix: "sha256=" }),
  {
    preset: "mux",
    sdk: "@mux/mux-node",
    secrets: texts,
    timed: true,
    looser: { future: oldOnly },
    sign: ({ secret, at, headers, body }) => ({ headers: { ...headers, "mux-signature": `t=${at},v1=${hmac("sha256", secret, `${at}.${body}`, "hex")}` } }),
    judge: async ({ secret, headers, body }) => {
      await new Mux({ tokenId: "t", tokenSecret: "s" }).webhooks.verifySignature(body, headers, secret);
    },
  },
  {
    preset: "pusher",
    sdk: "pusher",
    secrets: texts,
    sign: ({ secret, headers, body }) => ({ headers: { ...headers, "x-pusher-signature": hmac("sha256", secret, body, "hex") } }),
    judge: ({ secret, headers, body }) => new Pusher({ appId: "1", key: headers["x-pusher-key"], secret, cluster: "eu" }).webhook({ headers, rawBody: body }).isValid(),
  },
];
