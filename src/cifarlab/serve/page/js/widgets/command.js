// @ts-check
/** A command with a button that copies it. */

import { h } from "../dom.js";

/** A word as a shell takes it. @param {string} word */
export const quoted = (word) => (/^[\w./~:@%+=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** @param {string} text @param {(text: string) => void} announce */
export function command(text, announce) {
	const code = h("code", { tabindex: "0", "aria-label": `Command: ${text}` }, text);
	const button = h("button.link", { onclick: copy }, "Copy");
	let timer = 0;

	async function copy() {
		try {
			await navigator.clipboard.writeText(text);
			button.textContent = "Copied";
			announce("Command copied");
		} catch {
			// Browsers allow it on secure addresses only; then it is marked, ready for the keys that copy.
			getSelection()?.selectAllChildren(code);
			button.textContent = "Marked";
			announce("Command marked; copy it with the keyboard");
		}
		clearTimeout(timer);
		timer = setTimeout(() => (button.textContent = "Copy"), 2000);
	}
	return h("div.command", code, button);
}
