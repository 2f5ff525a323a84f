// @ts-check
/** What the model sees of a picture, computed in the browser as the server does it. */

import { paint } from "./pixels.js";
import { createCanvas, decode, fitBitmap } from "./resize.js";

/** @typedef {import("./picture.js").Picture} Picture */
/** @typedef {{ data: Uint8ClampedArray, width: number, height: number }} Pixels */

/** @type {WeakMap<Picture, Map<string, Promise<Pixels>>>} */
const known = new WeakMap();

/** The pixels of `picture` at the input of `model`, size x size. @param {Picture} picture @param {any} model @returns {Promise<Pixels>} */
export function fitted(picture, model) {
	const sizes = known.get(picture) ?? known.set(picture, new Map()).get(picture);
	const key = `${model.size} ${model.resize}`;
	let found = /** @type {Map<string, Promise<Pixels>>} */ (sizes).get(key);
	if (!found) {
		found = fit(picture, { size: model.size, rule: model.resize });
		found.catch(() => sizes?.delete(key));
		sizes?.set(key, found);
	}
	return found;
}

/** @param {Picture} picture @param {{ size: number, rule: "crop" | "squash" }} how */
async function fit(picture, how) {
	// A large picture is kept small for showing; what is sent is decoded again, so that the pixels are the model's own.
	const whole = picture.bitmap.width === picture.width && !picture.note;
	const bitmap = whole ? picture.bitmap : await decode(picture.blob);
	try {
		return fitBitmap(bitmap, how);
	} finally {
		if (!whole) bitmap.close();
	}
}

/**
 * Draw pixels on a canvas of their size; `model.color` "gray" and `center_crop` show what is left of them.
 * @param {HTMLCanvasElement} canvas @param {Pixels} pixels @param {any} model
 */
export function drawPixels(canvas, pixels, model) {
	const side = Math.min(model.center_crop ?? pixels.width, pixels.width);
	const corner = Math.floor((pixels.width - side) / 2);
	canvas.width = canvas.height = side;
	canvas.classList.toggle("gray", model.color === "gray");
	const whole = createCanvas(pixels.width, pixels.height);
	paint(whole, pixels);
	canvas.getContext("2d")?.drawImage(whole, -corner, -corner);
}
