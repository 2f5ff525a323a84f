// @ts-check
/** Inside the network: its layers one after the other, the channels of each, and what part of the picture a position sees. */

import { h, replace, whole } from "../dom.js";
import { createExplainer, short } from "../explaining.js";
import { fitted } from "../fitted.js";
import { latest } from "../latest.js";
import { paint } from "../pixels.js";
import { channelGrid, extent } from "../widgets/grid.js";
import { drawMap, legend } from "../widgets/heat.js";
import { layerStrip } from "../widgets/layers.js";
import { complaint, noPicture } from "../widgets/states.js";
import { exampleRow } from "../widgets/tiles.js";

export default { id: "inside", title: "Inside", styles: ["explain.css", "inside.css"], create };

/** @param {any} context */
function create(context) {
	const { store } = context;
	const explainer = createExplainer(context.api);
	const asking = latest();
	let active = false;
	/** @type {{ layer: string | null, first: number, own: boolean }} */
	const now = { layer: null, first: 0, own: false };
	let source = ""; // picture and model whose pixels are shown
	/** @type {import("../explaining.js").Pixels | null} */
	let pixels = null;
	/** Of the layer that is shown. @type {any} */
	let found = null;
	/** @type {import("../widgets/grid.js").Channels | null} */
	let channels = null;
	let settling = 0;
	let loading = false;

	const strip = layerStrip({ choose: (layer) => go({ layer, first: 0 }) });
	const picture = h("canvas.pixelated", { role: "img", "aria-label": "The picture as the model sees it", testid: "inside-seen" });
	const field = h("i.inside-field", { hidden: true, "aria-hidden": "true", testid: "field" });
	const large = h("canvas.pixelated", {
		role: "img",
		"aria-label": "The channel under the cursor",
		testid: "inside-channel",
		onpointermove: enlarge,
		onpointerdown: enlarge,
	});
	const cell = h("i.grid-cell", { "aria-hidden": "true" });
	const channelName = h("figcaption.small.muted");
	const readout = h("dl.inside-readout.number", { testid: "readout" });
	const heading = h("h2", { testid: "inside-layer" });
	const about = h("p.small.muted");
	const grid = channelGrid({ point, turn });
	const back = h("button", { "aria-label": "Previous channels", onclick: () => turn(-1) }, "‹");
	const on = h("button", { "aria-label": "Next channels", onclick: () => turn(1), testid: "inside-next" }, "›");
	const range = h("span.number.small", { role: "status", testid: "inside-range" });
	const own = h("input", { type: "checkbox", id: "inside-own", onchange: () => go({ own: own.checked }) });
	const ownField = h("label.inside-own", { for: "inside-own" }, own, "Each channel on its own scale");
	const channelFigure = h("figure", h("div.inside-frame", large, cell), channelName);
	const key = legend();
	const keys = h(
		"p.small.muted",
		{ id: "inside-keys" },
		"Hover a cell, or focus the channels and use the arrow keys; Page Up and Page Down move by a channel. All count from 0.",
	);
	const { element: problem, tell } = complaint("inside-problem");
	const examples = exampleRow(context);
	const work = h(
		"div.inside",
		{ hidden: true },
		strip.element,
		h(
			"div.inside-body",
			h(
				"section.inside-cell",
				{ "aria-label": "The chosen cell" },
				h("figure", h("div.inside-frame", picture, field), h("figcaption.small.muted", "What it sees of the picture")),
				channelFigure,
				readout,
			),
			h(
				"section.inside-channels",
				{ "aria-label": "Channels" },
				h("div.inside-head", h("div", heading, about), h("div.inside-pages", back, range, on)),
				problem,
				grid.element,
				key.element,
				ownField,
				keys,
				h("p.small.muted", "Values are those of the network on the plain picture, one view, after the layer's activation."),
			),
		),
		examples.element,
	);
	const empty = h("div.empty", { testid: "inside-empty" });

	/** @param {Partial<typeof now>} changes */
	function go(changes) {
		const only = Object.keys(changes).every((name) => name === "own");
		Object.assign(now, changes);
		context.remember({ layer: now.layer, channel: now.first || null });
		if (only) draw(true);
		else void load();
	}

	/** @param {number} by */
	function turn(by) {
		if (!channels || !found) return;
		const first = by > 0 ? now.first + channels.shape[0] : Math.max(0, now.first - channels.shape[0]);
		if (first < found.channels && first !== now.first) go({ first });
	}

	/** The picture or the model changed, or the panel came into view. */
	async function refresh() {
		if (!active) return;
		const given = store.get("picture");
		const chosen = store.chosen();
		const possible = given && chosen?.explain;
		work.hidden = !possible;
		empty.hidden = Boolean(possible) || store.get("busy");
		if (!possible) return nothing(chosen);
		examples.update();
		const fresh = `${given.id} ${chosen.name}`;
		if (source === fresh) return;
		if (source && !source.endsWith(` ${chosen.name}`)) {
			Object.assign(now, { layer: null, first: 0 });
		}
		source = fresh;
		pixels = null;
		try {
			const seen = await fitted(given, chosen);
			if (source !== fresh) return;
			paint(picture, (pixels = seen));
			const { layers, default_layer: usual, size } = await explainer.layers(chosen.name);
			if (source !== fresh) return;
			if (!layers.some((/** @type {any} */ layer) => layer.name === now.layer))
				Object.assign(now, { layer: layers[0]?.name ?? usual, first: 0 });
			strip.update(layers, size);
			await load();
		} catch (error) {
			source = ""; // the next change asks again
			tell(error);
		}
	}

	/** @param {any} chosen */
	function nothing(chosen) {
		source = "";
		if (chosen && !chosen.explain)
			return replace(
				empty,
				h("h2", "This model cannot be opened"),
				h("p", "Its PyTorch weights are not at hand: serve the bundle or run itself."),
			);
		replace(empty, noPicture(context));
	}

	async function load() {
		if (!pixels || !active) return;
		strip.choose(now.layer);
		const given = pixels;
		const positions = strip.positions(now.layer);
		const query = {
			kind: "activations",
			model: store.get("model"),
			layer: now.layer,
			channel: now.first,
			channels: positions <= 64 ? 64 : 32,
		};
		grid.element.classList.add("stale");
		loading = true;
		try {
			const answer = await asking((signal) => explainer.ask(given, query, signal));
			if (!answer) return;
			loading = false;
			const keep = found?.layer.name === answer.layer.name;
			found = answer;
			channels = {
				values: floats(answer.values),
				shape: answer.shape,
				first: answer.first,
				low: answer.lowest,
				high: answer.highest,
				names: namesOf(answer),
			};
			tell(null);
			draw(keep);
		} catch (error) {
			source = "";
			tell(error);
		}
		grid.element.classList.remove("stale");
	}

	/** The outputs of the last layer are the classes'. @param {any} answer @returns {string[] | null} */
	function namesOf(answer) {
		const classes = store.chosen()?.classes ?? [];
		return strip.isLast(answer.layer.name) && answer.channels === classes.length ? classes : null;
	}

	/** @param {boolean} keep the cursor where it is */
	function draw(keep) {
		if (!channels || !found) return;
		const { layer, channels: total, lowest, highest } = found;
		const [count, height, width] = channels.shape;
		heading.textContent = layer.name;
		const spot = layer.shape.length === 3 ? `${height}×${width} positions, ${total} channels` : `${total} units`;
		const logits = channels.names ? "The logits: one number a class, before softmax. " : "";
		about.textContent = `${logits}${layer.type}. ${spot}${layer.parameters ? `, ${whole(layer.parameters)} parameters` : ""}. ${strip.sees(layer)}`;
		// One position: its value is all there is to see.
		channelFigure.hidden = ownField.hidden = height * width === 1;
		range.textContent =
			count === total
				? `${total} ${layer.shape.length < 3 ? "units" : total === 1 ? "channel" : "channels"}`
				: `${now.first}–${now.first + count - 1} of ${total}`;
		back.hidden = on.hidden = count === total;
		back.disabled = now.first === 0;
		on.disabled = now.first + count >= total;
		if (now.own)
			key.update({
				ends: ["lowest of the channel", "highest of the channel"],
				text: "Each channel has its own scale, so that faint ones show; colours of two channels do not compare.",
			});
		else
			key.update({
				ends: [lowest, (lowest + highest) / 2, highest].map(short),
				text: "One scale for all channels of this layer: the same colour is the same value.",
			});
		grid.show(channels, { own: now.own, keep, label: `Channels ${now.first} to ${now.first + count - 1} of ${layer.name}` });
	}

	/** @param {{ channel: number, row: number, column: number }} at */
	function point({ channel, row, column }) {
		if (!channels || !found) return;
		const [, height, width] = channels.shape;
		const start = channel * height * width;
		const value = channels.values[start + row * width + column];
		const scale = now.own ? extent(channels.values, start, height * width) : channels;
		drawMap(large, channels.values.subarray(start, start + height * width), { width, height, low: scale.low, high: scale.high });
		const frame = /** @type {HTMLElement} */ (large.parentElement);
		frame.style.setProperty("aspect-ratio", `${width} / ${height}`);
		put(cell, { top: row / height, left: column / width, height: 1 / height, width: 1 / width });
		const name = channels.names ? channels.names[now.first + channel] : `Channel ${now.first + channel}`;
		channelName.textContent = name;
		const box = inPicture(row, column);
		field.hidden = !box;
		const side = pixels?.width ?? 1;
		if (box)
			put(field, {
				top: box.rows[0] / side,
				left: box.columns[0] / side,
				height: (box.rows[1] - box.rows[0]) / side,
				width: (box.columns[1] - box.columns[0]) / side,
			});
		const whole = box && box.rows[0] === 0 && box.columns[0] === 0 && box.rows[1] === side && box.columns[1] === side;
		const sees = whole
			? "the whole picture"
			: box
				? `rows ${box.rows[0]}–${box.rows[1] - 1}, columns ${box.columns[0]}–${box.columns[1] - 1}`
				: "cannot be told";
		const rows = [
			["Value", short(value)],
			["Cell", height * width === 1 ? name : `${name.replace("Channel ", "channel ")}, row ${row}, column ${column}`],
			["Sees", sees],
		];
		replace(
			readout,
			rows.map(([term, text]) => h("div", h("dt", term), h("dd", text))),
		);
		clearTimeout(settling);
		if (document.activeElement === grid.element)
			settling = setTimeout(() => context.announce(`${rows[1][1]}: ${rows[0][1]}; sees ${sees}`), 300);
	}

	/**
	 * First pixel and the one behind the last, of the part of the receptive field that is picture.
	 * @param {number} row @param {number} column
	 */
	function inPicture(row, column) {
		if (!found.fields) return null;
		const side = pixels?.width ?? 1;
		const cut = (/** @type {[number, number]} */ [first, count]) => [Math.max(0, first), Math.min(side, first + count)];
		return { rows: cut(found.fields.rows[row]), columns: cut(found.fields.columns[column]) };
	}

	/** The pointer is over the large picture of the channel. @param {PointerEvent} event */
	function enlarge(event) {
		if (!channels) return;
		const [, height, width] = channels.shape;
		const box = large.getBoundingClientRect();
		const inside = (/** @type {number} */ share, /** @type {number} */ count) =>
			Math.min(count - 1, Math.max(0, Math.floor(share * count)));
		grid.move({
			row: inside((event.clientY - box.top) / box.height, height),
			column: inside((event.clientX - box.left) / box.width, width),
		});
	}

	store.on(["picture", "model", "models", "examples", "busy", "problem", "online"], () => void refresh());
	return {
		element: h("div", work, empty),
		/** @param {Record<string, string>} params */
		show({ layer, channel }) {
			active = true;
			const first = Math.max(0, Math.floor(Number(channel)) || 0);
			const changed = layer && (layer !== now.layer || first !== now.first);
			if (changed) Object.assign(now, { layer, first });
			if (changed && source) source = ` ${store.get("model")}`; // the same picture once more
			void refresh();
		},
		hide() {
			active = false;
			if (loading) source = "";
			loading = false;
			asking.cancel();
			clearTimeout(settling);
		},
	};
}

/** @param {any} mark @param {Record<string, number>} shares */
function put(mark, shares) {
	for (const [name, share] of Object.entries(shares)) mark.style.setProperty(name, `${100 * share}%`);
}

/** float32, little-endian, in base64. @param {string} text @returns {Float32Array} */
function floats(text) {
	const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
	const view = new DataView(bytes.buffer);
	return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
}
