// @ts-check
/** What the Poke panel shows of the picture and the answer; poke.js decides what and when. */

import { h, percent, replace } from "../dom.js";
import { drawPixels } from "../fitted.js";
import { paint } from "../pixels.js";
import { movedBars } from "./moved_bars.js";

const SHOWN = 8; // classes with a bar
const LONG = 18; // letters of a class's name that no longer fit in the largest type
const SMALL = 64; // pixels a side below which single ones are shown as squares

/** @typedef {import("../resize.js").Pixels} Pixels */
/** @typedef {{ label: string, predictions: { label: string, probability: number }[], unlike: boolean | null }} Answer */

/**
 * position(): { x, y } of the sliders now, in pixels of the model; drag({ x, y }) moves them there.
 * @param {{ drag: (to: { x: number, y: number }) => void, position: () => { x: number, y: number }, size: () => number }} given
 */
export function pokeStage({ drag, position, size }) {
	const poked = h("canvas.poked", { role: "img", "aria-label": "The picture as it is now", testid: "poked", onpointerdown: press });
	const seen = h("canvas.thumb.pixelated", { role: "img", "aria-label": "What the model sees", testid: "poke-seen" });
	const original = h("canvas.thumb", { role: "img", "aria-label": "The original picture", testid: "poke-original" });
	const seenCaption = h("figcaption", "The model sees");
	const before = h("p.small.muted", { testid: "poke-before" });
	const label = h("strong.poke-label", { testid: "poke-label" });
	const share = h("span.poke-share.number");
	const chips = h("p.poke-chips");
	const chart = movedBars({ top: SHOWN });
	const answer = h("div.poke-answer", { testid: "poke-answer" }, h("p.poke-now", label, share), chips);
	const small = h("div.poke-small", h("figure", seen, seenCaption), h("figure", original, h("figcaption", "Original", before)));

	/** Drag the picture to shift it. @param {PointerEvent} event */
	function press(event) {
		if (event.button !== 0) return;
		const { x, y } = position();
		const { clientX, clientY, pointerId } = event;
		const side = poked.getBoundingClientRect().width;
		poked.setPointerCapture(pointerId);
		poked.onpointermove = (/** @type {PointerEvent} */ now) => {
			const pixels = (/** @type {number} */ by) => Math.round((by / side) * size());
			drag({ x: x + pixels(now.clientX - clientX), y: y + pixels(now.clientY - clientY) });
		};
		poked.onpointerup = poked.onpointercancel = () => (poked.onpointermove = null);
	}

	return {
		picture: h("div.poke-picture", poked, small),
		answer,
		bars: chart.element,
		/** @param {Pixels} pixels */
		original(pixels) {
			draw(original, pixels);
		},
		/** @param {Pixels} pixels @param {{ seen: Pixels, model: any, bytes: number | null }} more what the model sees; bytes: of the JPEG */
		poked(pixels, { seen: fitted, model, bytes }) {
			draw(poked, pixels);
			drawPixels(seen, fitted, model);
			const jpeg = bytes === null ? null : h("p.small.muted", `JPEG: ${(bytes / 1000).toFixed(1)}\u00a0kB`);
			replace(seenCaption, `The model sees ${seen.width}\u00a0×\u00a0${seen.height}`, jpeg);
		},
		/** @param {Answer | null} now @param {Answer | null} first */
		answered(now, first) {
			answer.classList.toggle("waiting", !now);
			if (!now || !first) return;
			const [best] = now.predictions;
			label.textContent = best.label;
			label.classList.toggle("long", best.label.length > LONG);
			share.textContent = percent(best.probability);
			before.textContent = `${first.label}, ${percent(first.predictions[0].probability)}`;
			const changed = best.label !== first.label;
			replace(
				chips,
				h(
					"span",
					{ class: `chip${changed ? " warn" : ""}`, testid: "poke-was" },
					changed ? `was ${first.label}` : `before ${percent(first.predictions[0].probability)}`,
				),
				now.unlike ? h("span.chip.warn", "unlike the training data") : null,
			);
			chart.update(now.predictions, first.predictions);
		},
	};
}

/** @param {any} canvas @param {Pixels} pixels */
function draw(canvas, pixels) {
	canvas.classList.toggle("pixelated", Math.min(pixels.width, pixels.height) < SMALL);
	paint(canvas, pixels);
}
