// @ts-check
import { h } from "../dom.js";

export default {
  id: "poke",
  title: "Poke",
  /** @param {any} context */
  create(context) {
    const element = h("div", { class: "empty" }, h("p", null, "Poke: not here yet."));
    return { element, show() {}, hide() {} };
  },
};
