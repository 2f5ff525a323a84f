// @ts-check
// What the Poke panel does to a picture, on {data, width, height}, RGBA in 0..255 as ImageData has them; all opaque. Each
// function returns new pixels. Outside the picture lies its mirror image, so that no border appears that the camera never saw.

import { createCanvas } from "./resize.js";

/** @typedef {import("./resize.js").Pixels} Pixels */

/**
 * x, y: shift to the right and down, as a share of the side; rotate: degrees clockwise; scale: 2 shows the middle twice as
 * large; blur: standard deviation as a share of the side; brightness, contrast: factors; quality: of a JPEG, 1..100, where 100
 * stands for none.
 * @typedef {{x: number, y: number, rotate: number, scale: number, blur: number, brightness: number, contrast: number, quality: number}} Settings
 */

/** @type {Readonly<Settings>} */
export const NEUTRAL = Object.freeze({ x: 0, y: 0, rotate: 0, scale: 1, blur: 0, brightness: 1, contrast: 1, quality: 100 });

const LUMA = [0.299, 0.587, 0.114]; // ITU-R BT.601
const REACH = 3; // standard deviations that the blur's kernel is cut off at

/**
 * All of it, in this order: shift, rotation and scale as one mapping; blur; brightness; contrast. JPEG: see `throughJpeg`.
 * @param {Pixels} pixels @param {Settings} settings @returns {Pixels}
 */
export function poke(pixels, settings) {
	let found = pixels;
	const { x, y, rotate, scale, blur, brightness, contrast } = settings;
	if (x || y || rotate || scale !== 1) found = move(found, settings);
	if (blur) found = blurred(found, blur * Math.min(pixels.width, pixels.height));
	if (brightness !== 1) found = brightened(found, brightness);
	if (contrast !== 1) found = contrasted(found, contrast);
	return found;
}

/** @param {Settings} settings */
export function isNeutral(settings) {
	return Object.entries(NEUTRAL).every(([name, value]) => settings[/** @type {keyof Settings} */ (name)] === value);
}

/**
 * Shifted, rotated and scaled about the middle, with bilinear interpolation.
 * @param {Pixels} pixels @param {Pick<Settings, "x" | "y" | "rotate" | "scale">} how @returns {Pixels}
 */
export function move({ data, width, height }, { x, y, rotate, scale }) {
	const turn = (rotate * Math.PI) / 180;
	// Where each pixel comes from: the mapping backwards, hence the division by scale and the turn the other way.
	const cos = Math.cos(turn) / scale;
	const sin = Math.sin(turn) / scale;
	const moved = new Uint8ClampedArray(data.length);
	for (let row = 0, to = 0; row < height; row++) {
		const down = row + 0.5 - height / 2 - y * height;
		for (let column = 0; column < width; column++, to += 4) {
			const right = column + 0.5 - width / 2 - x * width;
			const fromX = cos * right + sin * down + width / 2 - 0.5;
			const fromY = cos * down - sin * right + height / 2 - 0.5;
			const left = Math.floor(fromX);
			const top = Math.floor(fromY);
			const a = fromX - left;
			const b = fromY - top;
			const x0 = mirrored(left, width), x1 = mirrored(left + 1, width); // prettier-ignore
			const y0 = mirrored(top, height) * width, y1 = mirrored(top + 1, height) * width; // prettier-ignore
			const p = 4 * (y0 + x0), q = 4 * (y0 + x1), r = 4 * (y1 + x0), s = 4 * (y1 + x1); // prettier-ignore
			for (let channel = 0; channel < 3; channel++) {
				const upper = data[p + channel] * (1 - a) + data[q + channel] * a;
				const lower = data[r + channel] * (1 - a) + data[s + channel] * a;
				moved[to + channel] = upper * (1 - b) + lower * b;
			}
			moved[to + 3] = 255;
		}
	}
	return { data: moved, width, height };
}

/** The index inside 0..length-1 that a mirror at both borders shows at `index`. @param {number} index @param {number} length */
function mirrored(index, length) {
	const period = 2 * length;
	const at = ((index % period) + period) % period;
	return at < length ? at : period - 1 - at;
}

/**
 * Gaussian blur of `sigma` pixels, rows and then columns; rounded once, at the end.
 * @param {Pixels} pixels @param {number} sigma @returns {Pixels}
 */
export function blurred({ data, width, height }, sigma) {
	const kernel = gaussian(sigma);
	const values = Float32Array.from(data);
	const rows = convolved(values, { lines: height, length: width, step: 4, stride: 4 * width, kernel });
	const both = convolved(rows, { lines: width, length: height, step: 4 * width, stride: 4, kernel });
	return { data: new Uint8ClampedArray(both), width, height };
}

/** Half of the kernel, from its middle on; both halves together sum to 1. @param {number} sigma */
function gaussian(sigma) {
	const reach = Math.floor(REACH * sigma + 0.5);
	const half = Float32Array.from({ length: reach + 1 }, (_, at) => Math.exp((-at * at) / (2 * sigma * sigma)));
	const sum = half.reduce((total, value) => total + value, 0) * 2 - half[0];
	return half.map((value) => value / sum);
}

/**
 * @param {Float32Array} values
 * @param {{lines: number, length: number, step: number, stride: number, kernel: Float32Array}} how step: from one value of a line
 *   to the next; stride: from one line to the next
 */
function convolved(values, { lines, length, step, stride, kernel }) {
	const found = new Float32Array(values.length).fill(255);
	const reach = kernel.length - 1;
	const places = Int32Array.from({ length: length + 2 * reach }, (_, at) => mirrored(at - reach, length) * step);
	for (let line = 0; line < lines; line++) {
		for (let at = 0; at < length; at++) {
			const middle = at + reach;
			for (let channel = 0; channel < 3; channel++) {
				const offset = line * stride + channel;
				let sum = values[offset + places[middle]] * kernel[0];
				for (let k = 1; k <= reach; k++) sum += (values[offset + places[middle - k]] + values[offset + places[middle + k]]) * kernel[k];
				found[offset + at * step] = sum;
			}
		}
	}
	return found;
}

/** Every value times `factor`. @param {Pixels} pixels @param {number} factor @returns {Pixels} */
export function brightened(pixels, factor) {
	return mapped(pixels, (value) => value * factor);
}

/**
 * Every value's distance from the mean luma of the picture times `factor`: 0 leaves a gray area.
 * @param {Pixels} pixels @param {number} factor @returns {Pixels}
 */
export function contrasted(pixels, factor) {
	let sum = 0;
	for (let at = 0; at < pixels.data.length; at += 4) {
		sum += LUMA[0] * pixels.data[at] + LUMA[1] * pixels.data[at + 1] + LUMA[2] * pixels.data[at + 2];
	}
	const mean = Math.round(sum / (pixels.width * pixels.height));
	return mapped(pixels, (value) => mean + (value - mean) * factor);
}

/** @param {Pixels} pixels @param {(value: number) => number} change @returns {Pixels} */
function mapped({ data, width, height }, change) {
	const table = Uint8ClampedArray.from({ length: 256 }, (_, value) => change(value)); // rounds and keeps 0..255
	const found = new Uint8ClampedArray(data.length);
	for (let at = 0; at < data.length; at += 4) {
		found[at] = table[data[at]];
		found[at + 1] = table[data[at + 1]];
		found[at + 2] = table[data[at + 2]];
		found[at + 3] = 255;
	}
	return { data: found, width, height };
}

/**
 * What is left after saving as a JPEG of this quality, by the browser's own encoder; with the size of that file.
 * @param {Pixels} pixels
 * @param {number} quality 1..100
 * @returns {Promise<{pixels: Pixels, bytes: number}>}
 */
export async function throughJpeg(pixels, quality) {
	const { width, height } = pixels;
	const canvas = createCanvas(width, height);
	const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
	context.putImageData(new ImageData(pixels.data, width, height), 0, 0);
	const file = await canvas.convertToBlob({ type: "image/jpeg", quality: quality / 100 });
	const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
	context.drawImage(bitmap, 0, 0);
	bitmap.close();
	return { pixels: context.getImageData(0, 0, width, height), bytes: file.size };
}
