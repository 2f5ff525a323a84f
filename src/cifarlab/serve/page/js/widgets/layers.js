// @ts-check
/** The layers of a network as a strip of cards, the picture's side first and the classes last. */

import { h, replace } from "../dom.js";

/** @param {{ choose: (layer: string) => void }} given */
export function layerStrip({ choose }) {
	const element = h("div.layer-strip", {
		role: "radiogroup",
		"aria-label": "Layers, from the picture to the classes",
		testid: "layers",
		onkeydown: keys,
	});
	/** @type {any[]} */
	let layers = [];
	/** @type {string | null} */
	let chosen = null;

	/** What a position sees. @param {any} layer */
	function sees(layer) {
		const field = layer.receptive_field;
		if (field === "unknown") return "What a position sees cannot be told.";
		return field === "image" ? "Each sees the whole picture." : `Each position sees ${field}×${field} pixels.`;
	}

	/** @param {any} layer @param {number} size */
	function card(layer, size) {
		const [height, width, count] = layer.shape.length === 3 ? layer.shape : [1, 1, layer.shape[0]];
		const block = { height: `${6 + (26 * height) / size}px`, width: `${Math.round(2 + 2.6 * Math.log2(1 + count))}px` };
		const field =
			layer.receptive_field === "image"
				? "whole picture"
				: layer.receptive_field === "unknown"
					? "sees: unknown"
					: `sees ${layer.receptive_field} px`;
		const shape = layer.shape.length === 3 ? `${height}×${width}×${count}` : String(count);
		const attributes = {
			type: "button",
			role: "radio",
			class: "tile layer-card",
			tabindex: "-1",
			"aria-checked": "false",
			dataset: { layer: layer.name },
			onclick: () => choose(layer.name),
		};
		return h(
			"button",
			attributes,
			h("span.layer-block", { "aria-hidden": "true" }, h("i", { style: block })),
			h(
				"strong",
				layer.name.split(/(?<=[._])/).flatMap((/** @type {string} */ part) => [part, h("wbr")]),
			),
			h("span.layer-type", layer.type),
			h("span.number", shape),
			h("span.number", field),
		);
	}

	/** @param {KeyboardEvent} event */
	function keys(event) {
		const at = layers.findIndex(({ name }) => name === chosen);
		const last = layers.length - 1;
		const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
		if (to === undefined) return;
		event.preventDefault();
		const next = layers[Math.min(last, Math.max(0, to))].name;
		if (next === chosen) return;
		choose(next);
		element.querySelector("[aria-checked=true]")?.focus();
	}

	return {
		element,
		sees,
		/** @param {any[]} given @param {number} size of the picture */
		update(given, size) {
			layers = given;
			replace(
				element,
				given.map((layer) => card(layer, size)),
			);
		},
		/** @param {string | null} name */
		choose(name) {
			chosen = name;
			for (const each of element.children) {
				const is = each.dataset.layer === name;
				each.setAttribute("aria-checked", String(is));
				each.tabIndex = is ? 0 : -1;
				// Only the strip is moved, not the page.
				if (is && (each.offsetLeft < element.scrollLeft || each.offsetLeft + each.offsetWidth > element.scrollLeft + element.clientWidth))
					element.scrollLeft = each.offsetLeft - element.clientWidth / 3;
			}
		},
		/** How many positions a channel of it has. @param {string | null} name */
		positions(name) {
			const shape = layers.find((layer) => layer.name === name)?.shape ?? [1];
			return shape.length === 3 ? shape[0] * shape[1] : 1;
		},
		/** @param {string} name */
		isLast: (name) => layers.at(-1)?.name === name,
	};
}
