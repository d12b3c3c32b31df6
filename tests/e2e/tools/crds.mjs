// Holds custom resources, read from standard input as a JSON list, against their own schemas: names of kinds,
// required fields, types. These schemas let unknown fields pass. External Secrets' v1 and the vertical pod
// autoscaler's are not to be had as packages.
// Needs @kubernetes-models/{prometheus-operator,gateway-api}, found through NODE_MODULES.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
import path from "node:path";

const packages = {
  "monitoring.coreos.com/v1": "prometheus-operator",
  "gateway.networking.k8s.io/v1": "gateway-api", // CommonJS; the other is a module
};
const modules = process.env.NODE_MODULES ?? "node_modules";
const require = createRequire(pathToFileURL(path.resolve(modules, "..", "x.js")));

let checked = 0;
let failed = 0;
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const home = packages[resource.apiVersion];
  if (!home) continue;
  const file = path.resolve(modules, "@kubernetes-models", home, resource.apiVersion, "index.js");
  const models = file.includes("gateway-api") ? require(file) : await import(pathToFileURL(file));
  try {
    new models[resource.kind](resource).validate();
    checked += 1;
  } catch (error) {
    failed += 1;
    console.error(`${resource.kind}/${resource.metadata.name}: ${error.message}`);
  }
}
console.log(`${checked} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
