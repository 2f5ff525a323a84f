// @ts-check
/** Labelled sliders that start somewhere neutral and go back there by a double click or Backspace. */

import { h } from "../dom.js";

/**
 * name: in addresses and test ids; format: of a value as text; neutral: where it changes nothing.
 * @typedef {{ name: string, label: string, min: number, max: number, step: number, neutral: number, format: (value: number) => string }} Spec
 */

/**
 * A slider with its label and value; calls oninput(value) at each change by hand. set(value) takes what is allowed and nearest.
 * @param {Spec} spec @param {(value: number) => void} oninput
 */
export function slider(spec, oninput) {
	const { name, label, min, max, step, neutral, format } = spec;
	const id = `slider-${name}`;
	const range = h("input", {
		type: "range",
		id,
		min,
		max,
		step,
		value: neutral,
		testid: id,
		oninput: changed,
		ondblclick: back,
		onkeydown: keys,
	});
	const output = h("output", { for: id, class: "slider-value number" });
	const element = h("div.slider", h("label", { for: id }, label), output, range);

	function draw() {
		const value = Number(range.value);
		output.textContent = format(value);
		range.setAttribute("aria-valuetext", format(value));
		element.classList.toggle("changed", value !== neutral);
		// Where the coloured part of the track begins and ends: between neutral and value.
		const share = (/** @type {number} */ at) => (at - min) / (max - min);
		element.style.setProperty("--from", String(share(Math.min(value, neutral))));
		element.style.setProperty("--to", String(share(Math.max(value, neutral))));
	}

	function changed() {
		draw();
		oninput(Number(range.value));
	}

	function back() {
		range.value = String(neutral);
		changed();
	}

	/** @param {KeyboardEvent} event */
	function keys(event) {
		if (event.key !== "Backspace" && event.key !== "Delete") return;
		event.preventDefault();
		back();
	}

	draw();
	return {
		element,
		get: () => Number(range.value),
		/** @param {number} value */
		set(value) {
			range.value = String(value); // the element clamps it and rounds it to a step
			draw();
		},
	};
}
