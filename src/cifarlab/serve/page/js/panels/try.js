// @ts-check
/** A picture, what the model sees of it, and what it says. */

import { h, percent, replace } from "../dom.js";
import { bars } from "../widgets/bars.js";
import { sight } from "../widgets/sight.js";
import { averaged } from "../widgets/states.js";
import { exampleRow, historyTiles } from "../widgets/tiles.js";
import { webcam } from "../widgets/webcam.js";

const UNLIKE =
	"Unlike the training data: the model's scores are weaker than for 95 % of the genuine pictures that it was checked with, so its answer may mean nothing. " +
	"About 1 in 20 genuine pictures is marked as well, and a picture without this mark may still show something that the model does not know.";

export default { id: "try", title: "Try", styles: ["try.css"], create };

/** @param {any} context */
function create(context) {
	const { store } = context;
	let active = false;
	const view = sight(context.fail);
	const answer = verdict(context);
	const camera = camcorder(context, view, answer);
	const examples = exampleRow(context, () => camera.stop());
	const recent = historyTiles((picture) => {
		camera.stop();
		context.reopen(picture);
	});
	const noExamples = h("p.small", { hidden: true }, "There are no examples: no pictures of this model's classes are at hand.");
	const waiting = h("div.drop-hint", { testid: "empty" }, h("p", "Drop a picture here, paste one, or choose one."), noExamples);
	const hint = h("p.muted.small", "or drop or paste one anywhere on this page");
	const choose = () => (camera.stop(), context.pick());
	const actions = h("div.actions", h("button.primary", { onclick: choose }, "Choose a picture"), camera.button, camera.keep, hint);
	const recentArea = h("section.row", { hidden: true }, h("h2.row-title", "Recent"), recent.element);
	const stage = h("div.stage", waiting, view.element, actions, examples.element, recentArea);
	const element = h("div.try", stage, answer.element);

	function draw() {
		const picture = store.get("picture");
		const model = store.chosen();
		waiting.hidden = Boolean(picture) || store.get("busy") || camera.running();
		view.element.hidden = !picture && !camera.running();
		element.classList.toggle("without-picture", !waiting.hidden);
		answer.element.hidden = !waiting.hidden && !store.get("problem");
		examples.update();
		noExamples.hidden = store.get("examples")?.length !== 0;
		if (camera.running()) return;
		if (picture && model) view.show(picture, model, store.get("busy"));
		answer.update(picture, store.get("prediction"));
		recent.update(store.get("history"), picture);
		recentArea.hidden = store.get("history").length < 2;
	}
	store.on(["picture", "prediction", "problem", "busy", "model", "history", "examples"], () => active && draw());
	// A picture that is dropped or pasted ends the webcam.
	store.on("picture", () => camera.stop());
	return {
		element,
		show() {
			active = true;
			draw();
		},
		hide() {
			active = false;
			camera.stop();
			// A refused file is told once; what keeps a picture without an answer, or the page without models, stays.
			if (store.get("prediction") || (!store.get("picture") && store.get("models").length)) store.set({ problem: null });
		},
	};
}

/** The right-hand side: the answer in words, its badges, and the bars. @param {any} context */
function verdict({ store, config, navigate, again }) {
	const label = h("strong.answer-label", { testid: "label" });
	const confidence = h("span.answer-confidence.number", { testid: "confidence" });
	const truth = h("span.truth", { hidden: true, testid: "truth" });
	const unlike = h("span.chip.warn", { hidden: true, testid: "unlike" }, "Unlike the training data");
	const why = h("p.callout", { hidden: true, testid: "unlike-why" }, UNLIKE);
	const hasWhy = config.panels.includes("why");
	const chart = bars({
		top: 5,
		...(hasWhy && { onpick: (target) => navigate("why", { target }), label: "Probabilities; choose a class to see why" }),
	});
	const hint = h("p.muted.small", { hidden: true }, "Choose a class to see where the model finds it.");
	const said = h("p.muted.small", { hidden: true, testid: "said" });
	const footnote = h("p.footnote.muted.small");
	const note = h("p.muted.small", { hidden: true });
	const reason = h("p");
	const retry = h("button.link", { hidden: true, onclick: again, testid: "again" }, "Try again");
	const problem = h("div.problem", { role: "alert", hidden: true, testid: "problem" }, reason, retry);
	const answer = h("div.answer", { testid: "answer" }, label, confidence, h("span.badges", truth, unlike));
	const body = h("div.verdict-body", answer, h("div.answer-bars", chart.element, hint), said, why, note, footnote);
	const element = h("section.verdict.card", { "aria-label": "What the model says", testid: "verdict" }, problem, body);

	/** @param {any} picture @param {any} prediction @param {boolean} [isLive] */
	function update(picture, prediction, isLive = false) {
		const model = store.chosen();
		reason.textContent = isLive ? "" : (store.get("problem") ?? "");
		problem.hidden = !reason.textContent;
		retry.hidden = !picture || Boolean(prediction); // a file that is no picture stays none
		element.setAttribute("aria-busy", String(store.get("busy")));
		body.classList.toggle("stale", store.get("busy") && !isLive);
		body.hidden = !prediction && !store.get("busy") && Boolean(store.get("problem"));
		if (!prediction) {
			if (!store.get("busy")) clear();
			return;
		}
		const [best] = prediction.predictions;
		label.textContent = best.label;
		confidence.textContent = percent(best.probability);
		unlike.hidden = why.hidden = !prediction.unlike;
		chart.update(prediction.predictions);
		hint.hidden = !hasWhy || !model?.explain || isLive;
		judge(picture, best.label, model?.classes ?? []);
		const { said: by } = picture ?? {};
		said.hidden = !by;
		said.textContent = by ? `From the run ${by.run}, which said ${by.label} with ${percent(by.probability)}.` : "";
		note.hidden = !picture?.note;
		note.textContent = picture?.note ?? "";
		const kind =
			model?.calibrated === false
				? "Not calibrated: a run's own confidence is often too high or too low; cifarlab export calibrates it"
				: "Confidence calibrated on validation images";
		replace(
			footnote,
			h("span", { testid: "latency" }, `Answered in ${Math.max(1, Math.round(prediction.ms))} ms`),
			` · ${averaged(model?.views)} · ${kind}`,
		);
	}

	function clear() {
		for (const part of [label, confidence, footnote]) part.textContent = "";
		for (const part of [truth, unlike, said, why, note, hint]) part.hidden = true;
		chart.update(null);
	}

	/**
	 * Whether the answer is right, where that is known and the model can say it.
	 * @param {any} picture @param {string} said @param {string[]} classes of the model
	 */
	function judge(picture, said, classes) {
		const isExample = picture?.origin === "example";
		const known = picture?.label ?? null;
		const sayable = classes.includes(known);
		truth.hidden = known === null && !isExample;
		truth.className = `truth chip ${!sayable ? "" : known === said ? "good" : "bad"}`;
		truth.textContent =
			known === null
				? "None of its classes"
				: !sayable
					? `It shows ${known}: the model has no such class`
					: known === said
						? "Right"
						: `Wrong: it shows ${known}`;
	}
	return { element, update };
}

/** The webcam's buttons and its live answers. @param {any} context @param {any} view @param {any} answer */
function camcorder(context, view, answer) {
	const { store, model } = context;
	const button = h("button", { testid: "webcam", onclick: () => (camera.running() ? camera.stop() : begin()) }, "Webcam");
	const keep = h("button", { hidden: true, testid: "webcam-keep", onclick: take }, "Keep this picture");
	let asking = new AbortController();
	let isOn = false;
	const camera = webcam({
		async frame(video, pixels) {
			const prediction = await model.predict(new ImageData(pixels.data, pixels.width, pixels.height), {
				model: store.get("model"),
				signal: asking.signal,
			});
			if (!isOn) return;
			view.element.hidden = false;
			view.live(video, pixels, store.chosen());
			answer.update(null, prediction, true);
		},
		ended(error) {
			isOn = false;
			asking.abort();
			button.textContent = "Webcam";
			keep.hidden = true;
			if (error) context.fail(error);
			redraw();
		},
	});

	function begin() {
		isOn = true;
		asking = new AbortController();
		button.textContent = "Stop";
		keep.hidden = false;
		camera.start(() => store.chosen());
	}
	async function take() {
		if (!camera.running()) return;
		const blob = await camera.snapshot();
		camera.stop();
		await context.open(blob, { name: "webcam", origin: "webcam" });
	}
	/** Back to the present picture. */
	function redraw() {
		const picture = store.get("picture");
		if (picture && store.chosen()) view.show(picture, store.chosen());
		answer.update(picture, store.get("prediction"));
	}
	return { button, keep, stop: () => isOn && camera.stop(), running: () => isOn };
}
