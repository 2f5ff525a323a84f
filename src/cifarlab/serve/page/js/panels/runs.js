// @ts-check
import { h } from "../dom.js";

export default {
  id: "runs",
  title: "Runs",
  /** @param {any} context */
  create(context) {
    const element = h("div", { class: "empty" }, h("p", null, "Runs: not here yet."));
    return { element, show() {}, hide() {} };
  },
};
