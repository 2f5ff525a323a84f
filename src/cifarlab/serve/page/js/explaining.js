// @ts-check
/** Questions to POST /explain about the picture as the model sees it. */

import { png } from "./pixels.js";

/** @typedef {import("./resize.js").Pixels} Pixels */

/** @param {any} api */
export function createExplainer(api) {
	/** @type {Map<string, any>} */
	const layers = new Map();
	/** The file of the pixels that were asked about last. @type {{ pixels: Pixels | null, file: Blob | null }} */
	const last = { pixels: null, file: null };

	/** @param {Pixels} pixels @returns {Promise<Blob>} */
	async function file(pixels) {
		if (last.pixels !== pixels || !last.file) Object.assign(last, { pixels, file: await png(pixels) });
		return /** @type {Blob} */ (last.file);
	}

	return {
		/** @param {Pixels} pixels @param {Record<string, any>} query @param {AbortSignal} signal @returns {Promise<any>} */
		async ask(pixels, query, signal) {
			return api.json("explain", { method: "POST", body: await file(pixels), query, signal });
		},
		/** The layers of a model: asked for once. @param {string} model @returns {Promise<any>} */
		async layers(model) {
			if (!layers.has(model)) layers.set(model, await api.json("explain", { method: "POST", query: { kind: "layers", model } }));
			return layers.get(model);
		},
	};
}

/** Three significant digits, with a real minus. @param {number} value */
export function short(value) {
	const text = Math.abs(value) >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
	return text.replace("-", "−");
}
