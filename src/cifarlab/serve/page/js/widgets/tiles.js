// @ts-check
/** Rows of small pictures to click. */

import { h, replace } from "../dom.js";

/**
 * The row of examples, the one that is shown marked; hidden where there are none. update() draws it anew where they are others.
 * @param {any} context @param {() => void} [before] called when one is chosen
 */
export function exampleRow({ store, model, open, fail }, before = () => {}) {
	const tiles = h("div.tiles", { testid: "examples" });
	const element = h("section.row", h("h2.row-title", "Examples"), tiles);
	/** @type {any[] | null} */
	let drawn = null;
	/** @type {string[]} */
	let urls = [];

	/** @param {any} example */
	function tile({ name, label, origin, url }) {
		const image = h("img", { alt: "", class: "small-picture", width: 56, height: 56 });
		const blob = model.load(url);
		blob.then((/** @type {Blob} */ found) => urls.push((image.src = URL.createObjectURL(found))), fail);
		const testid = label === null ? "example-other" : "example"; // a thing of no class has no right answer
		async function choose() {
			before();
			await blob.then((/** @type {Blob} */ found) => open(found, { name, label, origin: "example" }), fail);
		}
		return h(
			"button.tile",
			{ title: `${name} (${origin})`, "aria-label": `Example: ${name}`, dataset: { testid, name }, onclick: choose },
			image,
		);
	}

	return {
		element,
		update() {
			const found = store.get("examples") ?? [];
			const picture = store.get("picture");
			if (drawn !== found) {
				urls.forEach((url) => URL.revokeObjectURL(url));
				urls = [];
				replace(tiles, (drawn = found).map(tile));
			}
			element.hidden = !found.length;
			for (const each of tiles.children)
				each.setAttribute("aria-pressed", String(picture?.origin === "example" && picture.name === each.dataset.name));
		},
	};
}

/** The strip of recent pictures with their answers. @param {(picture: any) => void} pick */
export function historyTiles(pick) {
	const element = h("ol.tiles.history", { testid: "history" });
	return {
		element,
		/** @param {any[]} history @param {any} present */
		update(history, present) {
			const items = history.map(({ picture, prediction }) => {
				const [best] = prediction.predictions;
				const image = h("img", { alt: "", class: "small-picture", width: 56, height: 56, src: picture.url });
				const label = `${picture.name}: ${best.label}, ${Math.round(100 * best.probability)} %`;
				const attributes = {
					type: "button",
					class: "tile",
					title: label,
					"aria-label": `Recent: ${label}`,
					"aria-pressed": String(picture === present),
				};
				return h("li", h("button", { ...attributes, onclick: () => pick(picture) }, image, h("span.tile-label", best.label)));
			});
			replace(element, items);
		},
	};
}
