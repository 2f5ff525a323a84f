// @ts-check
import { h } from "../dom.js";

export default {
  id: "why",
  title: "Why",
  /** @param {any} context */
  create(context) {
    const element = h("div", { class: "empty" }, h("p", null, "Why: not here yet."));
    return { element, show() {}, hide() {} };
  },
};
