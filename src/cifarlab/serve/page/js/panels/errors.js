// @ts-check
/**
 * Errors of a run: its confusion matrix, the pictures behind each cell, the most confident mistakes, and how far confidence can be trusted.
 */

import { h, replace, whole } from "../dom.js";
import { latest } from "../latest.js";
import { command, quoted } from "../widgets/command.js";
import { pictureGallery } from "../widgets/gallery.js";
import { confusionMatrix } from "../widgets/matrix.js";
import { reliabilityDiagram } from "../widgets/reliability.js";
import { range, share } from "../widgets/runs-table.js";

const PAGE = 32;
const PAIRS = 8;
const SORTS = { confident: "most confident first", unsure: "least confident first", index: "in the order of the split" };

export default { id: "errors", title: "Errors", styles: ["runs.css", "errors.css"], create };

/** @param {any} context */
function create(context) {
	const { api, announce } = context;
	/** @type {{ run: string, split: string, true?: string, predicted?: string, sort: string, shares: boolean }} */
	const now = { run: "", split: "", sort: "confident", shares: false };
	/** @type {any} */
	let confusion = null;
	let rows = 0;
	let due = false; // whether the gallery is not yet what it should be
	/** @type {Record<string, any>} */
	const timers = { list: 0, pictures: 0 };
	let visible = false;
	const reading = latest();
	const paging = latest();

	const runChoice = h("select", {
		"aria-label": "Run",
		testid: "errors-run",
		onchange: () => go({ run: runChoice.value, split: "", true: undefined, predicted: undefined }),
	});
	const splitChoice = h("select", { "aria-label": "Split", testid: "errors-split", onchange: () => go({ split: splitChoice.value }) });
	const sortChoice = h(
		"select",
		{ "aria-label": "Order", onchange: () => go({ sort: sortChoice.value }) },
		Object.entries(SORTS).map(([value, text]) => h("option", { value }, text)),
	);
	const unit = h(
		"select",
		{
			"aria-label": "Numbers in the matrix",
			onchange: () => {
				now.shares = unit.value === "shares";
				drawMatrix();
			},
		},
		h("option", { value: "counts" }, "number of pictures"),
		h("option", { value: "shares" }, "percent of each true class"),
	);
	const headline = h("p.headline.number", { testid: "errors-headline" });
	const matrix = confusionMatrix({ choose: pick });
	const pairs = h("ol.pairs");
	const often = h("h3", "Most often confused");
	const gallery = pictureGallery({ load: (url, given) => api.blob(url, given), open, fail: context.fail });
	const title = h("h2", { testid: "gallery-title" }, "Mistakes");
	const all = h("button.link", { hidden: true, onclick: () => go({ true: undefined, predicted: undefined }) }, "All mistakes");
	const note = h("p.small.note", { hidden: true, role: "status", testid: "gallery-note" });
	const more = h("button", { hidden: true, onclick: () => void page(true) }, "More");
	const reliability = reliabilityDiagram();
	const cells = h(
		"section.card.stack.area-matrix",
		{ "aria-label": "Confusion matrix" },
		h("div.toolbar", h("h2", "Confusion matrix"), unit),
		matrix.element,
		often,
		pairs,
	);
	const trust = h(
		"section.card.stack.area-trust",
		{ "aria-label": "Reliability" },
		h("h2", "Can its confidence be trusted?"),
		reliability.element,
	);
	const pictures = h(
		"section.card.stack.area-pictures",
		{ "aria-label": "Pictures" },
		title,
		h("div.toolbar", sortChoice, all),
		note,
		gallery.element,
		h("p", more),
	);
	const problem = h("p.problem", { hidden: true, role: "alert" });
	const body = h("div.errors-columns", cells, pictures, trust);
	const bar = h("div.toolbar", runChoice, splitChoice, headline);
	const empty = h("div.empty", { hidden: true, testid: "errors-empty" });
	const waiting = h("p.loading", { role: "status" }, "Reading the runs…");
	const element = h("div.stack", waiting, empty, bar, problem, body);
	bar.hidden = body.hidden = true;

	/** Change what is shown and keep it in the address. @param {Partial<typeof now>} changes */
	function go(changes) {
		const before = { ...now };
		Object.assign(now, changes);
		context.remember({
			run: now.run,
			split: now.split,
			true: now.true,
			predicted: now.predicted,
			sort: now.sort === "confident" ? "" : now.sort,
		});
		void load(before.run !== now.run || before.split !== now.split);
	}

	/** A cell of the matrix; chosen again it is let go. @param {string} of @param {string} as */
	function pick(of, as) {
		go(now.true === of && now.predicted === as ? { true: undefined, predicted: undefined } : { true: of, predicted: as });
		// On a phone the pictures are below.
		if (pictures.getBoundingClientRect().top > innerHeight - 120)
			pictures.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
	}

	/** @param {any} picked the row's blob @param {any} row */
	async function open(picked, row) {
		const said = { run: now.run, label: row.predicted, probability: row.probability };
		context.navigate("try");
		await context.open(picked, { name: row.sample_id, label: row.true, origin: "run", said });
	}

	// -- what is asked of the server ------------------------------------------------------------------------

	async function list() {
		/** @type {{ folder: string, runs: any[] }} */
		const { folder, runs } = await api.json("runs");
		const usable = runs.filter((run) => run.test || (run.validation && run.validation.n));
		const unread = runs.some((run) => run.state === "unread");
		clearTimeout(timers.list);
		if (unread && visible) timers.list = setTimeout(() => void list().catch(context.fail), 200);
		if (!usable.length && unread) return;
		waiting.hidden = true;
		empty.hidden = usable.length > 0;
		bar.hidden = !usable.length && !now.run;
		if (!usable.length && !now.run) return nothing(folder, runs.length);
		usable.sort((a, b) => Number(a.kind === "baseline") - Number(b.kind === "baseline"));
		const options = usable.map((run) =>
			h(
				"option",
				{ value: run.name },
				`${run.title} (${run.test ? `test ${share(run.test.value)}` : `validation ${share(run.validation.value)}`})`,
			),
		);
		if (now.run && !usable.some((run) => run.name === now.run)) options.push(h("option", { value: now.run }, now.run));
		const fresh = !now.run;
		now.run ||= usable[0].name;
		if (runChoice.children.length !== options.length) replace(runChoice, options);
		runChoice.value = now.run;
		if (fresh) await load(true);
	}

	/** @param {string | null} folder @param {number} count */
	function nothing(folder, count) {
		const train = `cifarlab train digits${folder === null || folder === "runs" ? "" : ` --runs ${quoted(folder)}`}`;
		const [words, line] =
			folder === null
				? ["Start the server with a folder of runs:", "cifarlab serve --runs DIR"]
				: count
					? [
							"The runs in this folder have no predictions yet. A finished run gets them with:",
							`cifarlab evaluate ${quoted(folder)}/NAME --split test`,
						]
					: ["Train one first; in seconds, without a download:", train];
		replace(empty, h("h2", "No run has been evaluated"), h("p", words), command(line, announce));
	}

	/** @param {boolean} anew whether run or split are others */
	async function load(anew) {
		if (!now.run) return;
		problem.hidden = true;
		const run = encodeURIComponent(now.run);
		try {
			if (anew) confusion = null; // what is given up half way is asked for again
			if (!confusion) {
				const query = { split: now.split };
				const found = await reading((signal) =>
					Promise.all([
						api.json(`runs/${run}/confusion`, { query: now.split ? query : {}, signal }),
						api.json(`runs/${run}/reliability`, { query: now.split ? query : {}, signal }),
					]),
				);
				if (!found) return;
				[confusion] = found;
				now.split = confusion.split;
				reliability.update(found[1]);
				drawHead();
			}
			for (const key of /** @type {("true" | "predicted")[]} */ (["true", "predicted"]))
				if (now[key] && !confusion.classes.includes(now[key])) now[key] = undefined;
			body.hidden = bar.hidden = false;
			drawMatrix();
			await page(false);
		} catch (error) {
			confusion = null;
			body.hidden = true;
			bar.hidden = problem.hidden = false;
			headline.textContent = "";
			drawSplits(["test", "validation"], now.split); // one of them may be sound
			problem.textContent = /** @type {Error} */ (error).message;
		}
	}

	function drawHead() {
		runChoice.value = now.run;
		drawSplits(confusion.splits, confusion.split);
		const { accuracy, n, errors } = confusion;
		replace(
			headline,
			h("b", share(accuracy.value)),
			` right (95 % interval ${range(accuracy)}), ${whole(errors)} mistakes in ${whole(n)} pictures`,
		);
		announce(headline.textContent ?? "");
	}

	/** @param {string[]} splits @param {string} chosen */
	function drawSplits(splits, chosen) {
		replace(
			splitChoice,
			splits.map((split) => h("option", { value: split }, `${split} split`)),
		);
		splitChoice.value = chosen || splits[0];
		splitChoice.disabled = splits.length < 2;
	}

	function drawMatrix() {
		if (!confusion) return;
		matrix.update({ classes: confusion.classes, matrix: confusion.matrix, shares: now.shares, chosen: now });
		/** @type {number[][]} */
		const counted = confusion.matrix;
		const wrong = counted
			.flatMap((counts, row) => counts.map((count, column) => ({ count, row, column })))
			.filter(({ count, row, column }) => count && row !== column);
		wrong.sort((a, b) => b.count - a.count);
		often.hidden = !wrong.length;
		replace(
			pairs,
			wrong.slice(0, PAIRS).map(({ count, row, column }) => {
				const [of, as] = [confusion.classes[row], confusion.classes[column]];
				const chosen = now.true === of && now.predicted === as;
				return h(
					"li",
					h(
						"button.pair",
						{ "aria-pressed": String(chosen), "aria-label": `${of} taken for ${as}: ${count}`, onclick: () => pick(of, as) },
						h("span", `${of} → ${as}`),
						h("b.number", count),
					),
				);
			}),
		);
	}

	/** A page of predictions. @param {boolean} add */
	async function page(add) {
		if (!confusion) return;
		due = true;
		const query = { split: confusion.split, true: now.true, predicted: now.predicted, sort: now.sort, offset: add ? rows : 0, limit: PAGE };
		const found = await paging((signal) => api.json(`runs/${encodeURIComponent(now.run)}/errors`, { query, signal }));
		if (!found) return;
		rows = query.offset + found.rows.length;
		sortChoice.value = now.sort;
		sortChoice.hidden = found.total < 2;
		all.hidden = !now.true && !now.predicted;
		title.textContent = heading(found.total);
		announce(title.textContent ?? "");
		note.hidden = !found.pictures_note;
		note.textContent = found.pictures_note ?? "";
		gallery.update(found.rows, add);
		more.hidden = rows >= found.total;
		clearTimeout(timers.pictures);
		due = found.pictures === "loading";
		if (due && visible) timers.pictures = setTimeout(() => void page(false).catch(context.fail), 1000);
	}

	/** @param {number} total */
	function heading(total) {
		const { true: of, predicted: as } = now;
		const pictures = `${whole(total)} picture${total === 1 ? "" : "s"}`;
		if (of && of === as) return `${of}, rightly named: ${pictures}`;
		if (of && as) return `${of} taken for ${as}: ${pictures}`;
		if (of) return `${of} taken for another class: ${pictures}`;
		if (as) return `Wrongly taken for ${as}: ${pictures}`;
		return total ? `Mistakes: ${pictures}` : "No mistakes at all";
	}

	return {
		element,
		/** @param {any} params */
		show(params) {
			const came = !visible;
			visible = true;
			const before = { ...now };
			const given = Object.fromEntries(Object.entries(params).map(([key, value]) => [key, [value].flat()[0]]));
			if (given.run)
				Object.assign(now, {
					run: given.run,
					split: given.split ?? (given.run === now.run ? now.split : ""),
					true: given.true,
					predicted: given.predicted,
					sort: given.sort in SORTS ? given.sort : "confident",
				});
			const other = before.run !== now.run || (now.split && before.split !== now.split);
			if (now.run && (other || !confusion || before.true !== now.true || before.predicted !== now.predicted || before.sort !== now.sort))
				void load(Boolean(other));
			else if (came && due) void page(false).catch(context.fail);
			else if (came) gallery.resume();
			if (came) list().catch((error) => ((waiting.textContent = error.message), context.fail(error)));
		},
		hide() {
			visible = false;
			clearTimeout(timers.list);
			clearTimeout(timers.pictures);
			gallery.pause();
			reading.cancel();
			paging.cancel();
		},
	};
}
