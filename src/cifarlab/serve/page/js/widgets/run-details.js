// @ts-check
/** Of the chosen runs: what they are, in which settings they differ, and the commands that repeat them. */

import { h, whole } from "../dom.js";
import { mark } from "./chart.js";
import { command } from "./command.js";
import { duration, range, share, stateChip } from "./runs-table.js";

/** A setting as it is written in a recipe. @param {any} value */
function written(value) {
	if (value === undefined) return "–";
	if (value === null) return "none";
	return typeof value === "string" ? value : JSON.stringify(value);
}

/** A setting's name, which may be broken after its dots. @param {string} key */
function named(key) {
	return h(
		"th",
		{ scope: "row", class: "mono" },
		key.split(/(?<=\.)/).map((part) => [part, h("wbr")]),
	);
}

/**
 * One line for each chosen run.
 * @param {{ run: any, color: number }[]} chosen @param {{ errors: (run: any) => void, drop: (run: any) => void }} given
 */
export function heads(chosen, { errors, drop }) {
	return h(
		"ul.run-heads",
		chosen.map(({ run, color }) => {
			const planned = run.epochs_planned && run.epochs_planned !== run.epochs ? ` of ${run.epochs_planned}` : "";
			const facts = [
				run.kind === "baseline" ? "baseline, no curve" : `${run.epochs}${planned} epoch${run.epochs === 1 && !planned ? "" : "s"}`,
				run.seconds === null ? null : duration(run.seconds),
				run.test
					? `test ${share(run.test.value)} (${range(run.test)})`
					: run.validation
						? `${run.validated_on === "test" ? "on test" : "validation"} ${share(run.validation.value)}`
						: null,
				run.parameters ? `${whole(run.parameters)} parameters` : null,
			];
			return h(
				"li",
				{ dataset: { run: run.name } },
				mark(color),
				h("b", run.title),
				stateChip(run),
				h("span.small.muted.number.facts", facts.filter(Boolean).join(" · ")),
				run.splits?.length ? h("button.link.small", { onclick: () => errors(run) }, "Errors") : null,
				h("button.icon", { "aria-label": `Hide ${run.title}`, onclick: () => drop(run) }, "×"),
				run.problems.length ? h("p.small.run-problem", run.problems.join("; ")) : null,
			);
		}),
	);
}

/** A table of settings: of one run against its named recipe, of several among each other. @param {{ run: any, color: number }[]} chosen */
export function differences(chosen) {
	const known = chosen.filter(({ run }) => run.values && Object.keys(run.values).length);
	if (!known.length) return null;
	if (known.length === 1) return ofOne(known[0].run);
	const all = [...new Set(known.flatMap(({ run }) => Object.keys(run.values)))];
	const sections = [...new Set(all.map((key) => key.split(".")[0]))];
	const keys = all.sort((a, b) => sections.indexOf(a.split(".")[0]) - sections.indexOf(b.split(".")[0]));
	const differing = keys.filter((key) => new Set(known.map(({ run }) => JSON.stringify(run.values[key]))).size > 1);
	const same = keys.length - differing.length;
	const head = h(
		"tr",
		h("th", { scope: "col" }, "Setting"),
		known.map(({ run, color }) => h("th", { scope: "col" }, mark(color), h("span", run.title))),
	);
	const rows = differing.map((key) =>
		h(
			"tr",
			named(key),
			known.map(({ run }) => h("td.mono", written(run.values[key]))),
		),
	);
	if (!differing.length) return h("p.muted", "Their settings are all the same.");
	return [
		scrolled("Settings that differ", h("table.settings", h("thead", head), h("tbody", rows))),
		h("p.small.muted", `${same} other settings are the same.`),
	];
}

/** @param {any} run */
function ofOne(run) {
	const all = h(
		"details",
		h("summary", `All ${Object.keys(run.values).length} settings`),
		scrolled(
			"All settings",
			h(
				"table.settings",
				h(
					"tbody",
					Object.entries(run.values).map(([key, value]) => h("tr", named(key), h("td.mono", written(value)))),
				),
			),
		),
	);
	if (!run.base) return all;
	if (!run.changed.length) return [h("p.muted", "Exactly the recipe ", h("b", run.base), "."), all];
	const head = h(
		"tr",
		["Setting", `Recipe ${run.base}`, "This run"].map((text) => h("th", { scope: "col" }, text)),
	);
	const rows = run.changed.map((/** @type {any} */ { key, base, value }) =>
		h("tr", named(key), h("td.mono.muted", written(base)), h("td.mono", written(value))),
	);
	return [scrolled("Settings that differ from the recipe", h("table.settings", h("thead", head), h("tbody", rows))), all];
}

/** @param {string} label @param {any} table */
function scrolled(label, table) {
	return h("div.scroll", { tabindex: "0", role: "region", "aria-label": label }, table);
}

/** @param {{ run: any, color: number }[]} chosen @param {(text: string) => void} announce */
export function commands(chosen, announce) {
	const titles = { repeat: "Train it again", resume: "Go on with it", evaluate: "Evaluate it on the test split" };
	return chosen.map(({ run, color }) => {
		const found = Object.entries(titles).filter(([key]) => run.commands?.[key]);
		return found.length
			? h(
					"div.run-commands",
					chosen.length > 1 ? h("h3", mark(color), run.title) : null,
					found.map(([key, title]) => [h("p.small.muted", title), command(run.commands[key], announce)]),
				)
			: null;
	});
}
