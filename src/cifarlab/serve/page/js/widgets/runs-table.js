// @ts-check
/** The table of runs: sorted by a click on a heading, filtered by words, with a mark for each run that is chosen. */

import { h, replace } from "../dom.js";
import { mark } from "./chart.js";

export const STATES = {
	done: "done",
	running: "running",
	interrupted: "interrupted",
	preempted: "stopped",
	failed: "failed",
	"half-written": "half-written",
	gone: "gone", // deleted while it was shown
	unread: "…",
};
const KINDS = { done: "", running: "good", interrupted: "warn", preempted: "warn", failed: "bad", "half-written": "warn", gone: "warn", unread: "" };

/** 0.9426 -> "94.26 %". @param {number} share */
export const share = (share) => `${(100 * share).toFixed(2)} %`;

/** @param {any} accuracy */
export function range(accuracy) {
	return accuracy?.low === null || accuracy?.low === undefined
		? null
		: `${(100 * accuracy.low).toFixed(1)} – ${(100 * accuracy.high).toFixed(1)}`;
}

/** Seconds in words: "45 s", "12:03 min", "2:05 h". @param {number | null} seconds */
export function duration(seconds) {
	if (seconds === null || seconds === undefined) return "";
	const two = (/** @type {number} */ value) => String(Math.floor(value)).padStart(2, "0");
	if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
	return seconds < 3600
		? `${Math.floor(seconds / 60)}:${two(seconds % 60)} min`
		: `${Math.floor(seconds / 3600)}:${two((seconds % 3600) / 60)} h`;
}

/** A run's state as a chip. @param {any} run */
export function stateChip(run) {
	return h(
		"span",
		{ class: `chip ${KINDS[/** @type {keyof KINDS} */ (run.state)] ?? ""}`, title: run.problems.join("\n") },
		STATES[/** @type {keyof STATES} */ (run.state)] ?? run.state,
	);
}

/**
 * @type {{ key: string, title: string, hint?: string, class?: string, down?: boolean, value: (run: any) => any, cell: (run: any) => any }[]}
 */
const COLUMNS = [
	{ key: "title", title: "Run", value: (run) => run.title.toLowerCase(), cell: name },
	{ key: "state", title: "State", class: "roomy", value: (run) => run.state, cell: stateChip },
	{ key: "epochs", title: "Epochs", class: "number roomy", down: true, value: (run) => run.epochs, cell: epochs },
	{
		key: "validation",
		title: "Validation",
		class: "number",
		down: true,
		value: (run) => run.validation?.value,
		cell: (run) => accuracy(run, "validation"),
	},
	{ key: "test", title: "Test", class: "number", down: true, value: (run) => run.test?.value, cell: (run) => accuracy(run, "test") },
	{
		key: "test_reads",
		title: "Test reads",
		hint: "How often the run was evaluated on the test split: once, at its end, keeps the result honest",
		class: "number roomy",
		down: true,
		value: (run) => run.test_reads,
		cell: (run) => run.test_reads ?? "",
	},
	{ key: "seconds", title: "Time", class: "number roomy", down: true, value: (run) => run.seconds, cell: (run) => duration(run.seconds) },
	{ key: "started", title: "Started", class: "roomy", down: true, value: (run) => run.started, cell: started },
];

/** @param {any} run */
function name(run) {
	const parts = run.title.split("/");
	const own = parts.pop();
	const about = [parts.join("/"), run.kind === "baseline" ? "baseline" : run.recipe, run.network, run.data]
		.filter((each, index, all) => each && all.indexOf(each) === index)
		.join(" · ");
	return [
		h("span.run-name", { title: run.title }, own),
		h("span.small.muted", run.state === "done" ? null : h("span.narrow", stateChip(run), " "), about || run.problems[0] || ""),
	];
}

/** @param {any} run */
function epochs(run) {
	if (run.kind === "baseline") return "";
	const planned = run.epochs_planned === null || run.epochs_planned === run.epochs ? "" : h("span.muted", ` / ${run.epochs_planned}`);
	return [run.epochs, planned];
}

/** @param {any} run @param {"validation" | "test"} split */
function accuracy(run, split) {
	const found = run[split];
	if (!found) return split === "validation" && run.validated_on === "test" ? h("span.small.muted", "on test") : "";
	const below = range(found) ?? (run.validated_on === "test" ? "on test" : found.epoch ? `epoch ${found.epoch}` : null);
	return [share(found.value), below && h("span.small.muted", below)];
}

/** @param {any} run */
function started(run) {
	if (!run.started) return "";
	const date = new Date(run.started);
	return h(
		"time",
		{ datetime: run.started, title: date.toLocaleString() },
		date.toLocaleDateString(undefined, { month: "short", day: "numeric" }),
		" ",
		date.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" }),
	);
}

/** @param {{ toggle: (name: string) => void, only: (name: string) => void }} given */
export function runsTable({ toggle, only }) {
	let sort = { key: "started", down: true };
	/** @type {{ runs: any[], chosen: Map<string, number>, words: string }} */
	let now = { runs: [], chosen: new Map(), words: "" };
	const body = h("tbody");
	const heads = COLUMNS.map((column) =>
		h(
			"th",
			{ scope: "col", class: column.class ?? null },
			h("button.link", { title: column.hint ?? null, onclick: () => order(column) }, column.title),
		),
	);
	const head = h("tr", h("th", { scope: "col" }, h("span.unseen", "Chosen")), heads);
	const none = h("p.muted.none", { hidden: true }, "No run has these words in its name, recipe, network, data or state.");
	const element = h(
		"div.scroll.runs-scroll",
		{ tabindex: "0", role: "region", "aria-label": "Runs" },
		h("table.runs-table", h("thead", head), body),
		none,
	);

	/** @param {typeof COLUMNS[0]} column */
	function order(column) {
		sort = { key: column.key, down: sort.key === column.key ? !sort.down : Boolean(column.down) };
		draw();
	}

	function shown() {
		const words = now.words.toLowerCase().split(/\s+/).filter(Boolean);
		const column = COLUMNS.find((each) => each.key === sort.key) ?? COLUMNS[0];
		const runs = now.runs.filter((run) => {
			const text = [run.title, run.recipe, run.network, run.data, run.kind, run.state, STATES[/** @type {keyof STATES} */ (run.state)]]
				.join(" ")
				.toLowerCase();
			return words.every((word) => text.includes(word));
		});
		const empty = (/** @type {any} */ value) => value === null || value === undefined;
		return runs.sort((left, right) => {
			const [a, b] = [column.value(left), column.value(right)];
			if (empty(a) || empty(b)) return Number(empty(a)) - Number(empty(b)); // what is not known comes last, either way
			return (a < b ? -1 : a > b ? 1 : 0) * (sort.down ? -1 : 1);
		});
	}

	function draw() {
		const focused = /** @type {HTMLElement | null} */ (body.contains(document.activeElement) ? document.activeElement : null)?.dataset
			.focus;
		const runs = shown();
		heads.forEach((cell, index) =>
			cell.setAttribute("aria-sort", COLUMNS[index].key === sort.key ? (sort.down ? "descending" : "ascending") : "none"),
		);
		replace(body, runs.map(row));
		none.hidden = runs.length > 0 || !now.runs.length;
		if (focused)
			/** @type {HTMLElement | undefined} */ (
				[...body.querySelectorAll("[data-focus]")].find((each) => /** @type {HTMLElement} */ (each).dataset.focus === focused)
			)?.focus();
		return runs.length;
	}

	/** @param {any} run */
	function row(run) {
		const color = now.chosen.get(run.name);
		const box = h("input", {
			type: "checkbox",
			checked: color !== undefined,
			"aria-label": `Show ${run.title}`,
			dataset: { focus: `box ${run.name}` },
			onchange: () => toggle(run.name),
		});
		/** What lies beside checkbox and name chooses as well, unless its text is being selected. @param {MouseEvent} event */
		function anywhere({ target }) {
			const at = /** @type {Element} */ (target);
			if (at.closest("button, label") || getSelection()?.toString()) return;
			if (at.contains(box)) toggle(run.name);
			else only(run.name);
		}
		const cells = COLUMNS.map((column) => {
			const content = column.cell(run);
			return h(
				"td",
				{ class: column.class ?? null },
				column.key === "title"
					? h("button.run-link", { dataset: { focus: `name ${run.name}` }, onclick: () => only(run.name) }, content)
					: content,
			);
		});
		return h(
			"tr",
			{ class: color === undefined ? null : "chosen", dataset: { run: run.name }, onclick: anywhere },
			h("td", h("label.box", box, color === undefined ? null : mark(color))),
			cells,
		);
	}

	return {
		element,
		/** Scroll the table, not the page, to a run. @param {string} name */
		reveal(name) {
			const found = /** @type {HTMLElement | undefined} */ (
				[...body.children].find((each) => /** @type {HTMLElement} */ (each).dataset.run === name)
			);
			if (
				found &&
				(found.offsetTop < element.scrollTop + 40 || found.offsetTop + found.offsetHeight > element.scrollTop + element.clientHeight)
			)
				element.scrollTop = found.offsetTop - 44;
		},
		/** Returns how many rows are shown. @param {Partial<typeof now>} changes @returns {number} */
		update(changes) {
			now = { ...now, ...changes };
			return draw();
		},
	};
}
