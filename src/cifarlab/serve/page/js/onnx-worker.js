// @ts-check
/**
 * The network, in a Web Worker: downloads the runtime (onnxruntime-web, WebAssembly, one thread, so that a host needs to send
 * no special headers) and the model, then answers pictures with logits. See model-onnx.js, which speaks with it.
 *
 *   { id, kind: "start", urls, sizes, input, views, ... }  -> { id } when the model is ready; meanwhile { kind: "progress", loaded }
 *   { id, kind: "run", picture }                           -> { id, value: logits }
 *   either                                                 -> { id, error } in plain words
 */

import { decode, fit, fitBitmap } from "./resize.js";

/**
 * @typedef {{ urls: Record<string, string>, sizes: Record<string, any>, input: any, views: string, selective: { temperature: number, confidence: number } | null }} Setup
 */

/** @type {any} */
let ort = null;
/** @type {any} */
let session = null;
/** @type {Setup} */
let setup;

/** @param {MessageEvent} event */
self.onmessage = async ({ data }) => {
	try {
		const value = data.kind === "start" ? await start(data) : await run(data.picture);
		self.postMessage({ id: data.id, value });
	} catch (error) {
		self.postMessage({ id: data.id, error: /** @type {Error} */ (error).message || String(error) });
	}
};

/** @param {Setup} given */
async function start(given) {
	setup = given;
	const loaded = { model: 0, wasm: 0 };
	/** @param {"model" | "wasm"} name */
	const counted = (name) => (/** @type {number} */ bytes) => {
		loaded[name] = Math.min(bytes, setup.sizes[name].download);
		self.postMessage({ kind: "progress", loaded: loaded.model + loaded.wasm });
	};
	const [runtime, wasm, model] = await Promise.all([
		import(setup.urls.runtime).catch((error) => {
			throw new Error(`The program that runs the model cannot be loaded (${error.message}). Is the whole folder on the host?`);
		}),
		download("wasm", counted("wasm")),
		download("model", counted("model")),
	]);
	ort = runtime;
	ort.env.wasm.numThreads = 1; // more would need SharedArrayBuffer, hence headers that many hosts cannot send
	ort.env.wasm.proxy = false; // this is a worker already
	ort.env.wasm.wasmBinary = wasm;
	ort.env.logLevel = "error";
	try {
		// logSeverityLevel: errors alone; what goes wrong comes as an exception anyway.
		session = await ort.InferenceSession.create(model, {
			executionProviders: ["wasm"],
			graphOptimizationLevel: "all",
			logSeverityLevel: 3,
		});
	} catch (error) {
		throw new Error(`The model cannot be started in this browser: ${/** @type {Error} */ (error).message}`);
	}
	self.postMessage({ kind: "progress", loaded: loaded.model + loaded.wasm, done: true });
}

/**
 * A file of the site, unpacked where it is packed, of exactly the size that bundle.json states.
 * @param {string} name @param {(bytes: number) => void} progress @returns {Promise<Uint8Array>}
 */
async function download(name, progress) {
	const { path, bytes } = setup.sizes[name];
	const response = await fetch(setup.urls[name]).catch(() => null);
	if (!response) throw new Error(`${path} cannot be downloaded: the connection failed. Load the page again`);
	if (!response.ok || !response.body)
		throw new Error(`${path} cannot be downloaded: the host answers ${response.status}. Is the whole folder there?`);
	const parts = [];
	let received = 0;
	const reader = response.body.getReader();
	for (;;) {
		const { done, value } = await reader.read().catch(() => {
			throw new Error(`${path} came incomplete: the connection was lost. Load the page again`);
		});
		if (done) break;
		parts.push(value);
		progress((received += value.length));
	}
	const content = await unpacked(new Blob(parts));
	if (content.length !== bytes)
		throw new Error(`${path} has ${content.length} bytes instead of ${bytes}: it is damaged or of another export`);
	return content;
}

/** Some hosts unpack a .gz themselves, by sending it with Content-Encoding: its first bytes tell. @param {Blob} content */
async function unpacked(content) {
	const [first, second] = new Uint8Array(await content.slice(0, 2).arrayBuffer());
	const isPacked = first === 0x1f && second === 0x8b;
	const body = isPacked ? new Response(content.stream().pipeThrough(new DecompressionStream("gzip"))) : content;
	return new Uint8Array(await body.arrayBuffer());
}

/** @param {Blob | ImageData} picture */
async function run(picture) {
	const { size, resize } = setup.input;
	const how = { size, rule: resize };
	let seen;
	if (picture instanceof Blob) {
		const bitmap = await decode(picture).catch(() => {
			throw new Error("This picture cannot be decoded: it is damaged, or of a format that this browser does not read");
		});
		seen = fitBitmap(bitmap, how);
		bitmap.close();
	} else {
		seen = fit(picture, how);
	}
	const images = new ort.Tensor("uint8", rgb(seen), [1, size, size, 3]);
	if (setup.views !== "selective") return (await session.run({ images }, ["logits"])).logits.data;
	return selective(images);
}

/**
 * As cifarlab.bundle.selective: the image and its mirror image, and only where these are not sure the four moved views as well.
 * @param {any} images
 */
async function selective(images) {
	const first = await meanLogits(images, 0, 2);
	const { temperature, confidence } = /** @type {NonNullable<Setup["selective"]>} */ (setup.selective);
	if (topProbability(first, temperature) >= confidence) return first;
	const rest = await meanLogits(images, 2, 6);
	return first.map((value, at) => 0.5 * value + 0.5 * rest[at]);
}

/** Mean of the logits of the views `from`..`to` - 1. @param {any} images @param {number} from @param {number} to */
async function meanLogits(images, from, to) {
	const bound = (/** @type {number} */ at) => new ort.Tensor("int64", [BigInt(at)], [1]);
	const { view_logits: found } = await session.run({ images, first_view: bound(from), last_view: bound(to) }, ["view_logits"]);
	const count = found.dims[1];
	return Float32Array.from({ length: count }, (_, k) => {
		let sum = 0;
		for (let view = 0; view < to - from; view++) sum += found.data[view * count + k];
		return sum / (to - from);
	});
}

/** @param {Float32Array} logits @param {number} temperature */
function topProbability(logits, temperature) {
	const peak = Math.max(...logits);
	return 1 / logits.reduce((sum, value) => sum + Math.exp((value - peak) / temperature), 0);
}

/**
 * The colours without the alpha channel, as the network's input wants them: 3 values a pixel.
 * @param {import("./resize.js").Pixels} pixels
 */
function rgb(pixels) {
	const values = new Uint8Array(3 * pixels.width * pixels.height);
	for (let from = 0, to = 0; to < values.length; from += 4, to += 3) {
		values[to] = pixels.data[from];
		values[to + 1] = pixels.data[from + 1];
		values[to + 2] = pixels.data[from + 2];
	}
	return values;
}
