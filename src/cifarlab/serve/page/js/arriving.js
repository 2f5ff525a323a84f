// @ts-check
/** Pictures that come from outside: dropped anywhere, pasted, or chosen. */

import { h } from "./dom.js";
import { fileFrom } from "./picture.js";

/** @param {{ receive: (file: File, origin: string) => void, fail: (error: unknown) => void }} given */
export function arriving({ receive, fail }) {
	const veil = h("div.veil", { hidden: true, testid: "drop" }, h("p", "Drop a picture"));
	document.body.append(veil);
	let depth = 0; // dragenter and dragleave come for every element on the way
	/** @param {number} change */
	const moved = (change) => {
		depth = Math.max(0, depth + change);
		veil.hidden = depth === 0;
	};
	addEventListener("dragenter", (event) => {
		event.preventDefault();
		moved(1);
	});
	addEventListener("dragleave", () => moved(-1));
	addEventListener("dragover", (event) => event.preventDefault());
	addEventListener("drop", (event) => {
		event.preventDefault();
		moved(-depth);
		attempt(() => receive(fileFrom(event.dataTransfer), "drop"));
	});
	addEventListener("paste", (event) => {
		const target = /** @type {Element | null} */ (event.target);
		if (target?.closest("input, textarea, [contenteditable]")) return;
		attempt(() => receive(fileFrom(event.clipboardData), "paste"));
	});

	/** @param {() => void} work */
	function attempt(work) {
		try {
			work();
		} catch (error) {
			fail(error);
		}
	}
}

/** A function that opens the file chooser. @param {(file: File) => void} receive */
export function picker(receive) {
	const input = h("input", { type: "file", accept: "image/*", class: "unseen", tabindex: "-1", "aria-hidden": "true", testid: "file" });
	input.addEventListener("change", () => {
		if (input.files?.[0]) receive(input.files[0]);
		input.value = ""; // so that the same file can be chosen again
	});
	document.body.append(input);
	return () => input.click();
}
