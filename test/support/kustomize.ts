/**
 * As much of kustomize as `deploy/kubernetes/` uses, so that its tests run where there is no kubectl: resources, settings
 * from literals, strategic merge patches. One test holds it to the real one.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";

/** A Kubernetes object, not yet checked. */
export interface Manifest {
	apiVersion: string;
	kind: string;
	metadata: { name: string; labels?: Record<string, string> };
	[field: string]: unknown;
}

interface Kustomization {
	resources?: string[];
	configMapGenerator?: { name: string; literals: string[] }[];
	patches?: { path?: string; patch?: string }[];
}

/** By which member Kubernetes tells the entries of these lists apart when it merges. Any other list is replaced. */
const mergeKeys: Record<string, string> = {
	containers: "name",
	env: "name",
	volumes: "name",
	volumeMounts: "mountPath",
};

/** Everything that `kubectl apply -k FOLDER` would apply. Generated names lack the hash that kustomize appends. */
export function compose(folder: string): Manifest[] {
	const kustomization = parse(readFileSync(join(folder, "kustomization.yaml"), "utf8")) as Kustomization;
	let manifests = (kustomization.resources ?? []).flatMap((path) => {
		const found = join(folder, path);
		return statSync(found).isDirectory() ? compose(found) : readManifests(readFileSync(found, "utf8"));
	});
	for (const { name, literals } of kustomization.configMapGenerator ?? []) {
		const data = Object.fromEntries(literals.map((literal) => literal.split(/=(.*)/s, 2)));
		manifests.push({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data });
	}
	for (const { path, patch } of kustomization.patches ?? []) {
		const changed = parse(patch ?? readFileSync(join(folder, path ?? ""), "utf8")) as Manifest;
		const isMeant = ({ kind, metadata }: Manifest) => kind === changed.kind && metadata.name === changed.metadata.name;
		if (manifests.filter(isMeant).length !== 1)
			throw new Error(`a patch is for ${changed.kind} ${changed.metadata.name}, which is not there once`);
		manifests = manifests.flatMap((manifest) => {
			const merged = isMeant(manifest) ? merge("", manifest, changed) : manifest;
			return merged === undefined ? [] : [merged as Manifest];
		});
	}
	return manifests;
}

/** The objects of a file; throws where it is not clean YAML. */
export function readManifests(text: string): Manifest[] {
	return parseAllDocuments(text).map((document) => {
		for (const problem of [...document.errors, ...document.warnings]) throw problem;
		return document.toJS() as Manifest;
	});
}

type Fields = Record<string, unknown>;
const isFields = (value: unknown): value is Fields =>
	typeof value === "object" && value !== null && !Array.isArray(value);

/** The value with the patch applied; `undefined` where the patch takes it away. */
function merge(field: string, value: unknown, patch: unknown): unknown {
	if (patch === null || (isFields(patch) && patch.$patch === "delete")) return undefined;
	if (Array.isArray(patch)) {
		const key = mergeKeys[field];
		return key && Array.isArray(value) ? mergeEntries(key, value as Fields[], patch as Fields[]) : patch;
	}
	if (!isFields(patch)) return patch;
	const merged: Fields = isFields(value) ? { ...value } : {};
	for (const [name, change] of Object.entries(patch)) {
		const result = merge(name, merged[name], change);
		if (result === undefined) delete merged[name];
		else merged[name] = result;
	}
	return merged;
}

/** New entries come first, as kustomize has it. */
function mergeEntries(key: string, entries: Fields[], patches: Fields[]): unknown[] {
	const added = patches.filter((patch) => !entries.some((entry) => entry[key] === patch[key]));
	const kept = entries.map((entry) => {
		const patch = patches.find((one) => one[key] === entry[key]);
		return patch ? merge("", entry, patch) : entry;
	});
	return [...added, ...kept.filter((entry) => entry !== undefined)];
}
