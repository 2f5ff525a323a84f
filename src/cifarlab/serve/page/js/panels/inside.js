// @ts-check
import { h } from "../dom.js";

export default {
  id: "inside",
  title: "Inside",
  /** @param {any} context */
  create(context) {
    const element = h("div", { class: "empty" }, h("p", null, "Inside: not here yet."));
    return { element, show() {}, hide() {} };
  },
};
