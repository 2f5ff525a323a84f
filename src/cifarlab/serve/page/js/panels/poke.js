// @ts-check
/** Move, turn, blur and light the picture by hand, and watch the probabilities move with it. */

import { h, replace } from "../dom.js";
import { latest, oneAtATime } from "../latest.js";
import { isNeutral, poke, throughJpeg } from "../operations.js";
import { fit, keptPart, scaleBitmap } from "../resize.js";
import { findWeakSpot } from "../weak_spot.js";
import { pokeStage } from "../widgets/poke_stage.js";
import { slider } from "../widgets/sliders.js";
import { complaint, noPicture } from "../widgets/states.js";
import { exampleRow } from "../widgets/tiles.js";

/** @typedef {import("../widgets/sliders.js").Spec} Spec */
/** @typedef {Record<string, number>} Values */

const DETAIL = 6; // times the model's input is what is worked on, where the picture has so much,
const LEAST_SIDE = 96; // but at least and at most so many pixels
const MOST_SIDE = 224;
const SETTLED = 400; // ms after the last change until the address and screen readers are told

/** @param {number} value @param {string} unit */
const signed = (value, unit) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value)}${unit}`;
/** @param {number} value */
const share = (value) => `${value} %`;

/** The sliders for a model whose input has `size` pixels a side. @param {number} size @returns {Record<string, Spec[]>} */
function groups(size) {
	const reach = Math.max(1, Math.round(0.375 * size));
	const pixels = (/** @type {number} */ value) => signed(value, " px");
	return {
		Geometry: [
			{ name: "x", label: "Shift sideways", min: -reach, max: reach, step: 1, neutral: 0, format: pixels },
			{ name: "y", label: "Shift down", min: -reach, max: reach, step: 1, neutral: 0, format: pixels },
			{ name: "rotate", label: "Rotate", min: -180, max: 180, step: 1, neutral: 0, format: (value) => signed(value, "°") },
			{ name: "scale", label: "Scale", min: 50, max: 200, step: 1, neutral: 100, format: share },
		],
		Light: [
			{ name: "brightness", label: "Brightness", min: 10, max: 250, step: 1, neutral: 100, format: share },
			{ name: "contrast", label: "Contrast", min: 0, max: 250, step: 1, neutral: 100, format: share },
		],
		Detail: [
			{ name: "blur", label: "Blur", min: 0, max: size / 8, step: size / 320, neutral: 0, format: (value) => `${value.toFixed(1)} px` },
			{
				name: "quality",
				label: "JPEG quality",
				min: 1,
				max: 100,
				step: 1,
				neutral: 100,
				format: (value) => (value === 100 ? "off" : String(value)),
			},
		],
	};
}
const NAMES = Object.values(groups(1)).flat().map(({ name }) => name); // prettier-ignore

/** Slider values as operations.js takes them. @param {Values} values @param {number} size */
function settingsOf({ x, y, rotate, scale, brightness, contrast, blur, quality }, size) {
	return {
		x: x / size,
		y: y / size,
		rotate,
		scale: scale / 100,
		brightness: brightness / 100,
		contrast: contrast / 100,
		blur: blur / size,
		quality,
	};
}

/**
 * @param {import("../resize.js").Pixels} pixels
 * @param {import("../operations.js").Settings} settings bytes: of the JPEG, null without one
 */
async function changedPixels(pixels, settings) {
	const changed = poke(pixels, settings);
	return settings.quality < 100 ? throughJpeg(changed, settings.quality) : { pixels: changed, bytes: null };
}

/** All sliders of a model. @param {number} size @param {() => void} changed */
function board(size, changed) {
	const element = h("div.poke-sliders");
	/** @type {Record<string, { spec: Spec, get(): number, set(value: number): void }>} */
	const sliders = {};
	for (const [title, specs] of Object.entries(groups(size))) {
		const made = specs.map((spec) => ({ spec, ...slider(spec, changed) }));
		for (const one of made) sliders[one.spec.name] = one;
		element.append(h("fieldset", h("legend", title), made.map((one) => one.element))); // prettier-ignore
	}
	return {
		element,
		size,
		specs: Object.values(sliders).map(({ spec }) => spec),
		/** @returns {Values} */
		values: () => Object.fromEntries(Object.entries(sliders).map(([name, { get }]) => [name, get()])),
		/** Those that are given; with `rest` true the others become neutral. @param {Values} given @param {boolean} [rest] */
		set(given, rest = false) {
			for (const [name, { spec, set }] of Object.entries(sliders)) if (name in given || rest) set(given[name] ?? spec.neutral);
		},
		/** What is not neutral. @returns {Values} */
		moved: () => Object.fromEntries(Object.entries(sliders).filter(([, { spec, get }]) => get() !== spec.neutral).map(([name, { get }]) => [name, Number(get().toFixed(3))])), // prettier-ignore
		/** Every slider off by up to a third of its way, at random. */
		shake() {
			for (const { spec, set } of Object.values(sliders)) {
				const way = (Math.random() < 0.5 ? spec.min : spec.max) - spec.neutral;
				set(spec.neutral + 0.35 * Math.random() * way);
			}
		},
	};
}

export default { id: "poke", title: "Poke", styles: ["poke.css"], create };

/** @param {any} context */
function create(context) {
	const { store, model } = context;
	/** @type {ReturnType<typeof board> | null} */
	let controls = null;
	let active = false;
	/** From the address, until the sliders are there. @type {Values | null} */
	let wanted = null;
	/** The picture that the operations begin with. @type {{ key: string, pixels: any } | null} */
	let source = null;
	/** @type {any} */
	let answer = null;
	let settling = 0;

	const stage = pokeStage({
		drag: (to) => take(to),
		position: () => /** @type {any} */ (controls?.values() ?? { x: 0, y: 0 }),
		size: () => controls?.size ?? 1,
	});
	const { element: problem, tell } = complaint("poke-problem");
	const examples = exampleRow(context);
	const area = h("div");
	const found = h("p.poke-found", { testid: "poke-found" });
	const search = h("button", { onclick: () => (searching ? stop() : void look()), testid: "poke-search" }, "Find a weak spot");
	const buttons = h(
		"div.poke-buttons",
		h("button", { onclick: () => take({}, true), testid: "poke-reset" }, "Reset"),
		h("button", { onclick: () => (controls?.shake(), changed(true)), testid: "poke-shake" }, "Surprise me"),
		search,
	);
	const hint = h(
		"p.small.muted",
		"Drag the picture to shift it. A double click or Backspace puts a slider back. Outside the picture lies its mirror image.",
	);
	const work = h(
		"div.poke",
		{ hidden: true },
		h("div.poke-stage", stage.picture, stage.answer),
		h("div.poke-chart", h("h2", "Now, and before"), stage.bars, problem),
		h("div.poke-controls", area, buttons, found, hint),
	);
	const empty = h("div.empty");

	const searched = latest();
	let searching = false;
	const ask = oneAtATime(classify, tell);
	const render = oneAtATime(draw, tell);

	/** @param {Values} given @param {boolean} [rest] */
	function take(given, rest) {
		controls?.set(given, rest);
		changed(true);
	}

	/** @param {boolean} [byHand] and not because there is something new to show */
	function changed(byHand) {
		if (!active || !controls) return;
		if (byHand) stop();
		void render(controls.values());
		clearTimeout(settling);
		settling = setTimeout(settled, SETTLED);
	}

	function settled() {
		if (!active || !controls) return;
		const moved = controls.moved();
		context.remember(moved);
		if (answer && Object.keys(moved).length)
			context.announce(`${answer.label}, ${Math.round(100 * answer.predictions[0].probability)} percent`);
	}

	/** The picture, the model or its answer changed, or the panel came into view. */
	function refresh() {
		if (!active) return;
		const picture = store.get("picture");
		const chosen = store.chosen();
		work.hidden = !picture || !chosen;
		empty.hidden = !work.hidden || store.get("busy");
		tell(store.get("problem") && new Error(store.get("problem")));
		examples.element.hidden = work.hidden;
		if (!picture || !chosen) return replace(empty, noPicture(context));
		examples.update();
		if (controls?.size !== chosen.size) {
			const before = controls?.moved() ?? {};
			controls = board(chosen.size, () => changed(true));
			controls.set(before);
			replace(area, controls.element);
		}
		if (wanted) controls.set(wanted, true);
		wanted = null;
		const key = `${picture.id} ${chosen.name}`;
		if (source?.key !== key) {
			stop();
			const { bitmap } = picture;
			const part = keptPart(bitmap.width, bitmap.height, chosen.resize);
			const most = Math.max(chosen.size, Math.min(MOST_SIDE, Math.max(LEAST_SIDE, DETAIL * chosen.size)));
			const side = Math.min(Math.max(part.width, part.height), most); // square, as the model sees it, whatever the rule
			source = { key, pixels: scaleBitmap(bitmap, part, side, side) };
			stage.original(source.pixels);
		}
		if (!store.get("prediction")) answered(null);
		changed();
	}

	/** The smallest change of one slider that makes the answer another. */
	async function look() {
		const now = source;
		const first = store.get("prediction")?.label;
		if (!now || !controls || !first) return;
		take({}, true);
		const { specs, size } = controls;
		const neutral = controls.values();
		searching = true;
		search.textContent = "Stop";
		/** @param {AbortSignal} signal @returns {(name: string, value: number) => Promise<string>} */
		const labels = (signal) => async (name, value) => {
			const { pixels } = await changedPixels(now.pixels, settingsOf({ ...neutral, [name]: value }, size));
			return (await model.predict(new ImageData(pixels.data, pixels.width, pixels.height), { model: store.get("model"), signal })).label;
		};
		const progress = (/** @type {number} */ part) => (found.textContent = `Looking… ${Math.round(100 * part)} %`);
		try {
			const spot = await searched((signal) => findWeakSpot({ specs, first, ask: labels(signal), progress, signal }));
			if (spot === undefined) return; // stopped
			stop();
			if (spot) take({ [spot.spec.name]: spot.value });
			const text = spot
				? `${spot.spec.label} ${spot.spec.format(spot.value)} is enough: ${spot.label} instead of ${first}.`
				: `No slider alone makes it anything but ${first}.`;
			found.textContent = text;
			context.announce(text);
		} catch (error) {
			stop();
			tell(error);
		}
	}

	function stop() {
		searched.cancel();
		searching = false;
		search.textContent = "Find a weak spot";
		found.textContent = "";
	}

	/** @param {Values} values */
	async function draw(values) {
		const now = source;
		if (!now || !controls || !active) return;
		const settings = settingsOf(values, controls.size);
		const { pixels, bytes } = await changedPixels(now.pixels, settings);
		if (now !== source) return;
		stage.poked(pixels, { seen: fit(pixels, { size: controls.size }), model: store.chosen(), bytes });
		if (isNeutral(settings)) answered(store.get("prediction"));
		else void ask({ pixels, now });
		await new Promise((done) => requestAnimationFrame(done)); // at most one picture a frame
	}

	/** @param {{ pixels: any, now: any }} given */
	async function classify({ pixels, now }) {
		const relevant = () => now === source && active && controls && Object.keys(controls.moved()).length > 0;
		if (!relevant()) return;
		const found = await model.predict(new ImageData(pixels.data, pixels.width, pixels.height), { model: store.get("model") });
		if (relevant()) answered(found); // else the sliders went back, to where the first answer holds
	}

	/** @param {any} found */
	function answered(found) {
		answer = found;
		if (found) tell(null);
		stage.answered(found, store.get("prediction"));
	}

	store.on(["picture", "model", "models", "examples", "prediction", "problem", "busy"], refresh);
	return {
		element: h("div", work, examples.element, empty),
		/** @param {Record<string, string>} params */
		show(params) {
			active = true;
			const given = Object.entries(params).filter(([name, value]) => NAMES.includes(name) && Number.isFinite(Number(value)));
			if (given.length) wanted = Object.fromEntries(given.map(([name, value]) => [name, Number(value)]));
			refresh();
		},
		hide() {
			active = false;
			clearTimeout(settling);
			stop();
		},
	};
}
