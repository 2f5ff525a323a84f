// @ts-check
/**
 * The model in the visitor's browser: same interface as model-http.js (see there), nothing is sent anywhere.
 *
 * bundle.json beside index.html says what the model is; onnx-worker.js holds the network, so that the page stays fluid. It
 * begins to download when the page asks for the list of models; the ms of an answer do not count that. Besides the common interface:
 *
 *   model.onProgress(listener)   listener({ loaded, total, done }) in bytes, at once and while it downloads
 */

import { judge } from "./judge.js";

const FACTS = "bundle.json";

export function createModel() {
	/** @type {Promise<any> | null} */
	let facts = null;
	const worker = createWorker();
	const progress = createProgress();

	async function read() {
		const response = await fetch(new URL(FACTS, document.baseURI)).catch(() => null);
		if (!response?.ok)
			throw new Error(`${FACTS} cannot be loaded: is the whole folder on the host? Pages opened as files (file://) cannot load it either`);
		const found = await response.json();
		progress.set({ loaded: 0, total: found.site.files.model.download + found.site.files.wasm.download });
		const base = document.baseURI;
		const urls = Object.fromEntries(Object.entries(found.site.files).map(([name, file]) => [name, new URL(file.path, base).href]));
		const views = found.calibration?.views ?? {};
		const selective = found.tta === "selective" ? { temperature: views.flip.temperature, confidence: views.selective.confidence } : null;
		worker
			.start({ urls, sizes: found.site.files, input: found.input, views: found.tta, selective }, progress.set)
			.catch(() => progress.set({ done: true })); // predict tells why
		return found;
	}

	function load() {
		// A failure is not kept: the next call tries anew.
		facts ??= read().catch((error) => {
			facts = null;
			throw error;
		});
		return facts;
	}

	return {
		kind: "onnx",
		onProgress: progress.on,
		async list() {
			const { name, classes, input, tta, calibration, metrics } = await load();
			const isCalibrated = calibration?.views[tta] !== undefined;
			const accuracy = metrics?.test?.accuracy ?? null;
			return [
				{ name, classes, ...input, views: tta, unlike: isCalibrated, calibrated: isCalibrated, explain: false, engine: "onnx", accuracy },
			];
		},
		async examples() {
			return (await load()).site.examples;
		},
		/** @param {string} url @param {{ signal?: AbortSignal }} [given] */
		async load(url, { signal } = {}) {
			const response = await fetch(new URL(url, document.baseURI), { signal });
			if (!response.ok) throw new Error(`The example ${url} is not on the host (${response.status})`);
			return response.blob();
		},
		/** @param {Blob | ImageData} picture @param {{ signal?: AbortSignal }} [given] */
		async predict(picture, { signal } = {}) {
			const description = await load();
			await worker.opened();
			const began = performance.now(); // once the model is there: how long it takes to come is told above the panels
			const logits = await worker.run(picture, signal);
			return { ...judge(logits, description), ms: performance.now() - began };
		},
	};
}

/** The worker, one picture at a time; a picture whose signal is aborted while it waits is never computed. */
function createWorker() {
	/** @type {Worker | null} */
	let worker = null;
	/** @type {any} */
	let setup = null;
	/** @type {Promise<void> | null} */
	let ready = null;
	/** @type {(message: any) => void} */
	let report = () => {};
	let turn = Promise.resolve();
	let count = 0;
	/** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
	const waiting = new Map();

	/** @param {MessageEvent} event */
	function receive({ data }) {
		if (data.kind === "progress") return report(data);
		const asked = waiting.get(data.id);
		waiting.delete(data.id);
		if (data.error) asked?.reject(new Error(data.error));
		else asked?.resolve(data.value);
	}

	/** @param {string} kind @param {any} content @returns {Promise<any>} */
	function ask(kind, content) {
		const id = ++count;
		return new Promise((resolve, reject) => {
			waiting.set(id, { resolve, reject });
			/** @type {Worker} */ (worker).postMessage({ id, kind, ...content });
		});
	}

	function open() {
		worker = new Worker(new URL("./onnx-worker.js", import.meta.url), { type: "module" });
		worker.onmessage = receive;
		worker.onerror = (event) => {
			event.preventDefault();
			const error = new Error(`The model stopped: ${event.message || "its program cannot be loaded from the host"}. Load the page again`);
			for (const asked of waiting.values()) asked.reject(error);
			waiting.clear();
		};
		return ask("start", setup).catch((error) => {
			worker?.terminate();
			worker = null;
			ready = null; // the next picture tries anew
			throw error;
		});
	}

	function opened() {
		ready ??= open();
		return ready;
	}

	return {
		opened,
		/** @param {any} given @param {(message: any) => void} onProgress */
		start(given, onProgress) {
			setup = given;
			report = onProgress;
			return opened();
		},
		/** @param {Blob | ImageData} picture @param {AbortSignal | undefined} signal @returns {Promise<Float32Array>} */
		run(picture, signal) {
			const aborted = new Promise((_, reject) => {
				if (signal?.aborted) reject(signal.reason);
				signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
			});
			const own = turn.then(async () => {
				signal?.throwIfAborted();
				await opened();
				signal?.throwIfAborted();
				return ask("run", { picture });
			});
			turn = own.then(() => {}, () => {}); // prettier-ignore
			return Promise.race([own, aborted]);
		},
	};
}

function createProgress() {
	let state = { loaded: 0, total: 0, done: false };
	/** @type {Set<(state: { loaded: number, total: number, done: boolean }) => void>} */
	const listeners = new Set();
	return {
		/** @param {Partial<typeof state>} changes */
		set(changes) {
			state = { ...state, ...changes };
			for (const listener of listeners) listener(state);
		},
		/** @param {(state: { loaded: number, total: number, done: boolean }) => void} listener */
		on(listener) {
			listeners.add(listener);
			listener(state);
			return () => void listeners.delete(listener);
		},
	};
}
