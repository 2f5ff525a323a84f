// @ts-check
/** Two models on one picture. */

import { h, percent, replace } from "../dom.js";
import { drawPixels, fitted } from "../fitted.js";
import { latest } from "../latest.js";
import { command } from "../widgets/command.js";
import { complaint, noPicture } from "../widgets/states.js";
import { exampleRow } from "../widgets/tiles.js";

const SHOWN = 8; // classes, of each model's most probable

/** @typedef {{ label: string, predictions: { label: string, probability: number }[], unlike: boolean | null, ms: number }} Answer */

export default { id: "compare", title: "Compare", styles: ["compare.css"], create };

/** @param {any} context */
function create(context) {
	const { store, announce } = context;
	const element = h("div.compare");
	const sides = ["a", "b"].map((key) => side(key, chosen));
	const verdict = h("p.agreement", { testid: "agreement" });
	const table = differences();
	const examples = exampleRow(context);
	const card = h("section.card.differences", verdict, table.element);
	const body = h(
		"div.compare-body",
		h(
			"div.sides",
			sides.map((one) => one.element),
		),
		card,
		examples.element,
	);
	const { element: problem, tell } = complaint("compare-problem");
	const asking = latest();
	let isShown = false;
	/** @type {Record<string, string>} */
	let names = {};

	/** @param {string} key @param {string} name */
	function chosen(key, name) {
		names = { ...names, [key]: name };
		context.remember(names);
		void ask();
	}

	async function ask() {
		if (!isShown) return;
		const models = store.get("models");
		if (models.length < 2) return replace(element, models.length ? onlyOne(models[0], announce) : nothing(store));
		const picture = store.get("picture");
		if (!picture) return replace(element, h("div.empty", noPicture(context)));
		if (!element.contains(body)) replace(element, problem, body);
		examples.update();
		const both = [names.a, names.b].map((name) => models.find((/** @type {any} */ one) => one.name === name));
		sides.forEach((one, index) => one.show(picture, both[index], models, context.fail));
		body.setAttribute("aria-busy", "true");
		tell(null);
		try {
			const answers = await asking((signal) => Promise.all(both.map((model) => answerOf(model, picture, signal))));
			if (!answers) return;
			sides.forEach((one, index) => one.answer(answers[index]));
			verdict.textContent = agreement(both, answers);
			table.update(both, answers);
			announce(verdict.textContent);
		} catch (error) {
			tell(error);
			sides.forEach((one) => one.answer(null)); // those of the picture before are not of this one
		}
		card.hidden = !problem.hidden;
		body.removeAttribute("aria-busy");
	}

	/** @param {any} model @param {any} picture @param {AbortSignal} signal @returns {Promise<Answer>} */
	function answerOf(model, picture, signal) {
		const known = store.get("prediction");
		if (known?.picture === picture && known.model === model.name) return Promise.resolve(known);
		return context.model.predict(picture.blob, { model: model.name, signal });
	}

	store.on(["picture", "models", "online"], ask);
	store.on("examples", examples.update);
	return {
		element,
		/** @param {any} params */
		show(params) {
			isShown = true;
			const known = store.get("models").map((/** @type {any} */ one) => one.name);
			const pick = (/** @type {string | undefined} */ wanted, /** @type {string} */ other) =>
				known.includes(wanted) ? wanted : known.find((/** @type {string} */ name) => name !== other);
			const a = pick(params.a ?? names.a ?? store.get("model"), "");
			names = { a, b: pick(params.b ?? names.b, a) };
			void ask();
		},
		hide() {
			isShown = false;
			asking.cancel();
		},
	};
}

/** One model: its choice, what it sees and what it says. @param {string} key @param {(key: string, name: string) => void} chosen */
function side(key, chosen) {
	const select = h("select", {
		"aria-label": key === "a" ? "First model" : "Second model",
		testid: `compare-${key}`,
		onchange: () => chosen(key, select.value),
	});
	const canvas = h("canvas.fitted", { width: 32, height: 32, role: "img" });
	const label = h("strong", { testid: `compare-label-${key}` });
	const confidence = h("span.number.muted");
	const badge = h("span.chip.warn", { hidden: true }, "Unlike the training data");
	const facts = h("p.muted.small");
	const words = h("div.side-words", select, h("p.side-answer", label, confidence), badge, facts);
	const element = h("section", { class: `card side side-${key}` }, h("div.frame", canvas), words);
	return {
		element,
		/** @param {any} picture @param {any} model @param {any[]} models @param {(error: unknown) => void} fail */
		show(picture, model, models, fail) {
			replace(
				select,
				models.map(({ name }) => h("option", { value: name }, name)),
			);
			select.value = model.name;
			canvas.setAttribute("aria-label", `What ${model.name} sees: ${model.size} by ${model.size} pixels`);
			facts.textContent = [
				`${model.size} × ${model.size}`,
				`${model.classes.length} classes`,
				model.accuracy ? `${percent(model.accuracy.value)} on its test split` : null,
				model.calibrated === false ? "not calibrated" : null,
			]
				.filter(Boolean)
				.join(" · ");
			fitted(picture, model).then((pixels) => drawPixels(canvas, pixels, model), fail);
		},
		/** @param {Answer | null} given */
		answer(given) {
			label.textContent = given?.label ?? "";
			confidence.textContent = given ? percent(given.predictions[0].probability) : "";
			badge.hidden = !given?.unlike;
		},
	};
}

/** The table of classes with both models' probabilities and their difference. */
function differences() {
	let all = false;
	let redraw = () => {};
	const rows = h("tbody");
	const heads = h("tr");
	const caption = h("caption.unseen", "Probabilities of both models by class");
	const table = h("table.compared", { testid: "compare-table" }, caption, h("thead", heads), rows);
	const more = h("button.link", { hidden: true, onclick: () => ((all = !all), redraw()) });

	/** @param {any[]} models @param {Answer[]} answers */
	function update(models, answers) {
		redraw = () => update(models, answers);
		const shares = answers.map(({ predictions }) => new Map(predictions.map(({ label, probability }) => [label, probability])));
		const labels = [...new Set([...shares[0].keys(), ...shares[1].keys()])];
		const largest = (/** @type {string} */ label) => Math.max(shares[0].get(label) ?? 0, shares[1].get(label) ?? 0);
		labels.sort((one, other) => largest(other) - largest(one));
		const heading = (/** @type {any} */ model, /** @type {string} */ key) =>
			h("th", { scope: "col", class: `of-${key}` }, h("i.key", { "aria-hidden": "true" }), model.name);
		replace(
			heads,
			h("th", { scope: "col" }, "Class"),
			heading(models[0], "a"),
			heading(models[1], "b"),
			h("th", { scope: "col", class: "difference", title: "Second minus first, in percentage points" }, "Difference, points"),
		);
		replace(
			rows,
			labels.slice(0, all ? labels.length : SHOWN).map((label) =>
				row(
					label,
					shares.map((each) => each.get(label)),
				),
			),
		);
		more.hidden = labels.length <= SHOWN;
		more.textContent = all ? `Show the first ${SHOWN}` : `Show all ${labels.length} classes`;
	}
	return { element: h("div", table, more), update };
}

/** @param {string} label @param {(number | undefined)[]} pair undefined where a model does not have the class */
function row(label, [a, b]) {
	/** @param {number | undefined} share @param {string} key */
	const cell = (share, key) =>
		share === undefined
			? h("td.muted", "no such class")
			: h(
					"td",
					h(
						"span",
						{ class: `share of-${key}`, style: { "--share": share } },
						h("span.bar-track", { "aria-hidden": "true" }, h("i")),
						h("span.number", percent(share)),
					),
				);
	const both = a !== undefined && b !== undefined;
	const points = both ? 100 * (b - a) : 0;
	const isLarge = Math.abs(points) >= 5;
	const text = !both ? "" : Math.abs(points) < 0.05 ? "0" : `${points > 0 ? "+" : "−"}${Math.abs(points).toFixed(1)}`;
	return h(
		"tr",
		h("th", { scope: "row", title: label }, label),
		cell(a, "a"),
		cell(b, "b"),
		h("td", { class: `difference number${isLarge ? " large" : ""}` }, text),
	);
}

/** @param {any[]} models @param {Answer[]} answers */
function agreement(models, answers) {
	const [first, second] = answers.map((answer) => answer.label);
	const [sure, other] = answers.map((answer) => percent(answer.predictions[0].probability));
	if (first === second) return `Both say ${first}: ${sure} and ${other}.`;
	return `They disagree: ${models[0].name} says ${first} (${sure}), ${models[1].name} says ${second} (${other}).`;
}

/** @param {any} model @param {(text: string) => void} announce */
function onlyOne(model, announce) {
	const text = `cifarlab serve ${model.name} runs/NAME`;
	return h(
		"div.empty",
		{ testid: "compare-empty" },
		h("h2", "One model is served"),
		h(
			"p",
			"With two, this page puts their answers to the same picture side by side. Name both when you start the server: bundles, runs, or shipped models by name.",
		),
		command(text, announce),
	);
}

/** @param {any} store */
function nothing(store) {
	return h("div.empty", h("p", store.get("problem") ? "The models could not be listed." : "Loading…"));
}
