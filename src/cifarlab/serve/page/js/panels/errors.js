// @ts-check
import { h } from "../dom.js";

export default {
  id: "errors",
  title: "Errors",
  /** @param {any} context */
  create(context) {
    const element = h("div", { class: "empty" }, h("p", null, "Errors: not here yet."));
    return { element, show() {}, hide() {} };
  },
};
