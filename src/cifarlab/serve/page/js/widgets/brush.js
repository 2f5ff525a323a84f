// @ts-check
/** The picture as the model sees it, with a map over it and a brush that hides parts, by pointer or by keys. */

import { h } from "../dom.js";
import { paint } from "../pixels.js";

/** @typedef {import("../resize.js").Pixels} Pixels */

const REMEMBERED = 40; // strokes that can be undone

/**
 * changed(settled): pixels were hidden or came back; settled: the stroke is over. moved(row, column): the keys moved the brush.
 * @param {{ changed: (settled: boolean) => void, moved: (row: number, column: number) => void }} given
 */
export function brush({ changed, moved }) {
	const picture = h("canvas.pixelated", { "aria-hidden": "true", testid: "why-seen" });
	const map = h("canvas.why-map", { "aria-hidden": "true", hidden: true, testid: "why-map" });
	const outline = h("div.why-brush", { "aria-hidden": "true" });
	const element = h(
		"div.why-picture",
		{
			role: "application",
			tabindex: "0",
			"aria-describedby": "why-keys",
			"aria-label": "The picture as the model sees it; paint to hide parts",
			testid: "why-brush",
			onpointerdown: press,
			onpointermove: hover,
			onpointerup: lift,
			onpointercancel: lift,
			onkeydown: keys,
		},
		picture,
		map,
		outline,
	);
	/** @type {Pixels | null} */
	let pixels = null;
	/** @type {Pixels | null} */
	let original = null;
	/** @type {Uint8ClampedArray[]} */
	let strokes = []; // what was there before each
	let fill = [128, 128, 128];
	let size = 6;
	let painting = false;
	let ready = true;
	let at = { row: 0, column: 0 }; // the brush's middle, in pixels

	function draw() {
		if (!pixels) return;
		paint(picture, pixels);
		place();
	}

	/** First row and column under the brush. */
	const corner = () => ({ top: Math.round(at.row - size / 2), left: Math.round(at.column - size / 2) });

	function place() {
		const side = pixels?.width ?? 1;
		const { top, left } = corner();
		const share = (/** @type {number} */ value) => `${(100 * value) / side}%`;
		for (const [name, value] of Object.entries({ top: share(top), left: share(left), width: share(size), height: share(size) }))
			outline.style.setProperty(name, value);
	}

	function begin() {
		if (!pixels) return;
		strokes = [...strokes.slice(1 - REMEMBERED), pixels.data];
		pixels = { ...pixels, data: new Uint8ClampedArray(pixels.data) };
	}

	function stamp() {
		if (!pixels) return;
		const side = pixels.width;
		const { top, left } = corner();
		// Others may still read the pixels as they were.
		pixels = { ...pixels, data: new Uint8ClampedArray(pixels.data) };
		for (let row = Math.max(0, top); row < Math.min(side, top + size); row += 1) {
			for (let column = Math.max(0, left); column < Math.min(side, left + size); column += 1)
				pixels.data.set(fill, 4 * (row * side + column));
		}
		draw();
	}

	/** @param {PointerEvent} event */
	function follow(event) {
		const box = element.getBoundingClientRect();
		const side = pixels?.width ?? 1;
		const last = at;
		at = { row: ((event.clientY - box.top) / box.height) * side, column: ((event.clientX - box.left) / box.width) * side };
		place();
		return last;
	}

	/** @param {PointerEvent} event */
	function press(event) {
		if (event.button !== 0 || !pixels || !ready) return;
		element.setPointerCapture(event.pointerId);
		painting = true;
		element.classList.add("painting");
		follow(event);
		begin();
		stamp();
		changed(false);
	}

	/** @param {PointerEvent} event */
	function hover(event) {
		const from = follow(event);
		if (!painting) return;
		// A quick move leaves no gaps.
		const to = at;
		const steps = Math.max(1, Math.ceil(Math.max(Math.abs(to.row - from.row), Math.abs(to.column - from.column)) / Math.max(1, size / 2)));
		for (let step = 1; step <= steps; step += 1) {
			at = { row: from.row + ((to.row - from.row) * step) / steps, column: from.column + ((to.column - from.column) * step) / steps };
			stamp();
		}
		changed(false);
	}

	function lift() {
		if (!painting) return;
		painting = false;
		element.classList.remove("painting");
		changed(true);
	}

	/** @param {KeyboardEvent} event */
	function keys(event) {
		const side = pixels?.width ?? 1;
		const by = Math.max(1, Math.round(size / 2));
		const [down, right] = { ArrowUp: [-by, 0], ArrowDown: [by, 0], ArrowLeft: [0, -by], ArrowRight: [0, by] }[event.key] ?? [0, 0];
		const undoing = event.key === "Backspace" || (event.key.toLowerCase() === "z" && (event.ctrlKey || event.metaKey));
		if (!down && !right && !undoing && event.key !== " ") return;
		event.preventDefault();
		if (undoing) return undo();
		if (down || right) {
			const inside = (/** @type {number} */ value) => Math.min(side - size / 2, Math.max(size / 2, value));
			at = { row: inside(at.row + down), column: inside(at.column + right) };
			place();
			if (!event.shiftKey) return moved(corner().top, corner().left);
		}
		begin();
		stamp();
		changed(true);
	}

	function undo() {
		const before = strokes.pop();
		if (!before || !pixels) return;
		pixels = { ...pixels, data: before };
		draw();
		changed(true);
	}

	return {
		element,
		map,
		undo,
		/** @param {Pixels | null} given null: nothing can be painted until there is a picture */
		start(given) {
			pixels = original = given;
			strokes = [];
			at = { row: (given?.width ?? 0) / 2, column: (given?.width ?? 0) / 2 };
			draw();
		},
		clear() {
			if (!pixels || !original || pixels === original) return;
			begin();
			pixels = original;
			draw();
			changed(true);
		},
		pixels: () => pixels,
		/** Whether the pointer paints; without, it scrolls. @param {boolean} paints */
		ready(paints) {
			ready = paints;
			element.classList.toggle("ready", paints);
		},
		painted: () => pixels !== null && original !== null && pixels.data !== original.data,
		undoable: () => strokes.length > 0,
		/** @param {number} pixelsWide @param {number[]} [colour] red, green, blue */
		shape(pixelsWide, colour) {
			size = pixelsWide;
			if (colour) fill = [...colour, 255];
			place();
		},
	};
}
