// @ts-check
/**
 * Small pictures, each pixel to be seen, with what was said of them; without pictures the words remain.
 *
 * const gallery = pictureGallery({ load: (url) => api.blob(url), open: (blob, row) => ..., fail });
 * gallery.update(rows, { more: () => ... })       rows: { url, sample_id, true, predicted, probability, probability_true }
 */

import { h, percent, replace } from "../dom.js";

const AT_ONCE = 6;

/**
 * @param {{ load: (url: string, given: { signal: AbortSignal }) => Promise<Blob>, open: (blob: Blob, row: any) => void, fail: (error: unknown) => void }} given
 */
export function pictureGallery({ load, open, fail }) {
	const list = h("ol.gallery", { testid: "gallery" });
	const element = h("div", list);
	let stop = new AbortController();
	/** @type {Map<string, { blob: Blob, address: string }>} */
	let pictures = new Map();

	/** @param {any} row */
	function item(row) {
		const right = row.true === row.predicted;
		const verdict = right
			? `${row.true}, right, ${percent(row.probability)}`
			: `${row.true}, taken for ${row.predicted} with ${percent(row.probability)}`;
		const lines = [
			h("span", { class: right ? "says" : "says wrong" }, h("b", row.predicted), " ", h("i", percent(row.probability))),
			right ? null : h("span.is.muted", h("b", "is ", row.true), " ", h("i", percent(row.probability_true))),
		];
		if (!row.url) return h("li.words", lines, h("span.muted.mono", row.sample_id));
		const image = h("img", { alt: "", width: 96, height: 96, class: "pixels" });
		const button = h(
			"button.shot",
			{ "aria-label": `${verdict}. Open in Try`, title: row.sample_id, onclick: () => show(row) },
			image,
			lines,
		);
		return h("li", { dataset: { url: row.url } }, button);
	}

	/** @param {any} row */
	async function show(row) {
		try {
			open((await fetched(row.url, new AbortController().signal)).blob, row);
		} catch (error) {
			fail(error);
		}
	}

	/** @param {string} url @param {AbortSignal} signal */
	async function fetched(url, signal) {
		let known = pictures.get(url);
		if (known) return known;
		const blob = await load(url, { signal });
		known = { blob, address: URL.createObjectURL(blob) };
		if (signal.aborted) URL.revokeObjectURL(known.address);
		else pictures.set(url, known);
		return known;
	}

	async function fill() {
		const own = stop; // a newer one takes its place as soon as other rows are shown
		const { signal } = own;
		const waiting = [...list.querySelectorAll("li[data-url]")].filter((each) => !each.querySelector("img")?.src);
		async function work() {
			for (let next = waiting.shift(); next && !signal.aborted; next = waiting.shift()) {
				const { address } = await fetched(/** @type {HTMLElement} */ (next).dataset.url ?? "", signal);
				const image = next.querySelector("img");
				if (image && !signal.aborted) image.src = address;
			}
		}
		try {
			await Promise.all(Array.from({ length: AT_ONCE }, work));
		} catch (error) {
			if (!signal.aborted) fail(error);
			own.abort();
		}
	}

	return {
		element,
		/** Show `rows` in place of what is there, or after it. @param {any[]} rows @param {boolean} [add] */
		update(rows, add = false) {
			stop.abort();
			stop = new AbortController();
			if (add) list.append(...rows.map(item));
			else {
				for (const { address } of pictures.values()) URL.revokeObjectURL(address);
				pictures = new Map();
				replace(list, rows.map(item));
			}
			list.classList.toggle("plain", rows.length > 0 && !rows[0].url);
			void fill();
		},
		/** Load nothing more. */
		pause: () => stop.abort(),
		/** Go on with what is not loaded yet. */
		resume() {
			stop = new AbortController();
			void fill();
		},
	};
}
