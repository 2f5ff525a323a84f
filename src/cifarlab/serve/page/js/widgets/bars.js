// @ts-check
/** Horizontal bars of class probabilities, the best first, with "show all" for models of many classes. */

import { h, percent, replace } from "../dom.js";

/**
 * A list of bars. update(predictions): [{ label, probability }], best first, or null for placeholders.
 * top: how many are shown until "show all"; onpick(label): makes each row a button.
 * Rows keep their elements by label, so that changes move instead of flicker.
 * @param {{ top?: number, onpick?: (label: string) => void, label?: string }} [given]
 */
export function bars({ top = 5, onpick, label = "Probabilities" } = {}) {
	let all = false;
	/** @type {any[] | null} */
	let present = null;
	/** @type {string | null | undefined} */
	let picked; // undefined: rows lead elsewhere
	const list = h("ol.bars", { "aria-label": label, testid: "bars" });
	const more = h("button.link", { hidden: true, testid: "show-all", onclick: () => ((all = !all), draw()) });
	const element = h("div.bars-area", list, more);
	/** @type {Map<string, any>} */
	const rows = new Map();

	/** @param {string} name */
	function row(name) {
		const value = h("span.bar-value");
		const content = [h("span.bar-label", { title: name }, name), h("span.bar-track", { "aria-hidden": "true" }, h("i")), value];
		const inner = onpick ? h("button.bar", { onclick: () => onpick(name) }, content) : h("div.bar", content);
		return { item: h("li", inner), inner, value };
	}

	function draw() {
		const count = present?.length ?? 0;
		const shown = (present ?? []).slice(0, all ? count : top);
		for (const name of rows.keys()) if (!shown.some((one) => one.label === name)) rows.delete(name);
		const items = shown.map(({ label: name, probability }) => {
			if (!rows.has(name)) rows.set(name, row(name));
			const { item, inner, value } = rows.get(name);
			inner.style.setProperty("--share", String(probability));
			value.textContent = percent(probability);
			if (picked !== undefined) inner.setAttribute("aria-pressed", String(name === picked));
			return item;
		});
		const placeholders = present
			? []
			: [...Array(top)].map(() => h("li.bar.placeholder", h("span.bar-label"), h("span.bar-track"), h("span.bar-value")));
		const same = present && items.length === list.children.length && items.every((item, index) => list.children[index] === item);
		if (!same) replace(list, items, placeholders);
		// As wide as the longest name needs, within what the style allows.
		list.style.setProperty("--label", `${Math.max(6, ...shown.map(({ label: name }) => name.length))}ch`);
		more.hidden = count <= top;
		more.textContent = all ? `Show the first ${top}` : `Show all ${count} classes`;
	}

	draw();
	return {
		element,
		/** @param {any[] | null} predictions */
		update(predictions) {
			present = predictions;
			draw();
		},
		/** @param {string | null} name */
		pick(name) {
			picked = name;
			draw();
		},
	};
}
