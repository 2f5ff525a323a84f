// @ts-check
/** What several panels say in the same words. */

import { h } from "../dom.js";

/** In place of a panel that has no picture to show. @param {any} context @returns {any[]} */
export function noPicture({ store, pick }) {
	const words = store.get("problem") ?? "Drop a picture anywhere, paste one, or choose a file.";
	return [h("h2", "No picture yet"), h("p", words), h("button.primary", { onclick: pick }, "Choose a picture")];
}

/** Where a panel says what went wrong: tell(error), tell(null). @param {string} testid */
export function complaint(testid) {
	const element = h("p.problem", { role: "alert", hidden: true, dataset: { testid } });
	/** @param {unknown} error */
	function tell(error) {
		element.hidden = !error;
		element.textContent = error ? /** @type {Error} */ (error).message : "";
	}
	return { element, tell };
}

/** How many views of a picture an answer averages. @param {string | undefined} views of a model */
export function averaged(views) {
	return (
		{ none: "one view", flip: "two views averaged", six: "six views averaged", selective: "two or six views averaged" }[views ?? "none"] ??
		views
	);
}
