// @ts-check
/** A file or Blob -> a picture that can be shown and sent, or an error in plain words. Nothing is fetched by address. */

/**
 * id: number, new for each; blob: what is sent; bitmap: upright pixels, at most 1024 on the longer side; width, height: of the
 * original; url: for an <img>; label: true class where it is known; origin: "file", "paste", "webcam", "example", "run", ...
 * note: what was done to it before sending, or null.
 * @typedef {{ id: number, blob: Blob, bitmap: ImageBitmap, width: number, height: number, url: string, name: string,
 *   label: string | null, origin: string, said: any, note: string | null }} Picture
 */

export class PictureError extends Error {}

const MOST_BYTES = 60e6; // of a file, before anything is read
const MOST_PIXELS = 50e6; // decoded they take 200 MB
const SENT_BYTES = 10 * 2 ** 20; // what the server takes unless told otherwise
const SENT_PIXELS = 25e6;
const EARLY_PIXELS = 1.5e6; // below it decoding takes no time, and a damaged file is not worth a request
const SHOWN = 1024;
const ALLOWED = "JPEG, PNG, WebP, BMP and GIF are read";

let count = 0;

/**
 * early(file): called before the decoding of a large picture that will be sent as it is, so that it can be on its way already.
 * @param {Blob} file @param {{ name?: string, label?: string | null, origin?: string, said?: any }} [about]
 *   said: of a run's picture, { run, label, probability }: what that run said of it
 * @param {(file: Blob) => void} [early]
 * @returns {Promise<Picture>} Raises PictureError.
 */
export async function decode(
	file,
	{ name = /** @type {any} */ (file).name ?? "picture", label = null, origin = "file", said = null } = {},
	early = () => {},
) {
	if (file.size === 0) throw new PictureError(`${name} is empty: it has no bytes. ${ALLOWED}`);
	if (file.size > MOST_BYTES)
		throw new PictureError(`${name} has ${megabytes(file.size)}; at most ${megabytes(MOST_BYTES)} are read. Scale it down first`);
	const head = new Uint8Array(await file.slice(0, 256 * 1024).arrayBuffer());
	const kind = kindOf(head);
	if (kind.refused) throw new PictureError(`${name} ${kind.refused}. ${ALLOWED}`);
	const declared = sizeOf(head, kind.format);
	if (declared && declared[0] * declared[1] > MOST_PIXELS) {
		throw new PictureError(
			`${name} has ${declared[0]} x ${declared[1]} pixels (${megapixels(declared)}); at most ${MOST_PIXELS / 1e6} megapixels are read. Scale it down first`,
		);
	}
	const pixels = declared ? declared[0] * declared[1] : 0;
	if (pixels > EARLY_PIXELS && pixels <= SENT_PIXELS && file.size <= SENT_BYTES) early(file);
	let full;
	try {
		full = await createImageBitmap(file, { imageOrientation: "from-image" });
	} catch {
		throw new PictureError(`${name} is damaged or cut off: it cannot be decoded. Save or fetch it again`);
	}
	const { width, height } = full;
	const tooLarge = file.size > SENT_BYTES || width * height > SENT_PIXELS;
	const blob = tooLarge ? await scaledDown(full) : file;
	const note = tooLarge ? "Scaled down in the browser before it was sent, because the original is larger than the server takes." : null;
	const bitmap = await shown(full);
	return { id: ++count, blob, bitmap, width, height, url: URL.createObjectURL(blob), name, label, origin, said, note };
}

/** Free what a picture holds, once nothing shows it any more. @param {Picture} picture */
export function release(picture) {
	URL.revokeObjectURL(picture.url);
	picture.bitmap.close();
}

/** The first picture among what was dropped or pasted. @param {DataTransfer | null} transfer @returns {File} Raises PictureError. */
export function fileFrom(transfer) {
	const files = [...(transfer?.files ?? [])];
	const picture = files.find((file) => file.type.startsWith("image/")) ?? files[0];
	if (picture) return picture;
	if (transfer?.types.includes("text/uri-list") || transfer?.types.includes("text/html")) {
		throw new PictureError(
			"That was a link to a picture, and nothing is fetched from the internet here. Save the picture and drop the file",
		);
	}
	if (transfer?.types.includes("text/plain"))
		throw new PictureError("That was text, not a picture. Drop an image file, or copy a picture and paste it");
	throw new PictureError("Nothing arrived that could be read: drop an image file");
}

/** @param {ImageBitmap} full */
async function shown(full) {
	const scale = SHOWN / Math.max(full.width, full.height);
	if (scale >= 1) return full;
	const [resizeWidth, resizeHeight] = [full.width, full.height].map((side) => Math.max(1, Math.round(side * scale)));
	const small = await createImageBitmap(full, { resizeWidth, resizeHeight, resizeQuality: "high" });
	full.close();
	return small;
}

/** @param {ImageBitmap} full @returns {Promise<Blob>} */
async function scaledDown(full) {
	const scale = Math.min(1, 2048 / Math.max(full.width, full.height));
	const [width, height] = [full.width, full.height].map((side) => Math.max(1, Math.round(side * scale)));
	const canvas = new OffscreenCanvas(width, height);
	const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
	context.fillStyle = "white"; // what lies behind transparent pixels at the server too
	context.fillRect(0, 0, width, height);
	context.imageSmoothingQuality = "high";
	context.drawImage(full, 0, 0, width, height);
	return canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
}

/** @param {Uint8Array} head @returns {{ format?: string, refused?: string }} */
function kindOf(head) {
	const text = String.fromCharCode(...head.slice(0, 16));
	if (text.startsWith("\x89PNG")) return { format: "png" };
	if (text.startsWith("\xff\xd8")) return { format: "jpeg" };
	if (text.startsWith("GIF8")) return { format: "gif" };
	if (text.startsWith("BM")) return { format: "bmp" };
	if (text.startsWith("RIFF") && text.slice(8, 12) === "WEBP") return { format: "webp" };
	if (text.slice(4, 8) === "ftyp") return { refused: "looks like HEIC, AVIF or a video, which is not read; save it as JPEG" };
	if (text.startsWith("%PDF")) return { refused: "is a PDF, not a picture" };
	if (text.startsWith("PK\x03\x04")) return { refused: "is a ZIP archive, not a picture" };
	if (text.startsWith("II*\0") || text.startsWith("MM\0*")) return { refused: "looks like TIFF, which is not read; save it as PNG" };
	if (/^\s*<(svg|\?xml)/i.test(text)) return { refused: "looks like SVG, which is not read; save it as PNG" };
	const sample = head.slice(0, 512);
	const readable = sample.every((byte) => byte >= 32 || byte === 9 || byte === 10 || byte === 13);
	return { refused: readable ? "is a text file, not a picture" : "is not a picture" };
}

/** Width and height that the file's header declares, so that a huge one is refused before it is decoded; null where it cannot be told.
 * @param {Uint8Array} head @param {string | undefined} format @returns {[number, number] | null} */
function sizeOf(head, format) {
	const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
	try {
		if (format === "png") return [view.getUint32(16), view.getUint32(20)];
		if (format === "gif") return [view.getUint16(6, true), view.getUint16(8, true)];
		if (format === "bmp") return [Math.abs(view.getInt32(18, true)), Math.abs(view.getInt32(22, true))];
		if (format === "jpeg") return jpegSize(view);
		return null; // WebP: at most 16383 a side; the decoded size is checked by the server
	} catch (error) {
		if (error instanceof RangeError) return null; // shorter than its header: decoding will tell
		throw error;
	}
}

/** @param {DataView} view @returns {[number, number] | null} */
function jpegSize(view) {
	let at = 2;
	while (at < view.byteLength) {
		const marker = view.getUint16(at);
		const isFrame = marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker);
		if (isFrame) return [view.getUint16(at + 7), view.getUint16(at + 5)];
		at += 2 + view.getUint16(at + 2);
	}
	return null;
}

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
/** @param {[number, number]} sides */
const megapixels = ([width, height]) => `${((width * height) / 1e6).toFixed(0)} megapixels`;
