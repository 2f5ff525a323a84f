// @ts-check
/** Numbers as colours: maps on canvases, and the legend that says what a colour means. */

import { h } from "../dom.js";
import { paint } from "../pixels.js";

/** Evenly spaced colours, from low to high: viridis is perceptually uniform, coolwarm has its middle at no change. */
const STOPS = {
	viridis: "440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725",
	coolwarm: "3b4cc0 6282ea 8db0fe b9d0f9 dddcdc f5c4ac f4987a dd5f4b b40426",
};
/** @typedef {keyof typeof STOPS} Scale */

/** @type {Map<Scale, Uint8Array>} */
const tables = new Map();

/** 256 colours, red, green and blue of one after the other. @param {Scale} scale */
function table(scale) {
	let found = tables.get(scale);
	if (found) return found;
	const stops = STOPS[scale].split(" ").map((stop) => [0, 2, 4].map((at) => parseInt(stop.slice(at, at + 2), 16)));
	found = new Uint8Array(3 * 256);
	for (let index = 0; index < 256; index += 1) {
		const place = (index / 255) * (stops.length - 1);
		const before = Math.min(Math.floor(place), stops.length - 2);
		for (let part = 0; part < 3; part += 1)
			found[3 * index + part] = Math.round(stops[before][part] + (place - before) * (stops[before + 1][part] - stops[before][part]));
	}
	tables.set(scale, found);
	return found;
}

/**
 * Draw width x height numbers, row after row, one pixel each; low and below takes the first colour, high and above the last.
 * @param {HTMLCanvasElement} canvas @param {ArrayLike<number>} values
 * @param {{ width: number, height: number, low: number, high: number, scale?: Scale }} how
 */
export function drawMap(canvas, values, { width, height, low, high, scale = "viridis" }) {
	const colours = table(scale);
	const image = new ImageData(width, height);
	const factor = high > low ? 255 / (high - low) : 0;
	for (let index = 0; index < width * height; index += 1) {
		const colour = 3 * Math.round(Math.min(255, Math.max(0, (values[index] - low) * factor)));
		for (let part = 0; part < 3; part += 1) image.data[4 * index + part] = colours[colour + part];
		image.data[4 * index + 3] = 255;
	}
	paint(canvas, image);
}

/** A strip of the scale with words at its ends, and what it means beneath. */
export function legend() {
	const strip = h("div.legend-strip", { "aria-hidden": "true" });
	const ends = h("div.legend-ends.number");
	const meaning = h("p.small.muted");
	return {
		element: h("div.legend", { testid: "legend" }, strip, ends, meaning),
		/** @param {{ scale?: Scale, ends: string[], text: string }} given ends: from low to high, evenly spaced */
		update({ scale = "viridis", ends: words, text }) {
			strip.style.setProperty("background", `linear-gradient(to right, ${STOPS[scale].split(" ").map((stop) => `#${stop}`).join(", ")})`); // prettier-ignore
			ends.replaceChildren(...words.map((word) => h("span", word)));
			meaning.textContent = text;
		},
	};
}
