// @ts-check
/** Channels of a layer as tiles, with a cursor on one position of one channel, by pointer or by keys. */

import { h, replace } from "../dom.js";
import { drawMap } from "./heat.js";

/**
 * The channels of one page. values: channel by channel, row by row; first: number of the first channel; low, high: of the whole layer.
 * names: what channels are called besides their number, or null.
 * @typedef {{ values: Float32Array, shape: [number, number, number], first: number, low: number, high: number, names: string[] | null }} Channels
 */

/** Lowest and highest of `count` values from `start` on. @param {Float32Array} values @param {number} start @param {number} count */
export function extent(values, start, count) {
	let low = Infinity;
	let high = -Infinity;
	for (let index = start; index < start + count; index += 1) {
		low = Math.min(low, values[index]);
		high = Math.max(high, values[index]);
	}
	return { low, high };
}

/**
 * point({ channel, row, column }): the cursor moved; channel counts within the page. turn(by): the keys want another page.
 * @param {{ point: (cell: { channel: number, row: number, column: number }) => void, turn: (by: number) => void }} given
 */
export function channelGrid({ point, turn }) {
	const marker = h("i.grid-cell", { "aria-hidden": "true" });
	const tiles = h("div.grid-tiles");
	const element = h(
		"div.channel-grid",
		{
			role: "application",
			tabindex: "0",
			"aria-describedby": "inside-keys",
			testid: "channels",
			onpointermove: hover,
			onpointerdown: hover,
			onkeydown: keys,
		},
		tiles,
	);
	/** @type {Channels | null} */
	let shown = null;
	let own = false;
	let at = { channel: 0, row: 0, column: 0 };

	function draw() {
		if (!shown) return;
		const [count, height, width] = shown.shape;
		const { values, first, names } = shown;
		if (tiles.children.length !== count)
			replace(
				tiles,
				[...Array(count)].map(() => h("div.grid-tile", h("canvas.pixelated", { "aria-hidden": "true" }), h("span"))),
			);
		tiles.classList.toggle("named", names !== null);
		tiles.style.setProperty("--shape", `${width} / ${height}`);
		for (let channel = 0; channel < count; channel += 1) {
			const part = values.subarray(channel * height * width, (channel + 1) * height * width);
			const { low, high } = own ? extent(part, 0, part.length) : shown;
			const [canvas, caption] = tiles.children[channel].children;
			drawMap(/** @type {HTMLCanvasElement} */ (canvas), part, { width, height, low, high });
			caption.textContent = names ? names[first + channel] : String(first + channel);
		}
		place();
	}

	function place() {
		if (!shown) return;
		const [count, height, width] = shown.shape;
		at = { channel: Math.min(at.channel, count - 1), row: Math.min(at.row, height - 1), column: Math.min(at.column, width - 1) };
		for (const [index, tile] of [...tiles.children].entries()) tile.classList.toggle("chosen", index === at.channel);
		tiles.children[at.channel].append(marker);
		const places = { top: at.row / height, left: at.column / width, width: 1 / width };
		for (const [name, share] of Object.entries(places))
			marker.style.setProperty(name === "width" ? "width" : `--${name}`, name === "width" ? `${100 * share}%` : String(share));
		marker.style.setProperty("aspect-ratio", "1");
		point(at);
	}

	/** @param {PointerEvent} event */
	function hover(event) {
		const canvas = /** @type {HTMLElement} */ (event.target).closest?.(".grid-tile")?.firstElementChild;
		if (!shown || !canvas) return;
		const [, height, width] = shown.shape;
		const box = canvas.getBoundingClientRect();
		const inside = (/** @type {number} */ share, /** @type {number} */ count) =>
			Math.min(count - 1, Math.max(0, Math.floor(share * count)));
		const channel = [...tiles.children].indexOf(/** @type {Element} */ (canvas.parentElement));
		const next = {
			channel,
			row: inside((event.clientY - box.top) / box.height, height),
			column: inside((event.clientX - box.left) / box.width, width),
		};
		if (next.channel === at.channel && next.row === at.row && next.column === at.column) return;
		at = next;
		place();
	}

	/** @param {KeyboardEvent} event */
	function keys(event) {
		if (!shown || event.altKey || event.ctrlKey || event.metaKey) return;
		const [count, height, width] = shown.shape;
		const move = {
			ArrowUp: [0, -1, 0],
			ArrowDown: [0, 1, 0],
			ArrowLeft: [0, 0, -1],
			ArrowRight: [0, 0, 1],
			PageUp: [-1, 0, 0],
			PageDown: [1, 0, 0],
		}[event.key];
		if (!move) return;
		event.preventDefault();
		let { channel, row, column } = { channel: at.channel + move[0], row: at.row + move[1], column: at.column + move[2] };
		// Beyond its edge a channel is followed by the next; beyond the last there may be another page.
		if (column < 0 || row < 0) [channel, row, column] = [channel - 1, row < 0 ? height - 1 : row, column < 0 ? width - 1 : column];
		else if (column >= width || row >= height)
			[channel, row, column] = [channel + 1, row >= height ? 0 : row, column >= width ? 0 : column];
		if (channel < 0 || channel >= count) return turn(Math.sign(channel || -1));
		at = { channel, row, column };
		place();
		tiles.children[channel].scrollIntoView({ block: "nearest" });
	}

	return {
		element,
		/**
		 * @param {Channels} channels
		 * @param {{ own: boolean, keep: boolean, label: string }} how own: each channel on its own scale; keep: the cursor
		 */
		show(channels, { own: each, keep, label }) {
			const [, height, width] = channels.shape;
			if (!keep) at = { channel: 0, row: Math.floor(height / 2), column: Math.floor(width / 2) };
			shown = channels;
			own = each;
			element.setAttribute("aria-label", label);
			draw();
		},
		/** @param {{ row: number, column: number }} cell */
		move(cell) {
			at = { ...at, ...cell };
			place();
		},
	};
}
