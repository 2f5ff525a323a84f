// @ts-check
/** Runs: their table, the curves of the chosen ones, live while they train, what differs between them, and how to repeat them. */

import { h, replace } from "../dom.js";
import { COLORS, lineChart, mark } from "../widgets/chart.js";
import { command, quoted } from "../widgets/command.js";
import { commands, differences, heads } from "../widgets/run-details.js";
import { runsTable, share } from "../widgets/runs-table.js";

const POLL = 8000; // milliseconds between two looks at the table
const RETRY = 3000;
const STREAMS = 3; // at a time: browsers hold six connections to a server, and the page needs some too

export default { id: "runs", title: "Runs", styles: ["runs.css"], create };

/** @param {any} context */
function create(context) {
	const { api, announce } = context;
	/** The chosen runs by name: their colour, what GET /runs/NAME gave, and the stream that keeps it up to date.
	 * @type {Map<string, { color: number, run: any, stop: AbortController }>} */
	const chosen = new Map();
	/** @type {{ folder: string, exists: boolean, complete: boolean, runs: any[] }} */
	let listed = /** @type {any} */ (null);
	/** @type {any} */
	let timer = 0;
	let visible = false;
	let streams = 0;
	/** Named in the address, and not there. @type {string[]} */
	let missing = [];
	let touched = false; // whether runs were chosen by hand or address: then none is chosen by itself

	const table = runsTable({ toggle, only: (name) => void choose(chosen.size === 1 && chosen.has(name) ? [] : [name]) });
	const search = h("input", {
		type: "search",
		placeholder: "Filter: name, recipe, data, state",
		"aria-label": "Filter runs",
		oninput: filter,
		testid: "runs-filter",
	});
	const count = h("span.small.muted", { role: "status", testid: "runs-count" });
	const where = h("span.mono.muted.small");
	const charts = {
		accuracy: lineChart({ title: "Accuracy", unit: "epoch", format: share, axis: (value) => `${+(100 * value).toFixed(4)} %` }),
		loss: lineChart({
			title: "Cross-entropy (nats)",
			unit: "epoch",
			format: (value) => value.toFixed(4),
			axis: (value) => String(+value.toPrecision(4)),
		}),
	};
	const judged = h("span");
	const legend = h(
		"p.small.muted.legend",
		{ "aria-hidden": "true" },
		h("span", mark(0), judged),
		h("span", mark(0, true), "train, on augmented images"),
	);
	const lines = h("div");
	const noCurves = h("p.muted");
	const plots = h("div.plots", charts.accuracy.element, charts.loss.element);
	const settings = h("div.stack");
	const copies = h("div.stack");
	const halves = h("div.halves", h("div.card.stack", h("h2", "What differs"), settings), h("div.card.stack", h("h2", "Commands"), copies));
	const about = h("div.stack", { hidden: true, testid: "runs-chosen" }, h("div.card.stack", lines, plots, legend, noCurves), halves);
	const bar = h("div.toolbar", h("h2", "Runs"), where, search, count);
	const hint = h("p.muted", { hidden: true, role: "status", testid: "runs-hint" });
	const body = h("div.stack", bar, table.element, hint, about);
	const empty = h("div.empty", { hidden: true, testid: "runs-empty" });
	const waiting = h("p.loading", { role: "status" }, "Reading the runs…");
	const element = h("div.runs", waiting, empty, body);
	body.hidden = true;

	// -- the table ----------------------------------------------------------------------------------------

	async function refresh() {
		clearTimeout(timer);
		try {
			listed = await api.json("runs");
			const first = body.hidden;
			lookForGone();
			drawTable();
			if (first && chosen.size) table.reveal([...chosen.keys()][0]);
			if (!touched && !chosen.size) chooseFirst();
			// One that was resumed, say.
			for (const { name, state } of listed.runs)
				if (state === "running" && chosen.get(name)?.run && chosen.get(name)?.run.state !== "running")
					void read(name).then(() => drawChosen());
		} catch (error) {
			if (!listed) {
				waiting.textContent = /** @type {Error} */ (error).message;
			}
		}
		// A server may have many runs to read: it answers with those that it has, and goes on when asked again.
		const soon = listed?.runs.some((run) => run.state === "unread");
		if (visible) timer = setTimeout(refresh, soon ? 200 : POLL);
	}

	/** A chosen run whose folder was deleted keeps its curves, and says so; one that is back is read again. */
	function lookForGone() {
		if (!listed.complete) return;
		for (const [name, entry] of chosen) {
			if (!entry.run) continue;
			const isListed = listed.runs.some((run) => run.name === name);
			if (isListed && entry.run.state === "gone") void read(name).then(() => drawChosen());
			if (isListed || entry.run.state === "gone") continue;
			entry.stop.abort();
			entry.stop = new AbortController();
			const problems = ["It is no longer in the folder: what is shown was read before"];
			Object.assign(entry.run, { state: "gone", problems, commands: {}, splits: [] });
			announce(`${entry.run.title}: gone`);
			drawChosen();
		}
	}

	function drawTable() {
		waiting.hidden = true;
		body.hidden = !listed.runs.length;
		empty.hidden = listed.runs.length > 0;
		if (!listed.runs.length) replace(empty, nothing());
		where.textContent = listed.folder === null ? "" : `in ${listed.folder}`;
		const shown = table.update({
			runs: listed.runs,
			words: search.value,
			chosen: new Map([...chosen].map(([name, { color }]) => [name, color])),
		});
		const all = listed.runs.length;
		const text = shown === all ? `${all} run${all === 1 ? "" : "s"}` : `${shown} of ${all} runs`;
		count.textContent = listed.complete ? text : `${text}; more are in the folder than are shown`;
	}

	function nothing() {
		const { folder, exists } = listed;
		if (folder === null)
			return [
				h("h2", "No folder of runs"),
				h("p", "Start the server where the folder ", h("code", "runs"), " is, or name the folder:"),
				command("cifarlab serve --runs DIR", announce),
			];
		if (!exists)
			return [
				h("h2", "The folder is gone"),
				h("p", h("code", folder), " was there when the server started. As soon as it is back, its runs are here."),
			];
		return [
			h("h2", "No runs yet"),
			h(
				"p",
				"There is no run in ",
				h("code", folder),
				". This makes one in seconds, without a download, and it appears here while it trains:",
			),
			command(`cifarlab train digits${folder === "runs" ? "" : ` --runs ${quoted(folder)}`}`, announce),
		];
	}

	function filter() {
		if (listed) drawTable();
	}

	function chooseFirst() {
		const runs = listed.runs;
		const first = runs.find((run) => run.state === "running") ?? runs.find((run) => run.epochs > 1) ?? runs.find((run) => run.epochs);
		if (first) void choose([first.name], { quiet: true });
		else drawChosen();
	}

	// -- the chosen ---------------------------------------------------------------------------------------

	/** @param {string} name */
	function toggle(name) {
		const names = [...chosen.keys()];
		if (chosen.has(name)) return void choose(names.filter((each) => each !== name));
		if (names.length < COLORS) return void choose([...names, name]);
		context.fail(new Error(`At most ${COLORS} runs can be shown at a time. Hide one first.`));
		drawTable();
	}

	/** @param {string[]} names @param {{ quiet?: boolean }} [given] */
	async function choose(names, { quiet = false } = {}) {
		if (!quiet) {
			touched = true;
			missing = [];
			context.remember({ run: names });
		}
		for (const [name, { stop }] of chosen) if (!names.includes(name)) (stop.abort(), chosen.delete(name));
		const added = names.filter((name) => !chosen.has(name)).slice(0, COLORS - chosen.size);
		for (const name of added) chosen.set(name, { color: freeColor(), run: null, stop: new AbortController() });
		if (listed) drawTable();
		if (quiet && names[0]) table.reveal(names[0]);
		await Promise.all(added.map(read));
		drawChosen();
	}

	function freeColor() {
		const taken = new Set([...chosen.values()].map(({ color }) => color));
		return [...Array(COLORS).keys()].find((color) => !taken.has(color)) ?? 0;
	}

	/** @param {string} name */
	async function read(name) {
		const entry = chosen.get(name);
		if (!entry) return;
		try {
			entry.run = await api.json(`runs/${encodeURIComponent(name)}`, { signal: entry.stop.signal });
			if (entry.run.state === "running") void follow(name, entry);
		} catch (error) {
			if (/** @type {Error} */ (error).name === "AbortError") return; // hidden, or chosen no longer
			if (chosen.get(name) === entry) chosen.delete(name);
			if (/** @type {any} */ (error).status === 404) missing.push(name);
			else context.fail(error);
			if (listed) drawTable();
		}
	}

	/** Keep a run that trains up to date. @param {string} name @param {{ run: any, stop: AbortController }} entry */
	async function follow(name, entry) {
		const { signal } = entry.stop;
		let over = false;
		while (!over && visible && !signal.aborted) {
			try {
				if (streams < STREAMS) {
					streams += 1;
					await api
						.stream(`runs/${encodeURIComponent(name)}/events`, { query: { after: entry.run.rows.length }, signal, event })
						.finally(() => (streams -= 1));
				} else {
					const now = await api.json(`runs/${encodeURIComponent(name)}`, { signal });
					event("status", now);
					if (now.state !== "running") event("end", now);
				}
			} catch (error) {
				if (signal.aborted) return;
			}
			if (!over) await new Promise((done) => setTimeout(done, RETRY));
		}
		/** @param {string} kind @param {any} data */
		function event(kind, data) {
			if (kind === "rows") entry.run.rows.splice(data.start, Infinity, ...data.rows);
			if (kind === "status") Object.assign(entry.run, data);
			if (kind === "end") over = true;
			drawChosen(true);
		}
		if (!over || signal.aborted) return;
		announce(`${entry.run.title}: ${entry.run.state}`);
		// Its predictions and commands are others now.
		Object.assign(entry.run, await api.json(`runs/${encodeURIComponent(name)}`, { signal }).catch(() => ({})));
		drawChosen();
		void refresh();
	}

	/** @param {boolean} [live] whether epochs have come and all else is as it was: what is open or has the focus stays so */
	function drawChosen(live = false) {
		const shown = [...chosen.values()].filter(({ run }) => run);
		about.hidden = !shown.length;
		hint.textContent = [missing.map((name) => `There is no run ${name} in this folder.`), chosen.size ? [] : "Choose a run to see it."]
			.flat()
			.join(" ");
		hint.hidden = !hint.textContent;
		if (!shown.length) return;
		const buttons = () => /** @type {HTMLElement[]} */ ([...lines.querySelectorAll("button")]);
		const focused = buttons().indexOf(/** @type {any} */ (document.activeElement));
		replace(lines, heads(shown, { errors: (run) => context.navigate("errors", { run: run.name }), drop: (run) => toggle(run.name) }));
		if (focused >= 0) buttons()[focused]?.focus();
		const drawn = drawCurves(shown);
		plots.hidden = legend.hidden = !drawn;
		halves.classList.toggle("one", shown.length > 1);
		const on = new Set(shown.map(({ run }) => run.validated_on));
		judged.textContent =
			on.size > 1 ? "validation, or test where a run validated on it" : on.has("test") ? "test, looked at after every epoch" : "validation";
		noCurves.hidden = drawn;
		noCurves.textContent = shown.every(({ run }) => run.kind === "baseline")
			? "Baselines are fitted at once: they have no curves."
			: "No epoch is finished yet.";
		if (live) return;
		replace(settings, differences(shown));
		replace(copies, commands(shown, announce));
		copies.parentElement.hidden = !copies.children.length;
	}

	/** @param {{ run: any, color: number }[]} shown @returns {boolean} whether there is a curve */
	function drawCurves(shown) {
		let any = false;
		for (const [quantity, chart] of Object.entries(charts)) {
			const series = shown.flatMap(({ run, color }) =>
				["validation", "train"].map((split) => {
					const kind = split === "validation" && run.validated_on === "test" ? "test" : split;
					const points = /** @type {any[]} */ (run.rows)
						.map((row, index) => [row.epoch ?? index + 1, row[`${split}_${quantity}`]])
						.filter(([, y]) => typeof y === "number");
					return { name: shown.length > 1 ? `${run.title}, ${kind}` : kind, color, dashed: split === "train", points };
				}),
			);
			chart.update(series);
			chart.element.hidden = !series.some(({ points }) => points.length);
			any ||= !chart.element.hidden;
		}
		return any;
	}

	return {
		element,
		/** @param {any} params */
		show(params) {
			const came = !visible;
			visible = true;
			// What was chosen before and had to stop while the panel was hidden.
			for (const [name, entry] of came ? chosen : []) {
				if (!entry.run) void read(name).then(() => drawChosen());
				else if (entry.run.state === "running") void follow(name, entry);
			}
			const wanted = [params.run ?? []].flat();
			if (wanted.length) {
				touched = true;
				missing = [];
				void choose(wanted, { quiet: true });
			}
			if (came) void refresh();
		},
		hide() {
			visible = false;
			clearTimeout(timer);
			for (const { stop } of chosen.values()) stop.abort();
			for (const entry of chosen.values()) entry.stop = new AbortController();
		},
	};
}
