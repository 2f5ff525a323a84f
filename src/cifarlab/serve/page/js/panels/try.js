// @ts-check
import { h, percent, replace } from "../dom.js";
import { bars } from "../widgets/bars.js";

export default {
  id: "try",
  title: "Try",
  styles: ["try.css"],
  /** @param {any} context */
  create(context) {
    const { store } = context;
    const answer = h("div", { class: "answer", dataset: { testid: "answer" } });
    const chart = bars({ top: 5 });
    const image = h("img", { alt: "", class: "original", dataset: { testid: "original" } });
    const problem = h("p", { class: "problem", role: "alert", hidden: true, dataset: { testid: "problem" } });
    const actions = h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: context.pick }, "Choose a picture"));
    const element = h("div", { class: "try" }, h("div", { class: "stage" }, image, actions, problem), h("div", { class: "verdict" }, answer, chart.element));

    function draw() {
      const picture = store.get("picture");
      const prediction = store.get("prediction");
      if (picture && image.src !== picture.url) image.src = picture.url;
      image.hidden = !picture;
      problem.hidden = !store.get("problem");
      problem.textContent = store.get("problem") ?? "";
      if (!prediction) return;
      const [best] = prediction.predictions;
      replace(answer, h("strong", { dataset: { testid: "label" } }, best.label), h("span", null, percent(best.probability)));
      chart.update(prediction.predictions);
    }
    store.on(["picture", "prediction", "problem", "busy"], draw);
    return { element, show: draw, hide() {} };
  },
};
