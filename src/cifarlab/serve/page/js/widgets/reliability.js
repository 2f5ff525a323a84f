// @ts-check
/** How often predictions of a given confidence are right (Guo et al., 2017): bars against the diagonal, and how many there are of each. */

import { h, percent, replace, svg, whole } from "../dom.js";

const SIDE = 300;
const LEFT = 44;
const TOP = 8;
const PLOT = 200;
const COUNTS = 36; // height of the strip of counts

export function reliabilityDiagram() {
	const picture = svg("svg.plot.reliability", { viewBox: `0 0 ${SIDE} ${TOP + PLOT + COUNTS + 46}`, role: "img" });
	const line = h("p.small.muted");
	const table = h("table.settings.number");
	const element = h("div.stack", h("div.trust", picture, line), h("details", h("summary", "As a table"), table));
	const width = SIDE - LEFT - 8;
	const x = (/** @type {number} */ share) => LEFT + share * width;
	const y = (/** @type {number} */ share) => TOP + (1 - share) * PLOT;

	return {
		element,
		/**
		 * @param {{ edges: number[], counts: number[], accuracy: (number | null)[], confidence: (number | null)[], calibration_error: number, n: number }} found
		 */
		update({ edges, counts, accuracy, confidence, calibration_error: error, n }) {
			const most = Math.max(...counts);
			const base = TOP + PLOT + COUNTS + 8;
			const bars = counts.map((count, bin) => {
				const place = { x: x(edges[bin]) + 1, width: Math.max(1, x(edges[bin + 1]) - x(edges[bin]) - 2) };
				const tall = (COUNTS * count) / most;
				const share = accuracy[bin];
				return [
					share === null ? null : svg("rect", { ...place, y: y(share), height: TOP + PLOT - y(share), class: "bin" }),
					svg("rect", { ...place, y: base - tall, height: tall, class: "count" }),
				];
			});
			const ticks = [0, 0.25, 0.5, 0.75, 1].map((tick) => [
				svg("line", { x1: LEFT, x2: LEFT + width, y1: y(tick), y2: y(tick), class: "rule" }),
				svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, `${100 * tick} %`),
				svg("text", { x: x(tick), y: base + 15, "text-anchor": tick === 0 ? "start" : tick === 1 ? "end" : "middle" }, `${100 * tick} %`),
			]);
			replace(
				picture,
				ticks,
				bars,
				svg("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "diagonal" }),
				svg("text", { x: LEFT + width / 2, y: base + 33, "text-anchor": "middle" }, "confidence"),
				svg("text", { x: LEFT + 6, y: TOP + 14 }, "share right"),
			);
			const words = `Calibration error ${percent(error)} over ${whole(n)} pictures: where a bar is above the line, the model is right more often than it claims; below it, it is too sure. The strip shows how many predictions have each confidence.`;
			picture.setAttribute("aria-label", `Reliability diagram. ${words}`);
			line.textContent = words;
			const rows = counts.map((count, bin) =>
				h(
					"tr",
					h("td", `${percent(edges[bin])} to ${percent(edges[bin + 1])}`),
					h("td", count),
					h("td", confidence[bin] === null ? "" : percent(confidence[bin] ?? 0)),
					h("td", accuracy[bin] === null ? "" : percent(accuracy[bin] ?? 0)),
				),
			);
			replace(
				table,
				h(
					"thead",
					h(
						"tr",
						["Confidence", "Pictures", "Mean confidence", "Right"].map((text) => h("th", { scope: "col" }, text)),
					),
				),
				h("tbody", rows),
			);
		},
	};
}
