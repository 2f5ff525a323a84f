// @ts-check
/** Tabs and addresses: "#/errors?run=demo&true=cat" shows the panel errors with { run: "demo", true: "cat" }. */

import { h, replace } from "./dom.js";

/**
 * always(panel): what the address of each panel holds besides its own.
 * lost(): called where a panel's files did not arrive; retry(): to be called once they may.
 * @param {{ config: any, area: HTMLElement, fail: (error: unknown) => void, context: () => any,
 *   always: (panel: string) => Record<string, string>, lost: () => void }} given
 */
export function createRouter({ config, area, fail, context, always, lost }) {
	/** @type {Map<string, { section: HTMLElement, loading: Promise<any>, scroll: number }>} */
	const opened = new Map();
	/** The panels' files in css/; those of hidden panels are off. @type {Map<string, { link: HTMLLinkElement, loaded: Promise<void> }>} */
	const sheets = new Map();
	/** @type {{ id: string, panel: any } | null} */
	let shown = null;
	let failures = 0; // browsers remember by its address that a module did not arrive, so the next attempt needs another address
	const tabs = h("div.tabs", { role: "tablist", "aria-label": "Views", onkeydown: keys }, config.panels.map(tab));

	/** @param {string} id */
	function tab(id) {
		const attributes = { role: "tab", id: `tab-${id}`, "aria-controls": `panel-${id}`, "aria-selected": "false", tabindex: "-1" };
		return h(
			"button",
			{ ...attributes, dataset: { testid: `tab-${id}`, title: config.titles[id] }, onclick: () => navigate(id) },
			config.titles[id],
		);
	}

	/** @param {KeyboardEvent} event */
	function keys(event) {
		const at = config.panels.indexOf(current());
		const last = config.panels.length - 1;
		const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
		if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
		event.preventDefault();
		navigate(config.panels[to]);
		document.getElementById(`tab-${config.panels[to]}`)?.focus();
	}

	function parsed() {
		const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
		const id = config.panels.includes(path) ? path : config.panels[0];
		return { id, params: grouped(new URLSearchParams(query ?? "")) };
	}

	/** @param {string} id @param {Record<string, any>} [params] */
	function address(id, params = {}) {
		const given = Object.entries(params)
			.flatMap(([name, values]) => [values].flat().map((value) => [name, value]))
			.filter(([, value]) => value !== null && value !== undefined && value !== "");
		const query = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
		return `#/${id}${query ? `?${query}` : ""}`;
	}

	/** @param {string} id @param {Record<string, any>} [params] */
	function navigate(id, params = {}) {
		const to = address(id, { ...always(id), ...params });
		if (location.hash === to) void render();
		else location.hash = to;
	}

	/** @param {Record<string, any>} params */
	function remember(params) {
		history.replaceState(null, "", address(current(), { ...params, ...always(current()) }));
	}

	function current() {
		return parsed().id;
	}

	async function render() {
		const { id, params } = parsed();
		if (shown && shown.id !== id) leave(shown);
		for (const each of config.panels) {
			const button = /** @type {HTMLElement} */ (tabs.querySelector(`#tab-${each}`));
			button.setAttribute("aria-selected", String(each === id));
			button.tabIndex = each === id ? 0 : -1;
			const section = document.getElementById(`panel-${each}`);
			if (section) section.hidden = each !== id;
			if (each === id) reveal(button);
		}
		document.title = id === config.panels[0] ? "cifarlab" : `${config.titles[id]} - cifarlab`;
		try {
			const entry = opened.get(id) ?? load(id);
			const { panel, styles } = await entry.loading;
			if (parsed().id !== id) return; // another tab was opened meanwhile
			const comes = shown?.id !== id;
			shown = { id, panel };
			// What another panel calls by the same name must not take its style.
			for (const [name, { link }] of sheets) if (link.sheet) link.sheet.disabled = !styles.includes(name);
			panel.show?.(params);
			if (comes) scrollTo(0, entry.scroll);
		} catch (error) {
			if (opened.has(id)) fail(error); // else its place says it
		}
	}

	/** Load the panel that is chosen, if it could not be. */
	function retry() {
		if (!opened.has(current())) void render();
	}

	/** @param {{ id: string, panel: any }} given the panel that goes out of view */
	function leave({ id, panel }) {
		const entry = opened.get(id);
		shown = null;
		if (entry) entry.scroll = scrollY;
		if (entry?.section.contains(document.activeElement)) area.focus({ preventScroll: true }); // what had it is hidden now
		panel.hide?.();
	}

	/** On a phone the row of tabs scrolls. @param {HTMLElement} button */
	function reveal(button) {
		tabs.scrollLeft = Math.max(0, button.offsetLeft - tabs.offsetLeft - tabs.clientWidth / 2 + button.offsetWidth / 2);
	}

	/** @param {string} id */
	function load(id) {
		const section = h("section", {
			role: "tabpanel",
			id: `panel-${id}`,
			"aria-labelledby": `tab-${id}`,
			class: `panel panel-${id}`,
			testid: `panel-${id}`,
		});
		section.append(h("p.loading", { role: "status" }, "Loading…"));
		document.getElementById(section.id)?.remove(); // of an attempt that failed
		area.append(section);
		const loading = create(id, section).catch((error) => {
			// Forgotten, so that the next visit tries anew.
			opened.delete(id);
			replace(section, h("p.problem", { role: "alert", testid: "panel-problem" }, `${config.titles[id]} cannot be loaded: ${error.message}`));
			lost();
			throw error;
		});
		const entry = { section, loading, scroll: 0 };
		opened.set(id, entry);
		return entry;
	}

	/** @param {string} id @param {HTMLElement} section */
	async function create(id, section) {
		const { default: definition } = await fetched(id);
		const { styles = [] } = definition;
		await Promise.all(styles.map(stylesheet));
		const panel = definition.create(context());
		replace(section, panel.element);
		return { panel, styles };
	}

	/** @param {string} name a file in css/ */
	function stylesheet(name) {
		const known = sheets.get(name);
		if (known) return known.loaded;
		const link = h("link", { rel: "stylesheet", href: new URL(`../css/${name}`, import.meta.url).href });
		const loaded = new Promise((done, failed) => {
			link.onload = () => done((link.sheet.disabled = true)); // until its panel is shown
			link.onerror = () => {
				sheets.delete(name); // the next visit tries anew
				link.remove();
				failed(new Error(`${name} is missing`));
			};
		});
		sheets.set(name, { link, loaded });
		document.head.append(link);
		return loaded;
	}

	/** @param {string} id */
	async function fetched(id) {
		try {
			return await import(`./panels/${id}.js${failures ? `?again=${failures}` : ""}`);
		} catch (error) {
			failures += 1;
			throw error instanceof TypeError ? new Error("its file does not arrive. It comes once the connection is back") : error;
		}
	}

	function start() {
		history.scrollRestoration = "manual"; // each panel has its own place
		addEventListener("hashchange", () => void render());
		addEventListener("online", retry);
		addEventListener("resize", () => reveal(/** @type {HTMLElement} */ (tabs.querySelector(`#tab-${current()}`))));
		// The link's own jump would put its target where the panel's address is.
		document.querySelector(".skip")?.addEventListener("click", (event) => {
			event.preventDefault();
			area.focus();
		});
		void render();
	}

	return { tabs, navigate, remember, current, retry, params: () => parsed().params, start };
}

/** By name; a name that is given several times has a list of its values. @param {URLSearchParams} query @returns {Record<string, any>} */
function grouped(query) {
	return Object.fromEntries(
		[...new Set(query.keys())]
			.map((name) => [name, query.getAll(name)])
			.map(([name, values]) => [name, values.length > 1 ? values : values[0]]),
	);
}
