// @ts-check
/** A picture beside what the model sees of it. */

import { h, replace } from "../dom.js";
import { drawPixels, fitted } from "../fitted.js";
import { keptPart } from "../resize.js";

/**
 * sight(fail) -> { element, show(picture, model), live(video, pixels, model) }. `pixels` of `live` are drawn at once.
 * @param {(error: unknown) => void} fail
 */
export function sight(fail) {
	const image = h("img.original", { alt: "", testid: "original" });
	const crop = h("span.crop", { "aria-hidden": "true" });
	const frame = h("div.frame", image, crop);
	const canvas = h("canvas.fitted", { width: 32, height: 32, role: "img", testid: "fitted" });
	const size = h("span.number");
	const original = h("span.number");
	const name = h("span.sight-name");
	const element = h(
		"div.sight",
		h("figure", frame, h("figcaption", name, original)),
		h("figure", h("div.frame", canvas), h("figcaption", "What the model sees ", size)),
	);

	/** @param {any} model */
	function caption(model) {
		const side = Math.min(model.center_crop ?? model.size, model.size);
		size.textContent = `${side} × ${side}`;
		canvas.setAttribute("aria-label", `What the model sees: ${side} by ${side} pixels`);
	}

	/** What of the original is left by the central crop. @param {number} width @param {number} height @param {any} model */
	function outline(width, height, model) {
		const share = Math.min(width / height, height / width);
		crop.hidden = model.resize !== "crop" || share > 0.99;
		crop.style.setProperty("--side", `${100 * share}%`);
	}

	/** @param {any} picture @param {any} model */
	function roughly({ bitmap }, model) {
		const { left, top, width, height } = keptPart(bitmap.width, bitmap.height, model.resize);
		canvas.width = canvas.height = model.size;
		canvas.getContext("2d")?.drawImage(bitmap, left, top, width, height, 0, 0, model.size, model.size);
	}

	return {
		element,
		/** @param {any} picture @param {any} model @param {boolean} [isBusy] whether its answer is awaited */
		show(picture, model, isBusy = false) {
			if (image.src !== picture.url) image.src = picture.url;
			if (!frame.contains(image)) replace(frame, image, crop);
			image.alt = picture.label ? `${picture.name}: ${picture.label}` : picture.name;
			image.classList.toggle("small-picture", Math.max(picture.width, picture.height) <= 96);
			name.textContent = picture.name;
			original.textContent = `${picture.width} × ${picture.height}`;
			name.title = picture.name;
			outline(picture.width, picture.height, model);
			caption(model);
			// A large picture takes a moment, which the answer must not wait for: until then a rough view is shown.
			if (isBusy && picture.bitmap.width !== picture.width) return roughly(picture, model);
			fitted(picture, model).then((pixels) => image.src === picture.url && drawPixels(canvas, pixels, model), fail);
		},
		/** @param {HTMLVideoElement} video @param {any} pixels @param {any} model */
		live(video, pixels, model) {
			if (!frame.contains(video)) replace(frame, video, crop);
			name.textContent = "Webcam, live";
			original.textContent = `${video.videoWidth} × ${video.videoHeight}`;
			outline(video.videoWidth, video.videoHeight, model);
			caption(model);
			drawPixels(canvas, pixels, model);
		},
	};
}
