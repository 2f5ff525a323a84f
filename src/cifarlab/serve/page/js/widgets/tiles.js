// @ts-check
/** Rows of small pictures to click. */

import { h, replace } from "../dom.js";

/**
 * A row of example pictures: update(examples) draws them, mark(name) tells which is shown.
 * @param {{ load: (url: string) => Promise<Blob>, pick: (example: any, blob: Blob) => void, fail: (error: unknown) => void }} given
 */
export function exampleTiles({ load, pick, fail }) {
  const element = h("div", { class: "tiles", dataset: { testid: "examples" } });
  /** @type {Map<string, any>} */
  let buttons = new Map();
  /** @type {string[]} */
  let urls = [];

  /** @param {any} example */
  function tile(example) {
    const image = h("img", { alt: "", class: "small-picture", width: 56, height: 56 });
    const blob = load(example.url);
    blob.then((found) => {
      urls.push((image.src = URL.createObjectURL(found)));
    }, fail);
    const title = `${example.name} (${example.origin})`;
    const testid = example.label === null ? "example-other" : "example"; // a thing of no class has no right answer
    const choose = () => blob.then((found) => pick(example, found), fail);
    return h("button", { type: "button", class: "tile", title, "aria-label": `Example: ${example.name}`, dataset: { testid }, onclick: choose }, image);
  }

  return {
    element,
    /** @param {any[]} examples */
    update(examples) {
      urls.forEach((url) => URL.revokeObjectURL(url));
      urls = [];
      buttons = new Map(examples.map((example) => [example.name, tile(example)]));
      replace(element, [...buttons.values()]);
    },
    /** @param {string | null} name */
    mark(name) {
      for (const [each, button] of buttons) button.setAttribute("aria-pressed", String(each === name));
    },
  };
}

/** The strip of recent pictures with their answers. @param {(picture: any) => void} pick */
export function historyTiles(pick) {
  const element = h("ol", { class: "tiles history", dataset: { testid: "history" } });
  return {
    element,
    /** @param {any[]} history @param {any} present */
    update(history, present) {
      const items = history.map(({ picture, prediction }) => {
        const [best] = prediction.predictions;
        const image = h("img", { alt: "", class: "small-picture", width: 56, height: 56, src: picture.url });
        const label = `${picture.name}: ${best.label}, ${Math.round(100 * best.probability)} %`;
        const attributes = { type: "button", class: "tile", title: label, "aria-label": `Recent: ${label}`, "aria-pressed": String(picture === present) };
        return h("li", null, h("button", { ...attributes, onclick: () => pick(picture) }, image, h("span", { class: "tile-label" }, best.label)));
      });
      replace(element, items);
    },
  };
}
