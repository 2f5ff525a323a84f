// @ts-check
/** Why a class: where the network sees it (Grad-CAM), what hiding a part changes (occlusion), and a brush to hide parts by hand. */

import { h, percent, replace } from "../dom.js";
import { createExplainer, short } from "../explaining.js";
import { fitted } from "../fitted.js";
import { latest, oneAtATime } from "../latest.js";
import { bars } from "../widgets/bars.js";
import { brush } from "../widgets/brush.js";
import { drawMap, legend } from "../widgets/heat.js";
import { averaged, complaint, noPicture } from "../widgets/states.js";
import { exampleRow } from "../widgets/tiles.js";

const MAPS = { gradcam: "Grad-CAM", occlusion: "Occlusion", none: "No map" };
/** @typedef {keyof typeof MAPS} Kind */

export default { id: "why", title: "Why", styles: ["explain.css", "why.css"], create };

/** @param {any} context */
function create(context) {
	const { store, model, announce } = context;
	const explainer = createExplainer(context.api);
	const asking = latest();
	let active = false;
	/**
	 * What is chosen; target null: whatever class is the most probable.
	 * @type {{ kind: Kind, target: string | null, layer: string | null }}
	 */
	const now = { kind: "gradcam", target: null, layer: null };
	let source = ""; // picture and model that the brush holds
	/** The class that the address names. @type {string | null} */
	let wanted = null;
	/** Of the painted picture. @type {any} */
	let answer = null;
	/** The question whose map is shown or under way. @type {any[]} */
	let asked = [];

	const stage = brush({ changed: painted, moved: (row, column) => announce(`Row ${row}, column ${column}`) });
	const radios = Object.entries(MAPS).map(([kind, text]) => {
		const input = h("input", {
			type: "radio",
			name: "why-kind",
			value: kind,
			checked: kind === now.kind,
			onchange: () => go({ kind: /** @type {Kind} */ (kind) }),
			testid: `why-${kind}`,
		});
		return h("label.segment", input, h("span", text));
	});
	const kinds = h("fieldset.segments", h("legend.unseen", "Map over the picture"), radios);
	const opacity = h("input", { type: "range", id: "why-opacity", min: 0, max: 100, value: 55, testid: "why-opacity", oninput: fade });
	const layerChoice = h("select", { id: "why-layer", testid: "why-layer", onchange: () => go({ layer: layerChoice.value }) });
	const layerField = h("div.field", h("label", { for: "why-layer" }, "Layer"), layerChoice);
	const opacityField = h("div.field", h("label", { for: "why-opacity" }, "Opacity"), opacity);
	const key = legend();
	const said = h("p.why-said", { role: "status", testid: "why-said" });
	const width = h("input", {
		type: "range",
		id: "why-width",
		min: 1,
		max: 16,
		value: 6,
		testid: "why-width",
		oninput: () => stage.shape(Number(width.value)),
	});
	// Where fingers scroll, the brush must be asked for.
	const on = h("input", {
		type: "checkbox",
		checked: matchMedia("(hover: hover)").matches,
		onchange: () => stage.ready(on.checked),
		testid: "why-on",
	});
	const undo = h("button", { disabled: true, onclick: stage.undo, testid: "why-undo" }, "Undo");
	const clear = h("button", { disabled: true, onclick: stage.clear, testid: "why-clear" }, "Clear");
	const hint = h(
		"p.small.muted",
		{ id: "why-keys" },
		"Paint on the picture, and the bars follow. What is painted takes the mean colour of the training images. With keys, once the picture has the focus: arrows move the brush, Space paints, Shift with an arrow paints on, Backspace undoes.",
	);
	const chart = bars({
		top: matchMedia("(max-width: 800px)").matches ? 5 : 10,
		onpick: (label) => go({ target: label }),
		label: "Probabilities; choose a class to explain",
	});
	const change = h("p.why-change", { testid: "why-change" });
	const views = h("p.small.muted", { testid: "why-views" });
	const { element: problem, tell } = complaint("why-problem");
	const examples = exampleRow(context);
	const tools = h("div.why-brush-tools", h("div.field", h("label", { for: "why-width" }, "Brush size"), width), undo, clear);
	const work = h(
		"div.why",
		{ hidden: true },
		h(
			"section.why-left",
			{ "aria-label": "Picture and map" },
			kinds,
			stage.element,
			key.element,
			h("div.why-fields", opacityField, layerField),
			examples.element,
		),
		h(
			"section.why-right",
			{ "aria-label": "Classes" },
			said,
			h("div.why-which", h("h2", "Which class?"), h("p.small.muted", "Choose one, and the map shows it.")),
			chart.element,
			change,
			problem,
			h("div.card.why-hide", h("div.why-hide-head", h("h2", "Hide parts of it"), h("label.why-on", on, "Brush")), tools, hint),
			views,
		),
	);
	const empty = h("div.empty", { testid: "why-empty" });
	const predict = oneAtATime(predicted, tell);
	stage.ready(on.checked);

	/** @param {Partial<typeof now>} changes */
	function go(changes) {
		Object.assign(now, changes);
		remember();
		show();
		void explain();
	}

	function remember() {
		context.remember({ target: now.target, map: now.kind === "gradcam" ? null : now.kind, layer: now.layer });
	}

	function fade() {
		stage.map.style.setProperty("opacity", String(Number(opacity.value) / 100));
	}

	/** The picture, the model or its answer changed, or the panel came into view. */
	async function refresh() {
		if (!active) return;
		const picture = store.get("picture");
		const chosen = store.chosen();
		const possible = picture && chosen?.explain;
		work.hidden = !possible;
		empty.hidden = Boolean(possible) || store.get("busy");
		if (!possible) return nothing(chosen);
		examples.update();
		const fresh = `${picture.id} ${chosen.name}`;
		if (source !== fresh) {
			if (source && !source.endsWith(` ${chosen.name}`)) now.layer = null; // another network has other layers
			if (!source.startsWith(`${picture.id} `)) now.target = wanted; // a new picture begins with its own answer
			if (now.target !== null && !chosen.classes.includes(now.target)) now.target = null;
			[source, answer, wanted] = [fresh, null, null];
			remember();
			stage.start(null);
			stage.map.hidden = true;
			said.textContent = "";
			tell(null);
			try {
				const seen = await fitted(picture, chosen);
				if (source !== fresh) return;
				stage.start(seen);
				await prepare(chosen.name);
				if (source !== fresh) return;
			} catch (error) {
				source = ""; // the next change asks again
				return tell(error);
			}
			width.max = String(Math.max(2, Math.round(chosen.size / 2)));
			width.value = String(Math.max(1, Math.round(chosen.size / 5)));
			stage.shape(Number(width.value));
		}
		show();
		if (store.get("prediction")) await explain();
	}

	/** @param {any} chosen */
	function nothing(chosen) {
		if (chosen && !chosen.explain)
			return replace(
				empty,
				h("h2", "This model cannot be explained"),
				h("p", "Its PyTorch weights are not at hand: serve the bundle or run itself."),
			);
		replace(empty, noPicture(context));
	}

	/** Layers to choose from and the colour that hides. @param {string} name */
	async function prepare(name) {
		const described = await explainer.layers(name);
		if (store.get("model") !== name) return;
		const drawn = described.layers.filter((/** @type {any} */ layer) => layer.has_map);
		replace(
			layerChoice,
			drawn.map((/** @type {any} */ layer) =>
				h(
					"option",
					{ value: layer.name },
					`${layer.name}, ${layer.shape[0]}×${layer.shape[1]}${layer.name === described.default_layer ? " (last)" : ""}`,
				),
			),
		);
		if (!drawn.some((/** @type {any} */ layer) => layer.name === now.layer)) now.layer = null;
		layerChoice.value = now.layer ?? described.default_layer ?? "";
		stage.shape(Number(width.value), described.fill);
	}

	/** The class that is explained. @returns {string | null} */
	const target = () => now.target ?? (answer ?? store.get("prediction"))?.predictions[0].label ?? null;

	function show() {
		const first = store.get("prediction");
		const shown = answer ?? first;
		chart.update(shown?.predictions ?? null);
		chart.pick(target());
		undo.disabled = !stage.undoable();
		clear.disabled = !stage.painted();
		layerField.hidden = now.kind !== "gradcam";
		opacityField.hidden = key.element.hidden = now.kind === "none";
		for (const input of kinds.querySelectorAll("input")) input.checked = input.value === now.kind;
		const of = (/** @type {any} */ given) => given?.predictions.find((/** @type {any} */ one) => one.label === target())?.probability ?? 0;
		change.hidden = !answer || !first;
		if (answer && first)
			replace(
				change,
				h("strong", target() ?? ""),
				` ${percent(of(answer))} with what is painted, `,
				h("span.muted", `${percent(of(first))} without`),
			);
		const { views: rule } = store.chosen();
		views.textContent =
			rule === "none"
				? "Maps and probabilities are both of the plain picture, one view."
				: `Maps are of the plain picture, one view; the bars are of ${averaged(rule)}, so the two can differ a little.`;
	}

	/** @param {boolean} settled */
	function painted(settled) {
		undo.disabled = !stage.undoable();
		clear.disabled = !stage.painted();
		void predict(settled);
	}

	/** @param {boolean} settled the stroke is over */
	async function predicted(settled) {
		const pixels = stage.pixels();
		const before = source;
		if (!pixels || !active) return;
		if (!stage.painted()) answer = null;
		else {
			const found = await model.predict(new ImageData(/** @type {any} */ (pixels.data), pixels.width, pixels.height), {
				model: store.get("model"),
			});
			if (before !== source) return;
			answer = stage.painted() ? found : null;
		}
		tell(null);
		show();
		if (!settled) return;
		const shown = answer ?? store.get("prediction");
		if (shown) announce(`${shown.predictions[0].label}, ${Math.round(100 * shown.predictions[0].probability)} percent`);
		await explain();
	}

	async function explain() {
		const pixels = stage.pixels();
		const name = target();
		if (!pixels || name === null || !active) return;
		const question = [pixels, store.get("model"), name, now.kind, now.layer];
		if (question.every((part, index) => part === asked[index])) return;
		asked = question;
		work.classList.toggle("waiting", now.kind !== "none");
		if (now.kind === "none") {
			asking.cancel();
			stage.map.hidden = true;
			said.textContent = "The picture as the model sees it.";
			return;
		}
		try {
			const query = { kind: now.kind, model: store.get("model"), target: name, layer: now.kind === "gradcam" ? now.layer : null };
			const found = await asking((signal) => explainer.ask(pixels, query, signal));
			if (!found) return; // a newer question is under way
			map(found);
		} catch (error) {
			asked = [];
			stage.map.hidden = true;
			tell(error);
		}
		work.classList.remove("waiting");
	}

	/** @param {any} found */
	function map(found) {
		tell(null);
		const { label, probability } = found.target;
		const side = found.over_picture.length;
		const isGradcam = found.kind === "gradcam";
		const values = found.over_picture.flat();
		const most = isGradcam ? found.highest : Math.max(...values.map(Math.abs));
		stage.map.hidden = most === 0;
		stage.map.dataset.target = label;
		drawMap(stage.map, values, {
			width: side,
			height: side,
			low: isGradcam ? 0 : -most,
			high: most,
			scale: isGradcam ? "viridis" : "coolwarm",
		});
		fade();
		if (isGradcam) {
			said.textContent =
				most === 0
					? `Nothing in ${found.layer} speaks for ${label}: the map is empty. Another layer may show more.`
					: `Where ${found.layer} (${found.shape.join("×")} positions) finds evidence for ${label}, which has ${percent(probability)} on this one view.`;
			key.update({
				ends: most === 0 ? ["0"] : ["0", short(most / 2), short(most)],
				text: "The brighter, the more a place speaks for the class, in units of its logit (the score before softmax). Each map has its own scale.",
			});
		} else {
			said.textContent =
				most === 0
					? `No patch changes ${label}.`
					: `How ${label} (${percent(probability)} on this one view) changes when a gray patch of ${found.patch}×${found.patch} pixels hides a place.`;
			const points = (/** @type {number} */ value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${short(100 * Math.abs(value))}`;
			key.update({
				scale: "coolwarm",
				ends: [points(most), "0", points(-most)],
				text: "Percentage points, on average over the patches that hide a pixel. Red: hiding it costs the class, so the class needs it. Blue: hiding it helps.",
			});
		}
	}

	store.on(["picture", "model", "models", "examples", "prediction", "busy", "problem", "online"], () => void refresh());
	return {
		element: h("div", work, empty),
		/** @param {Record<string, string>} params */
		show({ target: named, layer, map: kind }) {
			active = true;
			if (named) now.target = wanted = named;
			if (layer) now.layer = layer;
			if (kind in MAPS) now.kind = /** @type {Kind} */ (kind);
			void refresh();
		},
		hide() {
			active = false;
			if (work.classList.contains("waiting")) asked = []; // it is asked anew
			asking.cancel();
		},
	};
}
