// @ts-check
/** Probabilities that move: bars in a fixed order, each with a mark where it was before. */

import { h, percent, replace } from "../dom.js";

/**
 * update(now, before): both [{ label, probability }], best first, all classes. Rows keep the order of `before`, so that nothing
 * jumps while a slider moves; the class that leads now is shown whatever its place.
 * @param {{ top: number }} given
 */
export function movedBars({ top }) {
	const list = h("ol.moved-bars", { "aria-label": "Probabilities now and before", testid: "moved-bars" });
	/** @type {Map<string, { item: HTMLElement, value: HTMLElement, was: HTMLElement }>} */
	const rows = new Map();

	/** @param {string} name */
	function row(name) {
		const value = h("span.bar-value");
		const was = h("span.unseen");
		const track = h("span.moved-track", { "aria-hidden": "true" }, h("i"), h("b"));
		return { item: h("li.moved-bar", h("span.bar-label", { title: name }, name), track, value, was), value, was };
	}

	return {
		element: list,
		/** @param {{ label: string, probability: number }[]} now @param {{ label: string, probability: number }[]} before */
		update(now, before) {
			const present = new Map(now.map((one) => [one.label, one.probability]));
			const shown = before.slice(0, top);
			const leader = before.find((one) => one.label === now[0].label);
			if (leader && !shown.includes(leader)) shown[shown.length - 1] = leader;
			const items = shown.map(({ label, probability }) => {
				if (!rows.has(label)) rows.set(label, row(label));
				const { item, value, was } = /** @type {any} */ (rows.get(label));
				item.style.setProperty("--share", String(present.get(label) ?? 0));
				item.style.setProperty("--before", String(probability));
				item.classList.toggle("leads", label === now[0].label);
				value.textContent = percent(present.get(label) ?? 0);
				was.textContent = `, before ${percent(probability)}`;
				return item;
			});
			if (items.length !== list.children.length || items.some((item, index) => list.children[index] !== item)) replace(list, items);
		},
	};
}
