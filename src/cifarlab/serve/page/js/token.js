// @ts-check
/** The dialog that asks for the server's token. */

import { h } from "./dom.js";

/** @param {boolean} wrong whether one was shown and refused @returns {Promise<string>} */
export function askToken(wrong) {
	return new Promise((done) => {
		const input = h("input", { type: "password", id: "token", autocomplete: "off", required: true, testid: "token" });
		const form = h(
			"form",
			{ method: "dialog" },
			h("h2", "This server needs a token"),
			wrong ? h("p.problem", { role: "alert" }, "The token was not accepted.") : null,
			h(
				"p.muted",
				"Whoever started the server knows it: it is in the file given with ",
				h("code", "--token-file"),
				", or in ",
				h("code", "CIFARLAB_TOKEN"),
				".",
			),
			h("label", { for: "token" }, "Token"),
			input,
			h("button", { type: "submit", class: "primary" }, "Continue"),
		);
		const dialog = h("dialog.dialog", { testid: "token-dialog" }, form);
		dialog.addEventListener("cancel", (/** @type {Event} */ event) => event.preventDefault()); // nothing works without it
		// The form's own submission, which the Content-Security-Policy forbids, is replaced.
		form.addEventListener("submit", (/** @type {Event} */ event) => {
			event.preventDefault();
			const token = input.value.trim();
			if (!token) return;
			dialog.close();
			dialog.remove();
			done(token);
		});
		// Escape a second time closes it all the same.
		dialog.addEventListener("close", () => dialog.isConnected && dialog.showModal());
		document.body.append(dialog);
		dialog.showModal();
	});
}
