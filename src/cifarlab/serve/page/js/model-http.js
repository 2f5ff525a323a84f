// @ts-check
/**
 * The model behind `cifarlab serve`. model-onnx.js has the same interface:
 *
 *   model.kind                           "http" or "onnx"
 *   model.list({ signal })            -> [{ name, classes, size, resize, views, unlike, explain, ... }]
 *   model.predict(blobOrPixels, { model, signal })
 *                                     -> { label, predictions: [{ label, probability }] (all classes, best first), unlike, ms }
 *   model.examples({ signal })        -> [{ name, label, origin, url }]
 *   model.load(url)                   -> Blob of one of these
 *
 * A picture is a Blob (an image file) or an ImageData, whose pixels arrive unchanged. ms: from the call to the answer.
 */

import { png } from "./pixels.js";

/** @param {ReturnType<typeof import("./api.js").createApi>} api */
export function createModel(api) {
	/** @type {Map<string, Promise<Blob>>} */
	const loaded = new Map();
	return {
		kind: "http",
		/** @param {{ signal?: AbortSignal }} [given] */
		list: (given) => api.json("models", given),
		/** @param {{ model?: string }} [query] @param {{ signal?: AbortSignal }} [given] */
		examples: (query, given) => api.json("examples", { ...given, query }),
		/** Each is asked for once: several panels show them. @param {string} url @returns {Promise<Blob>} */
		load(url) {
			const found = loaded.get(url) ?? api.blob(url);
			loaded.set(url, found);
			found.catch(() => loaded.delete(url));
			return found;
		},
		/** @param {Blob | ImageData} picture @param {{ model?: string | null, signal?: AbortSignal }} [given] */
		async predict(picture, { model, signal } = {}) {
			const began = performance.now();
			const body = picture instanceof Blob ? picture : await png(picture);
			const { predictions, unlike } = await api.json("predict", { method: "POST", body, query: { model, top_k: 100000 }, signal });
			return { label: predictions[0].label, predictions, unlike, ms: performance.now() - began };
		},
	};
}
