// @ts-check
/** What surrounds the panels: header, notices, and the bar that says that the server is gone. */

import { h, replace } from "./dom.js";

/** @param {{ config: any, store: any, tabs: HTMLElement }} given */
export function header({ store, tabs }) {
	const mark = h(
		"span.mark",
		{ "aria-hidden": "true" },
		[...Array(9)].map(() => h("i")),
	);
	const bar = h("div.bar", h("h1.wordmark", mark, "cifarlab"), chooser(store), themeSwitch());
	return h("header.header", h("div.wide", bar, tabs));
}

/** The model's name, or a choice where several are served. @param {any} store */
function chooser(store) {
	const area = h("div.chooser");
	function draw() {
		const models = store.get("models");
		if (models.length < 2) return replace(area, models.length ? h("span.model-name", { testid: "model-name" }, models[0].name) : null);
		const options = models.map((/** @type {any} */ { name }) => h("option", { value: name }, name));
		const select = h(
			"select",
			{ "aria-label": "Model", testid: "model-chooser", value: store.get("model"), onchange: () => store.set({ model: select.value }) },
			options,
		);
		replace(area, select);
	}
	store.on(["models", "model"], draw);
	draw();
	return area;
}

function themeSwitch() {
	const dark = matchMedia("(prefers-color-scheme: dark)");
	const root = document.documentElement;
	const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
	const button = h("button.icon", { testid: "theme", onclick: toggle });
	function draw() {
		button.setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
		button.title = isDark() ? "Light theme" : "Dark theme";
		replace(button, h("span", { class: isDark() ? "sun" : "moon", "aria-hidden": "true" }));
	}
	function toggle() {
		const chosen = isDark() ? "light" : "dark";
		root.dataset.theme = chosen;
		try {
			localStorage.setItem("cifarlab.theme", chosen);
		} catch {
			// Storage may be forbidden: it lasts as long as the page, then.
		}
		draw();
	}
	dark.addEventListener("change", draw);
	draw();
	return button;
}

/** Errors in the corner, and a live region for screen readers. */
export function notices() {
	const live = h("p.unseen", { "aria-live": "polite", testid: "live" });
	const stack = h("div.notices", { role: "alert", testid: "notices" });
	/** @param {string} text */
	function announce(text) {
		live.textContent = "";
		requestAnimationFrame(() => (live.textContent = text));
	}
	/** @param {unknown} error */
	function fail(error) {
		const known = /** @type {Error} */ (error);
		if (known?.name === "AbortError") return;
		const text = known?.message ?? String(error);
		if ([...stack.children].some((one) => /** @type {any} */ (one).dataset.text === text)) return;
		const notice = h(
			"div.notice",
			{ dataset: { text } },
			h("p", text),
			h("button.icon", { "aria-label": "Dismiss", onclick: () => notice.remove() }, "×"),
		);
		stack.append(notice);
		setTimeout(() => notice.remove(), 12000);
	}
	return { announce, fail, element: h("div", live, stack) };
}

/**
 * The bar that is there while the server does not answer; asks it every three seconds.
 * @param {any} store @param {() => Promise<void>} check
 */
export function offline(store, check) {
	const bar = h("div.offline", { role: "status", hidden: true, testid: "offline" });
	replace(bar, h("p.wide", "The server does not answer. Start ", h("code", "cifarlab serve"), " again, and this page goes on by itself."));
	let timer = 0;
	store.on("online", () => {
		const gone = !store.get("online");
		bar.hidden = !gone;
		clearInterval(timer);
		if (gone) timer = setInterval(() => check().catch(() => {}), 3000);
	});
	return bar;
}
