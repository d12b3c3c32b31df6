// Holds custom resources, read from standard input as a JSON list, against their own schemas: kinds, required
// fields, types, and no field that the schema does not know. One of a group that has no package here is a failure.
// Needs @kubernetes-models/*, found through NODE_MODULES.
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
import path from "node:path";

const packages = {
  "argoproj.io/v1alpha1": { Application: "argo-cd", AnalysisTemplate: "argo-rollouts", Rollout: "argo-rollouts" },
  "autoscaling.k8s.io/v1": "autoscaler",
  "cert-manager.io/v1": "cert-manager",
  "external-secrets.io/v1": "external-secrets",
  "gateway.envoyproxy.io/v1alpha1": "envoy-gateway",
  "gateway.networking.k8s.io/v1": "gateway-api",
  "keda.sh/v1alpha1": "keda",
  "kustomize.toolkit.fluxcd.io/v1": "flux-cd",
  "monitoring.coreos.com/v1": "prometheus-operator",
  "source.toolkit.fluxcd.io/v1": "flux-cd",
};
const modules = path.resolve(process.env.NODE_MODULES ?? "node_modules", "@kubernetes-models");
// Kubernetes' own, which kubernetes-validate looks at.
const own = (apiVersion) => /^(\w+\/)?v\d+$|^(networking|rbac\.authorization)\.k8s\.io\//.test(apiVersion);

// Where a schema allows anything, and so reads nothing.
const open = [".spec.strategy.canary.trafficRouting.plugins."];

// The schemas let unknown fields pass. But they read each field that they know, so one that stays unread is none.
function watched(value, place, unread) {
  if (value === null || typeof value !== "object") return value;
  const keys = Array.isArray(value) ? [] : Object.keys(value);
  for (const key of keys) unread.add(`${place}.${key}`);
  const children = new Map();
  return new Proxy(value, {
    get(target, key) {
      unread.delete(`${place}.${String(key)}`);
      if (!children.has(key)) children.set(key, watched(target[key], `${place}.${String(key)}`, unread));
      return children.get(key);
    },
  });
}

let checked = 0;
const faults = [];
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const { apiVersion, kind, metadata } = resource;
  const home = packages[apiVersion]?.[kind] ?? packages[apiVersion];
  if (typeof home !== "string") {
    if (!own(apiVersion)) faults.push(`${apiVersion} ${kind}: no package has its schema`);
    continue;
  }
  const models = await import(pathToFileURL(path.join(modules, home, apiVersion, "index.js")));
  const unread = new Set();
  try {
    // Its constructor copies, and would read everything.
    Object.assign(new models[kind](), watched(resource, "", unread)).validate();
    checked += 1;
  } catch (error) {
    faults.push(`${kind}/${metadata.name}: ${error.message}`);
    continue;
  }
  for (const field of [...unread].filter((field) => !open.some((place) => field.startsWith(place))))
    faults.push(`${kind}/${metadata.name}: there is no field ${field.slice(1)}`);
}
for (const fault of faults) console.error(fault);
console.log(`${checked} passed, ${faults.length} faults`);
process.exit(faults.length === 0 ? 0 : 1);
