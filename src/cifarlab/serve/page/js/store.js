// @ts-check
/**
 * What all panels share. One store, made by app.js and given to panels as context.store.
 *
 *   store.get("picture")                      the present value
 *   store.on(["picture", "model"], f)         calls f() after any of these changed; returns a function that ends it
 *   store.set({ model: "name" })              changes values and tells those who listen, once
 *
 * | key        | value |
 * |------------|-------|
 * | models     | what model.list() gave: [{ name, classes, size, resize, views, unlike, explain, ... }] |
 * | model      | name of the chosen model, null before the list is there |
 * | picture    | the present Picture (picture.js: { id, blob, name, width, height, bitmap, url, label, origin }) or null |
 * | prediction | the answer for exactly this picture and this model: { picture, model, label, predictions, unlike, ms }; null while there is none |
 * | busy       | whether the picture is being decoded or classified |
 * | problem    | why there is no prediction, in plain words, or null |
 * | examples   | what model.examples() gave: [{ name, label, origin, url }], null before |
 * | history    | recent pictures with their answers, newest first: [{ picture, prediction }] |
 * | online     | false while the server does not answer |
 *
 * Panels read; only app.js and classify.js set picture, prediction, busy, problem and history. To show a picture call
 * context.open(blob, { name, label, origin }), which decodes it, puts it here and has it classified.
 */

/** @typedef {import("./picture.js").Picture} Picture */

export function createStore() {
	/** @type {Record<string, any>} */
	const values = {
		models: [],
		model: null,
		picture: null,
		prediction: null,
		busy: false,
		problem: null,
		examples: null,
		history: [],
		online: true,
	};
	/** @type {Set<{ keys: string[], call: () => void }>} */
	const listeners = new Set();
	return {
		/** @param {string} key */
		get(key) {
			if (!(key in values)) throw new Error(`the store has no ${key}`);
			return values[key];
		},
		/** @param {Record<string, any>} changes */
		set(changes) {
			const changed = Object.keys(changes).filter((key) => values[key] !== changes[key]);
			Object.assign(values, changes);
			for (const listener of [...listeners]) if (listener.keys.some((key) => changed.includes(key))) listener.call();
		},
		/** @param {string | string[]} keys @param {() => void} call @returns {() => void} */
		on(keys, call) {
			const listener = { keys: [keys].flat(), call };
			listeners.add(listener);
			return () => void listeners.delete(listener);
		},
		/** The description of the chosen model, or null. */
		chosen() {
			return values.models.find((/** @type {any} */ model) => model.name === values.model) ?? null;
		},
	};
}
