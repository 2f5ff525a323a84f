// @ts-check
/** Under the header, while the model is on its way to the browser: how much of it is there. Gone once the model answers. */

import { h } from "../dom.js";

const PATIENCE = 400; // ms: what comes from the browser's cache is not worth a word

/** @param {{ onProgress: (listener: (state: { loaded: number, total: number, done: boolean }) => void) => () => void }} model */
export function downloading(model) {
	const text = h("p.small");
	const bar = h("progress", { "aria-label": "Download of the model", max: 1, value: 0 });
	const element = h("div.downloading", { hidden: true, testid: "downloading" }, h("div.wide", text, bar));
	const began = performance.now();
	document.head.append(h("link", { rel: "stylesheet", href: new URL("../../css/downloading.css", import.meta.url).href }));
	model.onProgress(({ loaded, total, done }) => {
		const arrived = total > 0 && loaded >= total;
		element.hidden = done || !total || performance.now() - began < PATIENCE;
		bar.value = total ? loaded / total : 0;
		text.textContent = arrived
			? "Starting the model…"
			: `Downloading the model to this browser: ${megabytes(loaded)} of ${megabytes(total)}\u00a0MB. Pictures stay here.`;
	});
	return element;
}

/** @param {number} bytes */
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
