// @ts-check
/**
 * A line chart in SVG: axes, a legend beside it by the caller, values under the pointer, and by the arrow keys.
 *
 * const chart = lineChart({ title: "Accuracy", unit: "epoch", format: percent });
 * chart.update([{ name: "fast-0, validation", color: 0, dashed: false, points: [[1, 0.52], [2, 0.71]] }]);
 *
 * Colours are those of the classes .ink-0 to .ink-5 (runs.css), told apart by colour-blind people too; shapes at the line's end repeat
 * them, so that a printed page in grey still tells lines apart.
 */

import { h, replace, svg } from "../dom.js";

export const COLORS = 6;
const HEIGHT = 260;
const MARGIN = { top: 12, right: 16, bottom: 34, left: 48 };
const SHAPES = [
	"M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
	"M-3.6,-3.6h7.2v7.2h-7.2Z",
	"M0,-4.6L4.4,3.4H-4.4Z",
	"M0,-5L4.6,0L0,5L-4.6,0Z",
	"M0,4.6L4.4,-3.4H-4.4Z",
	"M-4.5,-1.5h3v-3h3v3h3v3h-3v3h-3v-3h-3Z",
];

/** @typedef {{ name: string, color: number, dashed?: boolean, points: [number, number][] }} Series */

/** The mark of a line, for a legend. @param {number} color @param {boolean} [dashed] */
export function mark(color, dashed = false) {
	const line = svg("line", { x1: 0, y1: 7, x2: 26, y2: 7, class: dashed ? "line dashed" : "line" });
	return svg(
		"svg",
		{ class: `mark-line ink-${color % COLORS}`, width: 26, height: 14, "aria-hidden": "true" },
		line,
		svg("path", { d: SHAPES[color % COLORS], transform: "translate(13 7)", class: dashed ? "point hollow" : "point" }),
	);
}

/**
 * @param {{ title: string, unit: string, format: (value: number) => string, axis?: (value: number) => string }} given
 *   format: a value in words; axis: the same at the axis, where that is shorter
 */
export function lineChart({ title, unit, format, axis = format }) {
	/** @type {Series[]} */
	let series = [];
	/** @type {number | null} */
	let at = null;
	/** @type {any} */
	let scale = null;
	let width = 560;
	const picture = svg("svg.plot", { "aria-hidden": "true", height: HEIGHT });
	const readout = h("div.readout", { hidden: true });
	const stage = h(
		"div.stage",
		{
			role: "slider",
			tabindex: "0",
			"aria-label": `${title} by ${unit}`,
			onpointermove: point,
			onpointerleave: leave,
			onblur: leave,
			onkeydown: key,
			onfocus: focus,
		},
		picture,
		readout,
	);
	const element = h("figure.chart", h("figcaption", title), stage);
	new ResizeObserver(([entry]) => {
		const now = Math.round(entry.contentRect.width);
		if (now && now !== width) draw((width = now));
	}).observe(stage);

	/** Every x that a line has a value at, ascending. */
	function places() {
		return [...new Set(series.flatMap((each) => each.points.map(([x]) => x)))].sort((a, b) => a - b);
	}

	function draw(_ = width) {
		const points = series.flatMap((each) => each.points);
		picture.setAttribute("width", String(width));
		picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
		stage.hidden = !points.length;
		if (!points.length) return;
		scale = scales(points, width);
		replace(
			picture,
			grid(scale, { unit, axis, width }),
			series.map((each) => line(each, scale)),
			h("g"),
		);
		const xs = places();
		for (const [name, value] of Object.entries({ valuemin: xs[0], valuemax: xs[xs.length - 1] }))
			stage.setAttribute(`aria-${name}`, String(value));
		show(at === null || xs.includes(at) ? at : null);
	}

	/** Show the values at `x`; null for none. @param {number | null} x */
	function show(x) {
		at = x;
		const xs = places();
		const last = xs[xs.length - 1];
		stage.setAttribute("aria-valuenow", String(x ?? last));
		stage.setAttribute("aria-valuetext", words(x ?? last));
		const cursor = picture.lastChild;
		readout.hidden = x === null;
		if (x === null || !scale) return cursor?.replaceWith(svg("g"));
		const here = series
			.flatMap((each) => each.points.filter(([place]) => place === x).map(([, y]) => ({ ...each, y })))
			.sort((a, b) => b.y - a.y);
		const left = scale.x(x);
		const dots = here.map(({ color, y }) => svg("circle", { cx: left, cy: scale.y(y), r: 4.5, class: `dot ink-${color % COLORS}` }));
		cursor?.replaceWith(svg("g", svg("line", { x1: left, x2: left, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, class: "cursor" }), dots));
		const rows = here.map(({ name, color, dashed, y }) => h("li", mark(color, dashed), h("span", name), h("b", format(y))));
		replace(readout, h("p", `${unit} ${x}`), h("ul", rows));
		const space = width - readout.offsetWidth;
		readout.style.setProperty("left", `${Math.max(0, Math.min(space, left < width / 2 ? left + 14 : left - readout.offsetWidth - 14))}px`);
	}

	/** @param {number} x */
	function words(x) {
		const values = series.flatMap((each) => each.points.filter(([place]) => place === x).map(([, y]) => `${each.name} ${format(y)}`));
		return `${unit} ${x}: ${values.join(", ")}`;
	}

	/** @param {PointerEvent} event */
	function point(event) {
		if (!scale) return;
		const x = scale.from(event.clientX - picture.getBoundingClientRect().left);
		const near = places().reduce((best, place) => (Math.abs(place - x) < Math.abs(best - x) ? place : best), Infinity);
		if (near !== at && near !== Infinity) show(near);
	}

	function leave() {
		if (document.activeElement !== stage || !stage.matches(":focus-visible")) show(null);
	}

	function focus() {
		if (stage.matches(":focus-visible")) show(at ?? places().at(-1) ?? null);
	}

	/** @param {KeyboardEvent} event */
	function key(event) {
		const xs = places();
		const index = xs.indexOf(at ?? xs[xs.length - 1]);
		const to = {
			ArrowLeft: index - 1,
			ArrowDown: index - 1,
			ArrowRight: index + 1,
			ArrowUp: index + 1,
			Home: 0,
			End: xs.length - 1,
			PageDown: index - 10,
			PageUp: index + 10,
		}[event.key];
		if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
		event.preventDefault();
		show(xs[Math.max(0, Math.min(xs.length - 1, to))]);
	}

	return {
		element,
		/** @param {Series[]} next */
		update(next) {
			series = next.filter((each) => each.points.length);
			draw();
		},
	};
}

/** @param {[number, number][]} points @param {number} width */
function scales(points, width) {
	const xs = points.map(([x]) => x);
	const ys = points.map(([, y]) => y);
	const x = { low: Math.min(...xs), high: Math.max(...xs) };
	if (x.low === x.high) [x.low, x.high] = [x.low - 0.5, x.high + 0.5];
	const y = steps(Math.min(...ys), Math.max(...ys), 5);
	const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
	return {
		x: (/** @type {number} */ value) => MARGIN.left + ((value - x.low) / (x.high - x.low)) * inner.width,
		y: (/** @type {number} */ value) => MARGIN.top + (1 - (value - y.low) / (y.high - y.low)) * inner.height,
		from: (/** @type {number} */ pixels) => x.low + ((pixels - MARGIN.left) / inner.width) * (x.high - x.low),
		ticks: {
			x: steps(x.low, x.high, Math.max(4, Math.floor(inner.width / 70))).ticks.filter(
				(tick) => tick >= x.low && tick <= x.high && Number.isInteger(tick),
			),
			y: y.ticks,
		},
	};
}

/** Round numbers that hold low and high between them. @param {number} low @param {number} high @param {number} count */
function steps(low, high, count) {
	const span = high - low || Math.abs(high) || 1;
	const rough = span / count;
	const power = 10 ** Math.floor(Math.log10(rough));
	const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) ?? 10);
	const first = Math.floor(low / step + 1e-9);
	const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
	const ticks = Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
	return { low: first * step, high: last * step, ticks };
}

/** @param {any} scale @param {{ unit: string, axis: (value: number) => string, width: number }} given */
function grid(scale, { unit, axis, width }) {
	const bottom = HEIGHT - MARGIN.bottom;
	const rows = scale.ticks.y.map((/** @type {number} */ tick) => [
		svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: scale.y(tick), y2: scale.y(tick), class: "rule" }),
		svg("text", { x: MARGIN.left - 8, y: scale.y(tick) + 4, "text-anchor": "end" }, axis(tick)),
	]);
	const columns = scale.ticks.x.map((/** @type {number} */ tick) =>
		svg("text", { x: scale.x(tick), y: bottom + 18, "text-anchor": "middle" }, tick),
	);
	return [rows, columns, svg("text", { x: width - MARGIN.right, y: HEIGHT - 2, "text-anchor": "end", class: "unit" }, unit)];
}

/** @param {Series} series @param {any} scale */
function line({ color, dashed, points }, scale) {
	const path = points.map(([x, y], index) => `${index ? "L" : "M"}${scale.x(x).toFixed(1)},${scale.y(y).toFixed(1)}`).join("");
	const [x, y] = points[points.length - 1];
	const end = svg("path", {
		d: SHAPES[color % COLORS],
		transform: `translate(${scale.x(x)} ${scale.y(y)})`,
		class: dashed ? "point hollow" : "point",
	});
	return svg("g", { class: `ink-${color % COLORS}` }, svg("path", { d: path, class: dashed ? "line dashed" : "line" }), end);
}
