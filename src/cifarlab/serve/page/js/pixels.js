// @ts-check
/** Pixels on canvases and in files, untouched. */

/** @typedef {{ data: any, width: number, height: number }} Pixels as resize.js has them */

/** @param {any} canvas made as large as they are @param {Pixels} pixels */
export function paint(canvas, { data, width, height }) {
	if (canvas.width !== width) canvas.width = width;
	if (canvas.height !== height) canvas.height = height;
	canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
}

/** A PNG keeps them as they are: they are opaque. @param {Pixels} pixels @returns {Promise<Blob>} */
export function png(pixels) {
	const canvas = new OffscreenCanvas(pixels.width, pixels.height);
	paint(canvas, pixels);
	return canvas.convertToBlob({ type: "image/png" });
}
