// @ts-check
import { h } from "../dom.js";

export default {
  id: "compare",
  title: "Compare",
  /** @param {any} context */
  create(context) {
    const element = h("div", { class: "empty" }, h("p", null, "Compare: not here yet."));
    return { element, show() {}, hide() {} };
  },
};
