// @ts-check
// From an image file to the pixels that the model sees, as cifarlab.data.images does it in Python: upright, opaque on
// white, the central square (or squashed), bicubic with antialiasing. Pixels are {data, width, height}, RGBA in 0..255
// row by row, as ImageData has them; all of them opaque.

/** @typedef {{data: Uint8ClampedArray, width: number, height: number}} Pixels */
/** @typedef {"crop" | "squash"} Rule */

const REACH = 2; // of the bicubic kernel, in source pixels where nothing shrinks
const SHARPNESS = -0.5; // the a of Keys (1981), which Pillow uses; canvases and OpenCV take others
const FRACTION = 22; // bits behind the point of a weight: 255 times the weights' sum of 1 leaves room for overshoot in 32 bits
const STRIP = 1 << 20; // pixels drawn and read at a time: a picture of 50 megapixels needs 4 MB instead of 200

/**
 * The cubic convolution kernel (Keys, "Cubic convolution interpolation for digital image processing", 1981, eq. 4 with a).
 * @param {number} x
 */
function cubic(x) {
	const at = Math.abs(x);
	if (at < 1) return ((SHARPNESS + 2) * at - (SHARPNESS + 3)) * at * at + 1;
	if (at < REACH) return SHARPNESS * (((at - 5) * at + 8) * at - 4);
	return 0;
}

/**
 * For each of `length` output pixels of one axis: its first source pixel and the weights from there on, in fixed point.
 *
 * The kernel is as wide as the picture shrinks; where it reaches beyond the border, the weights that are left are scaled to sum to 1.
 * @param {number} source pixels of the axis
 * @param {number} length pixels wanted
 * @returns {{start: number, weights: Int32Array}[]}
 */
export function weightsOfAxis(source, length) {
	const scale = source / length;
	const widen = Math.max(scale, 1);
	return Array.from({ length }, (_, index) => {
		const center = (index + 0.5) * scale;
		const start = Math.max(0, Math.trunc(center - REACH * widen + 0.5));
		const end = Math.min(source, Math.trunc(center + REACH * widen + 0.5));
		const exact = Array.from({ length: end - start }, (_, k) => cubic((start + k + 0.5 - center) / widen));
		const sum = exact.reduce((total, value) => total + value, 0);
		const fixed = exact.map((value) => {
			const scaled = (value / sum) * 2 ** FRACTION;
			return Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5); // half away from zero
		});
		return { start, weights: Int32Array.from(fixed) };
	});
}

/**
 * Scale every row of `pixels` to `width`.
 * @param {Pixels} pixels
 * @param {{start: number, weights: Int32Array}[]} axis of weightsOfAxis(pixels.width, width)
 * @param {Uint8ClampedArray} into where the rows go, 4 * axis.length values each
 * @param {number} offset of the first value
 */
function scaleRows(pixels, axis, into, offset) {
	const { data, width, height } = pixels;
	const half = 1 << (FRACTION - 1);
	for (let y = 0; y < height; y++) {
		for (let x = 0; x < axis.length; x++) {
			const { start, weights } = axis[x];
			let red = half, green = half, blue = half; // prettier-ignore
			let at = 4 * (y * width + start);
			for (let k = 0; k < weights.length; k++, at += 4) {
				const weight = weights[k];
				red += data[at] * weight;
				green += data[at + 1] * weight;
				blue += data[at + 2] * weight;
			}
			const to = offset + 4 * (y * axis.length + x);
			// >> rounds down; the clamped array keeps 0..255.
			into[to] = red >> FRACTION;
			into[to + 1] = green >> FRACTION;
			into[to + 2] = blue >> FRACTION;
			into[to + 3] = 255;
		}
	}
}

/** @param {Pixels} pixels @param {number} height @returns {Pixels} */
function scaleColumns(pixels, height) {
	const { data, width } = pixels;
	const axis = weightsOfAxis(pixels.height, height);
	const scaled = new Uint8ClampedArray(4 * width * height);
	const half = 1 << (FRACTION - 1);
	const row = 4 * width;
	for (let y = 0; y < height; y++) {
		const { start, weights } = axis[y];
		for (let i = 0; i < row; i++) {
			let sum = half;
			for (let k = 0, at = start * row + i; k < weights.length; k++, at += row) sum += data[at] * weights[k];
			scaled[y * row + i] = sum >> FRACTION;
		}
	}
	return { data: scaled, width, height };
}

/**
 * Scale to width x height: bicubic, antialiased, rounded to 8 bits after the rows and after the columns, as Pillow's BICUBIC does.
 * An axis that has its length already is not touched.
 * @param {Pixels} pixels @param {number} width @param {number} height @returns {Pixels}
 */
export function resample(pixels, width, height) {
	let found = pixels;
	if (width !== pixels.width) {
		found = { data: new Uint8ClampedArray(4 * width * pixels.height), width, height: pixels.height };
		scaleRows(pixels, weightsOfAxis(pixels.width, width), found.data, 0);
	}
	return height === pixels.height ? found : scaleColumns(found, height);
}

/**
 * The part of a width x height picture that `rule` keeps: "crop" the central square of the shorter side, "squash" all of it.
 * @param {number} width @param {number} height @param {Rule} rule
 */
export function keptPart(width, height, rule) {
	if (rule === "squash") return { left: 0, top: 0, width, height };
	const side = Math.min(width, height);
	return { left: Math.floor((width - side) / 2), top: Math.floor((height - side) / 2), width: side, height: side };
}

/** What the model sees of `pixels`: size x size. @param {Pixels} pixels @param {{size: number, rule?: Rule}} how @returns {Pixels} */
export function fit(pixels, { size, rule = "crop" }) {
	const part = keptPart(pixels.width, pixels.height, rule);
	if (part.width === pixels.width && part.height === pixels.height) return resample(pixels, size, size);
	const cut = new Uint8ClampedArray(4 * part.width * part.height);
	for (let y = 0; y < part.height; y++) {
		const from = 4 * ((part.top + y) * pixels.width + part.left);
		cut.set(pixels.data.subarray(from, from + 4 * part.width), 4 * y * part.width);
	}
	return resample({ data: cut, width: part.width, height: part.height }, size, size);
}

/**
 * An image file as the browser decodes it: upright by its EXIF orientation, embedded colour profiles not applied.
 *
 * Of a 16-bit PNG the browser keeps 8 bits, which may differ from Pillow's by one level; of an animation the first frame.
 * Rejects with the browser's own error where it cannot decode.
 * @param {Blob} blob @returns {Promise<ImageBitmap>}
 */
export function decode(blob) {
	return createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
}

/**
 * What the model sees of a decoded picture, transparent parts on white: size x size.
 * @param {CanvasImageSource & {width: number, height: number}} bitmap @param {{size: number, rule?: Rule}} how @returns {Pixels}
 */
export function fitBitmap(bitmap, { size, rule = "crop" }) {
	return scaleBitmap(bitmap, keptPart(bitmap.width, bitmap.height, rule), size, size);
}

/**
 * The rectangle `part` of a decoded picture, on white, scaled to width x height; read in strips, so that memory stays small.
 * @param {CanvasImageSource & {width: number, height: number}} bitmap
 * @param {{left: number, top: number, width: number, height: number}} part @param {number} width @param {number} height @returns {Pixels}
 */
export function scaleBitmap(bitmap, part, width, height) {
	const rows = Math.max(1, Math.min(part.height, Math.floor(STRIP / part.width)));
	const canvas = createCanvas(part.width, rows);
	const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { willReadFrequently: true }));
	const axis = weightsOfAxis(part.width, width);
	const narrow = { data: new Uint8ClampedArray(4 * width * part.height), width, height: part.height };
	context.imageSmoothingEnabled = false; // nothing is scaled here
	for (let top = 0; top < part.height; top += rows) {
		const height = Math.min(rows, part.height - top);
		context.fillStyle = "#fff";
		context.fillRect(0, 0, part.width, height);
		context.drawImage(bitmap, part.left, part.top + top, part.width, height, 0, 0, part.width, height);
		const strip = context.getImageData(0, 0, part.width, height);
		if (width === part.width) narrow.data.set(strip.data, 4 * width * top);
		else scaleRows(strip, axis, narrow.data, 4 * width * top);
	}
	return height === part.height ? narrow : scaleColumns(narrow, height);
}

/** A canvas that is not part of the page; works in a worker as well. @param {number} width @param {number} height */
export function createCanvas(width, height) {
	return new OffscreenCanvas(width, height);
}
